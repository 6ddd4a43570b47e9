"""Texts as Stable Diffusion 3 is conditioned on them: through two CLIPs, and T5 if it is there."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from condiff.conditioners.encoders import T5, OneNetwork, TextEncoder
from condiff.conditioners.encodings import Encoding, Place
from condiff.conditioners.sdxl import Penultimate
from condiff.ranges import Count, checked

log = logging.getLogger(__name__)


class SD3Text(TextEncoder):
    """The states of both CLIPs side by side, filled up to ``width``, and after them those of T5.

    ``pooled`` is the two projected end tokens, one after another (Esser 2024, sec. 4; from memory). Where the
    pipeline comes without T5, zeros stand in its place, as there.

    Dropped for itself, an encoder hears "", as all do where the pipeline leads away from nothing: the null of
    training is that of sampling. Its first training put zeros there, each encoder by a draw of its own
    (so sd-scripts trains it further, and the pipeline where T5 is not there), but leads away from "" since.

    path: of the pipeline's folder, with its text encoders and their tokenizers.
    """

    trains: ClassVar[bool] = True
    folders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    optional: ClassVar[tuple[str, ...]] = ("text_encoder_3",)
    width: int = 4096  # pyright: ignore[reportIncompatibleMethodOverride]

    @checked
    def __init__(
        self, path: str, clip_length: Count = 77, t5_length: Count = 256, width: Count = 4096
    ) -> None:
        folder = Path(path).expanduser()
        self.parts = [Penultimate(folder / name, clip_length) for name in self.folders]
        third = folder / self.optional[0]
        if not third.is_dir():
            _tell(third)
        self.t5 = _FilledT5(path=str(third), length=t5_length) if third.is_dir() else None
        self.t5_length, self.width, self.length = t5_length, width, clip_length + t5_length

    @property
    def pooled_width(self) -> int:
        return sum(part.pooled_width for part in self.parts)

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> list[Encoding]:
        both = zip(*(part(texts, place) for part in self.parts), strict=True)
        return [self._joined(a, b, c) for (a, b), c in zip(both, self._long(texts, place), strict=True)]

    def named(self) -> dict[str, OneNetwork]:
        return dict(zip(self.folders, self.parts, strict=True))

    def places(self) -> dict[str, Place]:
        """The columns of each CLIP, and the rows of T5, which is no part of ``pooled``, if it is there."""
        found, column, start, rows = {}, 0, 0, slice(self.length - self.t5_length)
        for name, part in zip(("clip_l", "clip_g"), self.parts, strict=True):
            columns, pooled = slice(column, column + part.width), slice(start, start + part.pooled_width)
            found[name] = Place(rows, columns, pooled)
            column, start = columns.stop, pooled.stop
        if self.t5 is not None:
            found["t5"] = Place(slice(rows.stop, None), slice(None), slice(0))
        return found

    def live(
        self, texts: Sequence[str], networks: Mapping[str, nn.Module], place: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        """With gradients of the CLIPs; what T5 makes of the texts is as it was."""
        clips = [part.filled(texts, networks[name], place) for name, part in self.named().items()]
        short, pooled = (torch.cat(both, dim=-1) for both in zip(*clips, strict=True))
        long = torch.stack(self._long(texts, place)).to(place)
        return torch.cat([self._widened(short), long], dim=1), pooled

    def num_cut(self, texts: Sequence[str]) -> int:
        return (self.t5 or self.parts[0]).num_cut(texts)

    def _joined(self, first: Encoding, second: Encoding, long: Tensor) -> Encoding:
        short = torch.cat([first.tokens, second.tokens], dim=-1)
        return Encoding(torch.cat([self._widened(short), long]), torch.cat([first.pooled, second.pooled]))

    def _widened(self, tokens: Tensor) -> Tensor:
        return pad(tokens, (0, self.width - tokens.shape[-1]))

    def _long(self, texts: Sequence[str], place: torch.device | str) -> list[Tensor]:
        """T5's tokens of each text, [L, D], or zeros."""
        if self.t5 is None:
            return [torch.zeros(self.t5_length, self.width)] * len(texts)
        return [one.tokens for one in self.t5(texts, place)]


class _FilledT5(T5):
    """Filled up to its length with tokens that are attended to, as in SD3's training."""

    def tokens(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        found = self.tokenizer([*texts], truncation=True, padding="max_length", max_length=self.length)
        return {"input_ids": found["input_ids"], "attention_mask": [[1] * self.length for _ in texts]}


@cache
def _tell(third: Path) -> None:
    """Once of a folder."""
    log.info("%s is not there: zeros stand in the place of what T5 makes of a text", third)
