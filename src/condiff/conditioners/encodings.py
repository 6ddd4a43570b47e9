"""What an encoder makes of texts, and how it is kept: each text once, found again by the text itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from condiff.files import read_json, write_json, written_whole


@dataclass(frozen=True, slots=True)
class Encoding:
    """Of one text: hidden states of its tokens, [L, D], of which all count, and one vector of it, [P]."""

    tokens: Tensor
    pooled: Tensor


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an encoding stands what one of several encoders makes of a text."""

    rows: slice  # of tokens, [L, D]
    columns: slice
    pooled: slice  # of pooled, [P]


class Encodings:
    """Encodings by their texts: a text can be given no other one's, whatever the order they are read in.

    Those of a file stay there until they are asked for.
    """

    def __init__(self) -> None:
        self._new: dict[str, Encoding] = {}
        self._row: dict[str, int] = {}
        self._file: Mapping[str, Tensor] = {}

    def __contains__(self, text: str) -> bool:
        return text in self._new or text in self._row

    def __getitem__(self, text: str) -> Encoding:
        if text in self._new:
            return self._new[text]
        row = self._row[text]
        start, stop = self._file["ends"][row : row + 2].tolist()
        return Encoding(self._file["tokens"][start:stop], self._file["pooled"][row])

    def add(self, texts: Sequence[str], found: Sequence[Encoding]) -> None:
        self._new |= dict(zip(texts, found, strict=True))

    def load(self, stem: Path) -> None:
        """What ``write`` left; tensors stay in the file, which the system reads where they are used."""
        texts = read_json(stem.with_suffix(".json"))
        self._row = {text: row for row, text in enumerate(texts)}
        self._file = load_file(stem.with_suffix(".safetensors"))

    def write(self, stem: Path) -> None:
        """Two files: the texts in order, and ``tokens`` one after another with where those of a text end."""
        found = [*self._new.values()]
        ends = torch.tensor([0, *(len(one.tokens) for one in found)]).cumsum(0)
        tensors = {
            "ends": ends,
            "tokens": torch.cat([one.tokens for one in found]),
            "pooled": torch.stack([one.pooled for one in found]),
        }
        with written_whole(stem.with_suffix(".safetensors")) as temporary:
            save_file(tensors, temporary)
        write_json(stem.with_suffix(".json"), [*self._new])
