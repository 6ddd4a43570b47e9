"""Arrays as the bytes of a .npy."""

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np

_NPY_START = 10  # bytes before the header of a .npy of version 1.0, whose length the last two are


def to_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def from_npy(data: bytes) -> np.ndarray:
    """The array of a .npy member, without copying; ValueError for objects and for claims beyond the data."""
    end = _NPY_START + int.from_bytes(data[_NPY_START - 2 : _NPY_START], "little")
    shape, dtype = _npy_header(data[:end])
    return np.frombuffer(data, dtype, math.prod(shape), end).reshape(shape)


@lru_cache(maxsize=64)
def _npy_header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Remembered, as those of a set are alike, and numpy parses each as if it were Python."""
    buffer = io.BytesIO(data)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError("only version 1.0 of .npy is read")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(buffer)
    if dtype.hasobject or fortran_order:
        raise ValueError(f"dtype {dtype}, Fortran order {fortran_order}; plain numbers in C order are read")
    return shape, dtype
