"""Sentence vectors made white, so that what tells captions apart is as loud as what they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from condiff.files import written_whole

_NOTHING = 1e-4  # of the widest direction's deviation: below it a direction is rounding


@dataclass(frozen=True)
class Whitening:
    """Vectors less their mean, by their first principal directions, each over its deviation (Su 2021, from
    memory).

    Encoders put captions of one kind close together: of MiniLM's vectors of a caption of shapes, the word for
    the shape moves a twentieth. What no caption of the training has, such as the empty text, would come out
    far away; so every vector is brought to the length that white ones have on average.
    """

    mean: Tensor  # [D]
    matrix: Tensor  # [D, P]

    @classmethod
    def of(cls, vectors: Sequence[Tensor], width: int) -> Self:
        """That of N vectors, [D], for P = ``width``; directions that they do not differ in count nothing."""
        stacked = torch.stack([*vectors]).double()
        mean = stacked.mean(0)
        variances, directions = torch.linalg.eigh(torch.cov((stacked - mean).T, correction=0))
        deviations = variances.clamp(min=0).sqrt().flip(0)[:width]
        heard = deviations > _NOTHING * deviations[0]
        inverse = torch.where(heard, 1 / deviations.clamp(min=torch.finfo(torch.double).tiny), 0.0)
        matrix = (directions.flip(1)[:, :width] * inverse).float()
        return cls(mean.float(), matrix.contiguous())  # as a file has it: the layout shows in the last bit

    def __call__(self, vectors: Tensor) -> Tensor:
        """[B, D] to [B, P], each of length sqrt(P)"""
        white = (vectors - self.mean.to(vectors)) @ self.matrix.to(vectors)
        return torch.nn.functional.normalize(white, dim=-1) * self.matrix.shape[1] ** 0.5

    def write(self, path: Path) -> None:
        with written_whole(path) as temporary:
            save_file({"mean": self.mean, "matrix": self.matrix}, temporary)

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**load_file(path))
