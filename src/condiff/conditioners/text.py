"""Captions as a condition, through a frozen encoder."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from condiff.conditioners.conditioner import DROP, Conditioner, Lacking, Uniform, without
from condiff.conditioners.encoders import TextEncoder
from condiff.conditioners.encodings import Encoding, Encodings, Place
from condiff.conditioners.whitening import Whitening
from condiff.diffusion.condition import Condition
from condiff.progress import track
from condiff.ranges import Count, Natural, checked

log = logging.getLogger(__name__)
NULL = ""  # what the encoder makes of it is what "not asked for" is
STEM = "texts"  # of the files of their encodings
WHITENING = "whitening.safetensors"
_CHUNK = 512


class Text(Conditioner):
    """batch["text"], B captions, to tokens [B, L, D], which of them count [B, L], and pooled [B, P].

    Where a caption has fewer than L tokens the others are zeros that do not count. Captions are encoded
    before a training starts and kept as float16, if ``half``, or as they are; what is encoded
    later is rounded alike, so that a caption is the same condition in training and in sampling.

    whitened: how wide pooled vectors are after they are made white over the captions of the training; 0
        leaves them as they are.
    dropout: what a ``share`` is not told: "joint", nothing of the caption; "independent", what each of an
        encoder's several encoders makes of it, by a draw of its own. In its place stands what that one makes
        of the null.
    """

    gives: ClassVar[tuple[str, ...]] = ("tokens", "token_mask", "pooled")
    needs_text: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        encoder: TextEncoder,
        num_classes: Count,
        with_null: bool,
        half: bool = True,
        whitened: Natural = 0,
        dropout: Literal["joint", "independent"] = "joint",
    ) -> None:
        if whitened and whitened > encoder.pooled_width:
            raise ValueError(
                f"Text.whitened must be at most {encoder.pooled_width}, the width of its encoder, got"
                f" {whitened}"
            )
        if dropout == "independent" and (whitened or not encoder.places()):
            raise ValueError(
                f"Text.dropout must be joint with {type(encoder).__name__} and whitened={whitened}, got"
                " independent, which is for several encoders whose parts are kept apart; use"
                " conditioner=text_sd3 or conditioner=text_clip_t5"
            )
        self.encoder, self.with_null, self.whitened = encoder, with_null, whitened
        self.dropout = dropout
        self.whitening: Whitening | None = None
        self.dtype = torch.float16 if half else torch.float32
        self.known = Encodings()

    @property
    def token_width(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.encoder.width

    @property
    def pooled_width(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.whitened or self.encoder.pooled_width

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        place = next(value.device for value in batch.values() if isinstance(value, Tensor))
        found = self._encoded([*batch["text"], NULL], place)
        null = self._condition([found[-1]] * (len(found) - 1), place) if self.with_null else None
        return self.framed(self._condition(found[:-1], place, null), batch)

    def framed(self, cond: Condition, batch: Mapping[str, Any]) -> Condition:
        """The condition with what is known of a batch beside its captions."""
        return cond

    @contextmanager
    def anew(self) -> Iterator[None]:
        known, self.known = self.known, Encodings()
        try:
            yield
        finally:
            self.known = known

    def dropped(self, batch: Mapping[str, Any], uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        return self.lessened(self(batch), uniform, share)

    def lessened(self, cond: Condition, uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        """A condition of its own, a share of it not asked for, and of what each sample is not told."""
        if self.dropout == "joint":
            return without(cond, uniform, share, "text")
        null, lacking = cond.without(), {}
        for name, place in self.encoder.places().items():
            lacking[name] = uniform(f"{DROP}.{name}") < share
            cond = _with_part(cond, null, place, lacking[name])
        return cond, lacking

    def example(self, batch: Mapping[str, Any]) -> Condition:
        num, (length, width) = len(batch["text"]), (self.encoder.length, self.encoder.width)
        some = Encoding(torch.zeros(length, width), torch.zeros(self.encoder.pooled_width))
        cond = replace(self._condition([some] * num, "cpu"), pooled=torch.zeros(num, self.pooled_width))
        return replace(cond, null=cond) if self.with_null else cond

    def encode(
        self,
        training: Collection[str],
        others: Collection[str],
        folder: Path,
        place: torch.device | str,
    ) -> None:
        every = [*dict.fromkeys([NULL, *training, *others])]
        for start in track(range(0, len(every), _CHUNK), -(-len(every) // _CHUNK), "captions"):
            self._learn(every[start : start + _CHUNK], place)
        self.known.write(folder / STEM)
        if self.whitened:
            heard = [self.known[text].pooled for text in dict.fromkeys(training)]
            self.whitening = Whitening.of(heard, self.whitened)
            self.whitening.write(folder / WHITENING)
        cut = self.encoder.num_cut(every)
        if cut:
            log.warning(
                "%d of %d captions have more than %d tokens; what is beyond them is not heard:"
                " conditioner's encoder.length",
                cut, len(every), self.encoder.length,
            )  # fmt: skip

    def recall(self, folder: Path) -> None:
        self.known.load(folder / STEM)
        if self.whitened:
            self.whitening = Whitening.read(folder / WHITENING)

    def leave(self, folder: Path) -> None:
        if self.whitening is not None:
            self.whitening.write(folder / WHITENING)

    def heed(self, folder: Path) -> None:
        if self.whitened:
            self.whitening = Whitening.read(folder / WHITENING)

    def _encoded(self, texts: Sequence[str], place: torch.device | str) -> list[Encoding]:
        self._learn([text for text in dict.fromkeys(texts) if text not in self.known], place)
        return [self.known[text] for text in texts]

    def _learn(self, texts: Sequence[str], place: torch.device | str) -> None:
        if texts:
            found = self.encoder(texts, place)
            rounded = [Encoding(one.tokens.to(self.dtype), one.pooled.to(self.dtype)) for one in found]
            self.known.add(texts, rounded)

    def _condition(
        self, found: Sequence[Encoding], place: torch.device | str, null: Condition | None = None
    ) -> Condition:
        length = self.encoder.length
        tokens = torch.zeros(len(found), length, self.encoder.width, dtype=found[0].tokens.dtype)
        mask = torch.zeros(len(found), length, dtype=torch.bool)
        for row, one in enumerate(found):
            tokens[row, : len(one.tokens)], mask[row, : len(one.tokens)] = one.tokens, True
        pooled = torch.stack([one.pooled for one in found]).to(place).float()
        if self.whitening is not None:
            pooled = self.whitening(pooled)
        return Condition(tokens=tokens.to(place).float(), token_mask=mask.to(place), pooled=pooled, null=null)


def _with_part(cond: Condition, other: Condition, place: Place, which: Tensor) -> Condition:
    """The condition, that part of it the other one's in ``which`` samples, [B] bool."""
    tokens, pooled = cast(Tensor, cond.tokens).clone(), cast(Tensor, cond.pooled).clone()
    of_tokens, of_pooled = (slice(None), place.rows, place.columns), (slice(None), place.pooled)
    theirs = cast(Tensor, other.tokens)[of_tokens], cast(Tensor, other.pooled)[of_pooled]
    tokens[of_tokens] = torch.where(which.view(-1, 1, 1), theirs[0], tokens[of_tokens])
    pooled[of_pooled] = torch.where(which.view(-1, 1), theirs[1], pooled[of_pooled])
    return replace(cond, tokens=tokens, pooled=pooled)
