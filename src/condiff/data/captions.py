"""Texts of samples in their file, a row of bytes each; no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TEXT = "text"  # their name in the file


def as_bytes(texts: Sequence[str]) -> np.ndarray:
    """[N, L] uint8: each text in UTF-8, filled up with zeros."""
    coded = [text.replace("\0", "").encode() for text in texts]
    longest = max([1, *map(len, coded)])
    whole = b"".join(one.ljust(longest, b"\0") for one in coded)
    return np.frombuffer(whole, np.uint8).reshape(len(coded), longest).copy()


def captions_of(stored: Mapping[str, Any]) -> list[str] | None:
    """The texts of samples, of all or of a share, from arrays or tensors; None where they have none."""
    if TEXT not in stored:
        return None
    return [bytes(row.tolist()).rstrip(b"\0").decode() for row in stored[TEXT]]
