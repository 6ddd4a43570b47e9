"""Where pictures come from: what every source tells, and how it says what is wrong."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from condiff.errors import ArtifactError, DataError
from condiff.files import read_json, write_json

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = get_args(Split)
DESCRIPTION = "data.json"
_MOST_LINES = 20


@dataclass(frozen=True)
class Example:
    """One picture, already fitted to the size of its set."""

    key: str
    image: np.ndarray  # [H, W] or [H, W, 3] uint8
    label: int | None = None
    text: str | None = None
    source: np.ndarray | None = None  # the picture that ``image`` was made from, fitted with it
    facts: dict[str, Any] | None = None  # what it shows, as plain JSON
    control: np.ndarray | None = None  # a hint of what ``image`` shows, fitted with it, 0..255
    line: np.ndarray | None = None  # the strokes of ``image`` alone, black on white, [H, W] uint8
    framing: tuple[int, ...] | None = None  # how ``image`` was cut from a larger one: ``Frame.framing``


@dataclass(frozen=True)
class DataInfo:
    """What a prepared set is; it stands as ``data.json`` beside the shards."""

    num_classes: int  # 0 without labels
    class_names: list[str]
    channels: int
    size: int  # pictures are size x size
    num_train: int
    num_held_out: int
    has_text: bool
    source: str  # one sentence for the report
    left_out: list[str]  # a line for every picture that could not be used
    has_source: bool = False  # whether each picture comes with the one that it was made from
    control: int = 0  # channels of the hint that comes with each picture; 0 without
    mirror: bool = False  # left and right mean the same: a training mirrors half of what it sees
    unseen: list[str] = field(
        default_factory=list
    )  # what held-out pictures show and no training picture does

    def write(self, folder: Path) -> None:
        write_json(folder / DESCRIPTION, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "DataInfo":
        path = folder / DESCRIPTION
        try:
            return cls(**read_json(path))
        except (OSError, ValueError, TypeError) as error:
            raise ArtifactError(f"{path}: is not the description of a prepared set ({error})") from error


class Source(ABC):
    """Pictures with labels or captions, in a fixed order and split once for all.

    ``memo_dir`` is a folder in which a source may remember what it learnt about files that have
    not changed since; ``check`` reads it and ``fingerprint`` also writes it.
    """

    @abstractmethod
    def check(self, memo_dir: Path | None = None) -> None:
        """Raise DataError with a line for every mistake; creates nothing."""

    @abstractmethod
    def fingerprint(self, memo_dir: Path | None = None) -> str:
        """sha256 of the content of everything the examples are read from."""

    @abstractmethod
    def info(self) -> DataInfo: ...

    @abstractmethod
    def examples(self, split: Split) -> Iterator[Example]: ...

    def streamed(self) -> Iterator[dict[str, Any]] | None:
        """The index of the training pictures, by ``streamed.write_index``, where they stay where they are."""
        return None

    def notices(self) -> dict[str, str]:
        """What is to lie beside the shards, by file name: whose the pictures are and under which licence."""
        return {}


def refuse(lines: Sequence[str]) -> None:
    """Raise DataError if there are lines; a long list is cut and counted."""
    if len(lines) > _MOST_LINES:
        rest = len(lines) - _MOST_LINES
        raise DataError(*lines[:_MOST_LINES], f"data: {rest} more mistakes like these, {len(lines)} in all")
    if lines:
        raise DataError(*lines)


def label_fault(label: int, num_classes: int | None) -> str | None:
    """What is wrong with a label, if something is."""
    if num_classes is not None and not 0 <= label < num_classes:
        return f"label {label}; data.num_classes={num_classes} allows 0..{num_classes - 1}"
    return f"label {label}; labels count from 0" if label < 0 else None


def class_count(labels: Sequence[Any], num_classes: int | None) -> int:
    """Number of classes: as given, else one more than the largest label; 0 without labels."""
    known = [label for label in labels if label is not None]
    return (num_classes or max(known) + 1) if known else 0
