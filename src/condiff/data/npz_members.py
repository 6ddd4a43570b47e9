"""Arrays inside an .npz of samples, front to back; what they must be is checked before they are read."""

import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Self

import numpy as np

from condiff.errors import DataError
from condiff.files import DAMAGED


class Member(ABC):
    """One array; DataError where it is not there, damaged, or not what it must be."""

    name: str

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        try:
            self.archive = zipfile.ZipFile(self.path)
            self.file: IO[bytes] = self.archive.open(f"{self.name}.npy")
            version = np.lib.format.read_magic(self.file)
            headers = {(1, 0): np.lib.format.read_array_header_1_0}
            read = headers.get(version, np.lib.format.read_array_header_2_0)
            self.shape, fortran, self.dtype = read(self.file)
        except KeyError as error:
            hint = (
                "; it holds statistics, which are a reference" if "mu.npy" in self.archive.namelist() else ""
            )
            raise DataError(f"{self.path} has no {self.name}{hint}") from error
        except DAMAGED as error:
            raise DataError(f"{self.path} cannot be read as .npz ({error})") from error
        told = self.wanted()
        if told or fortran:
            told = told or "in C order"
            raise DataError(f"{self.path}: {self.name} must be {told}, got {[*self.shape]} {self.dtype}")
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    @abstractmethod
    def wanted(self) -> str:
        """What its shape and type must be, where they are not."""

    def next(self, count: int) -> np.ndarray:
        """The next rows."""
        size = count * int(np.prod(self.shape[1:])) * self.dtype.itemsize
        try:
            data = self.file.read(size)
        except DAMAGED as error:
            raise DataError(f"{self.path}: {self.name} is damaged ({error})") from error
        if len(data) < size:
            raise DataError(f"{self.path}: {self.name} ends before its {self.shape[0]} rows do")
        return np.frombuffer(bytearray(data), self.dtype).reshape(count, *self.shape[1:])


class Images(Member):
    """Pictures."""

    name = "arr_0"

    def wanted(self) -> str:
        fits = len(self.shape) == 4 and min(self.shape) > 0 and self.shape[3] in (1, 3)
        return "" if fits and self.dtype == np.uint8 else "[N, H, W, C] uint8 with C 1 or 3"


class Labels(Member):
    """The class of each of ``count`` pictures."""

    name = "arr_1"

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path)
        self.count = count

    @classmethod
    def are_in(cls, path: Path) -> bool:
        with zipfile.ZipFile(path) as archive:
            return f"{cls.name}.npy" in archive.namelist()

    def wanted(self) -> str:
        fits = self.shape == (self.count,) and self.dtype.kind in "iu"
        return "" if fits else f"[{self.count}] integers, a class for each picture"

    def next(self, count: int) -> np.ndarray:
        found = super().next(count).astype(np.int64)
        if found.min() < 0:
            raise DataError(f"{self.path}: {self.name} must be numbers of classes, got {found.min()}")
        return found
