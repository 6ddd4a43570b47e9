"""A user's own WebDataset shards."""

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from condiff.data.foreign import index_shard, read_label
from condiff.data.held_out import safe_key
from condiff.data.own_pictures import OwnPictures, Picture, Survey, Wanted
from condiff.data.pictures import EXTENSIONS, MAX_PIXELS, Unreadable, decode
from condiff.data.shards import Sample, Shards
from condiff.data.source import Split
from condiff.errors import ConfigError, DataError
from condiff.files import digest
from condiff.ranges import Count, Probability, checked

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000


class ShardFiles(OwnPictures):
    """Local tars: a folder, one file, or a range such as ``/data/set-{000..003}.tar``.

    Labels are read from ``.cls``, captions from ``.txt`` or from ``text`` or ``caption`` of ``.json``.
    Shards named ``train-*`` and ``held_out-*`` keep their sides, others are split by key; an index
    beside the shards (``index-SPLIT.jsonl``) must agree with them. The other arguments are those of
    ImageFolder.
    """

    @checked
    def __init__(
        self,
        path: str,
        size: Count | None = None,
        max_size: Count = 64,
        multiple_of: Count = 8,
        num_classes: Count | None = None,
        held_out: Probability = 0.1,
        max_pixels: Count = MAX_PIXELS,
        max_bad: Probability = 0.0,
        mirror: bool = False,
    ) -> None:
        wanted = Wanted(size, max_size, multiple_of, num_classes, held_out, max_pixels, max_bad, mirror)
        super().__init__(path, wanted)

    def _survey(self, memo_dir: Path | None) -> Survey:
        paths = shard_paths(self.path)
        values = self._memo.look(paths, self._look, "looking at shards", memo_dir)
        expected = dict(_indexed(paths))
        sides = _sides(paths)
        pictures: list[Picture] = []
        broken: list[str] = []
        for path, value in zip(paths, values, strict=True):
            broken += [value["broken"]] if "broken" in value else []
            broken += _index_faults(path, value, expected)
            pictures += [Picture(**found, split=sides.get(path)) for found in value["pictures"]]
        contents = [(path.name, value["sha256"]) for path, value in zip(paths, values, strict=True)]
        return Survey(pictures, [], broken, digest(contents))

    def _bytes(self, picture: Picture) -> bytes:
        sample = self._samples[picture.where]
        return sample.read(_image_extension(sample))

    @cached_property
    def _samples(self) -> dict[str, Sample]:
        found = (index_shard(path) for path in shard_paths(self.path))
        return {str(sample): sample for shards in found for sample in shards.samples}

    def _look(self, path: Path) -> dict[str, Any]:
        try:
            shards = index_shard(path)
        except DataError as error:
            return {"sha256": "", "pictures": [], "broken": error.lines[0]}
        pictures = [_picture(sample, self.wanted.max_pixels) for sample in shards.samples]
        return {"sha256": shards.shards[0].sha256, "pictures": pictures}


def shard_paths(path: str) -> list[Path]:
    """The tars that ``data.path`` names; ConfigError for what is not plainly local, DataError for none."""
    if _SCHEME.match(path) or ".." in PurePosixPath(_RANGE.sub("", path)).parts or path.strip() in ("", "-"):
        raise ConfigError(
            f"data.path: {path!r} is no plain local path; give a folder, a tar or set-{{000..003}}.tar"
        )
    found = [Path(name).expanduser() for name in _expanded(path)]
    if len(found) == 1 and found[0].is_dir():
        folder = found[0]
        found = sorted(folder.glob("*.tar"))
        if not found:
            raise DataError(f"data.path: {folder} holds no .tar; give a folder of WebDataset shards")
    missing = [
        f"data.path: {shard} does not exist; give a folder, a tar or a range of tars"
        for shard in found
        if not shard.is_file()
    ]
    if missing:
        raise DataError(*missing[:20])
    return found


def _expanded(path: str) -> Iterator[str]:
    match = _RANGE.search(path)
    if match is None:
        if "{" in path or "}" in path:
            raise ConfigError(f"data.path: {path!r} has braces that are no range; write set-{{000..003}}.tar")
        yield path
        return
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < _MOST_SHARDS:
        raise ConfigError(f"data.path: {match[0]} is an empty or endless range; write {{000..003}}")
    for number in range(first, last + 1):
        yield from _expanded(f"{path[: match.start()]}{number:0{len(match[1])}d}{path[match.end() :]}")


def _picture(sample: Sample, max_pixels: int) -> dict[str, Any]:
    """A Picture as plain values."""
    found: dict[str, Any] = {"key": safe_key(sample.key), "where": str(sample)}
    try:
        found["label"] = read_label(sample) if "cls" in sample.members else None
        found["text"] = _text(sample)
        image = decode(sample.read(_image_extension(sample)), max_pixels)
    except DataError as error:
        return {**found, "fault": error.lines[0].removeprefix(f"{sample}: ")}
    except Unreadable as error:
        return {**found, "fault": str(error)}
    return {**found, "shortest": min(image.size), "grey": image.mode == "L"}


def _image_extension(sample: Sample) -> str:
    found = [name for name in EXTENSIONS if name in sample.members]
    if len(found) != 1:
        raise DataError(f"{sample}: has {len(found)} pictures; one of {', '.join(EXTENSIONS)} is needed")
    return found[0]


def _text(sample: Sample) -> str | None:
    try:
        if "txt" in sample.members:
            text = sample.read("txt").decode("utf-8").strip()
        elif "json" in sample.members:
            values = json.loads(sample.read("json"))
            text = values.get("text", values.get("caption")) if isinstance(values, dict) else None
        else:
            return None
    except ValueError as error:
        raise DataError(f"{sample}: its text cannot be read ({error}); UTF-8 and JSON are") from error
    if text == "":
        raise DataError(f"{sample}: its text is empty; write a caption")
    return text if isinstance(text, str) else None


def _indexed(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """What indexes beside the shards say their sha256 is."""
    for folder in sorted({path.parent for path in paths}):
        for index in sorted(folder.glob("index-*.jsonl")):
            split = index.name.removeprefix("index-").removesuffix(".jsonl")
            yield from ((shard.path, shard.sha256) for shard in Shards.open(folder, split).shards)


def _index_faults(path: Path, value: dict[str, Any], expected: dict[Path, str]) -> list[str]:
    if "broken" in value or expected.get(path, value["sha256"]) == value["sha256"]:
        return []
    return [f"{path}: sha256 is {value['sha256']}; its index says {expected[path]}"]


def _sides(paths: list[Path]) -> dict[Path, Split]:
    """Sides by name, where every shard has one."""
    held = [path for path in paths if path.name.startswith("held_out-")]
    train = [path for path in paths if path.name.startswith("train-")]
    if not held or len(held) + len(train) != len(paths):
        return {}
    return {**dict.fromkeys(held, "held_out"), **dict.fromkeys(train, "train")}
