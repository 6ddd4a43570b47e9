"""Hints that a user gives for samples: a picture for all, or those of a folder in turn."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condiff.data.pictures import Frame, Unreadable, decode, square
from condiff.data.source import DataInfo
from condiff.errors import DataError
from condiff.stages.hint_files import hint_files


def given_hints(path: str, info: DataInfo, num: int) -> Tensor:
    """[N, C, H, W] uint8, each fitted to the pictures' size as these are; DataError names what cannot be."""
    files, frame = hint_files(path), square(info.size, info.control or info.channels)
    found = [_read(file, frame) for file in files[:num]]
    whole = torch.from_numpy(np.stack(found)).reshape(len(found), info.size, info.size, -1)
    return whole.movedim(-1, 1)[torch.arange(num) % len(found)].contiguous()


def _read(file: Path, frame: Frame) -> np.ndarray:
    try:
        return np.array(frame.fit(decode(file.read_bytes())))
    except Unreadable as error:
        raise DataError(f"control: {file} {error}") from error
