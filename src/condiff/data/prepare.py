"""From a source to shards: what the data stage leaves in its folder."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from condiff.data.memo import in_order
from condiff.data.npy import to_npy
from condiff.data.pictures import to_png
from condiff.data.sample import CONTROL, FRAMING
from condiff.data.shards import ShardWriter
from condiff.data.source import SPLITS, DataInfo, Example, Source
from condiff.data.streamed import write_index
from condiff.files import written_whole
from condiff.progress import track

log = logging.getLogger(__name__)
_NAMED = 5  # of what is empty


def prepare(source: Source, out: Path, memo_dir: Path | None = None) -> DataInfo:
    """Write ``train-*.tar``, ``held_out-*.tar``, their indexes, licences if any, and ``data.json``.

    Of a source whose training pictures stay where they are only the index is written.
    """
    source.check(memo_dir)
    info = source.info()
    hints = _Hints()
    out.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        rows = source.streamed() if split == "train" else None
        if rows is not None:
            write_index(out, split, rows)
            continue
        count = info.num_train if split == "train" else info.num_held_out
        with ShardWriter(out, split) as shards:
            examples = hints.counted(source.examples(split))
            packed = in_order(_packed, track(examples, count, f"writing {split}"))
            for key, found, shape in packed:
                shards.write(key, found, shape)
    for name, notice in source.notices().items():
        with written_whole(out / name) as temporary:
            temporary.write_text(notice, encoding="utf-8")
    info.write(out)
    hints.tell()
    return info


class _Hints:
    """Counts those that are one colour all over, and so say nothing of their picture."""

    def __init__(self) -> None:
        self.num, self.empty = 0, list[str]()

    def counted(self, examples: Iterator[Example]) -> Iterator[Example]:
        for example in examples:
            if example.control is not None:
                self.num += 1
                self.empty += [example.key] if example.control.min() == example.control.max() else []
            yield example

    def tell(self) -> None:
        if self.empty:
            more = f" and {len(self.empty) - _NAMED} more" if len(self.empty) > _NAMED else ""
            log.warning(
                "%d of %d hints are empty: those of %s%s",
                len(self.empty),
                self.num,
                ", ".join(self.empty[:_NAMED]),
                more,
            )


def _packed(example: Example) -> tuple[str, dict[str, bytes], tuple[int, int] | None]:
    return example.key, members(example), shape_of(example.image)


def shape_of(image: np.ndarray) -> tuple[int, int] | None:
    """Height and width of a picture that is no square."""
    height, width = image.shape[:2]
    return None if height == width else (height, width)


def members(example: Example) -> dict[str, bytes]:
    """An example as members of a shard."""
    found = {"png": to_png(example.image)}
    if example.label is not None:
        found["cls"] = str(example.label).encode()
    if example.source is not None:
        found["source.png"] = to_png(example.source)
    if example.control is not None:
        found[CONTROL] = to_png(example.control)
    if example.line is not None:
        found["line.png"] = to_png(example.line)
    if example.text is not None:
        found["txt"] = example.text.encode()
    if example.facts is not None:
        found["json"] = json.dumps(example.facts).encode()
    if example.framing is not None:
        found[FRAMING] = to_npy(np.asarray(example.framing, dtype=np.int64))
    return found
