"""Texts as Stable Diffusion XL is conditioned on them: through two text sides of CLIP."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from condiff.conditioners.encoders import OneNetwork, TextEncoder, text_config
from condiff.conditioners.encodings import Encoding
from condiff.ranges import Count, checked


class Penultimate(OneNetwork):
    """The states before CLIP's last layer, of all ``length`` tokens, and the projected end token."""

    kind: ClassVar[str] = "CLIPTextModelWithProjection"

    def __init__(self, path: Path, length: int) -> None:
        self.path, self.length = str(path), length

    @cached_property
    def width(self) -> int:
        return text_config(self.folder)["hidden_size"]

    @cached_property
    def pooled_width(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return text_config(self.folder)["projection_dim"]

    def tokens(self, texts: Sequence[str]) -> Any:
        return self.tokenizer([*texts], truncation=True, padding="max_length", max_length=self.length)

    def states(self, network: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        found = network(input_ids=ids, output_hidden_states=True)  # without the mask, as in training
        return found.hidden_states[-2], found[0]


class Unprojected(Penultimate):
    """The same of a CLIP without a projection, whose ``pooled`` is not used."""

    kind: ClassVar[str] = "CLIPTextModel"

    def states(self, network: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        found = network(input_ids=ids, output_hidden_states=True)
        return found.hidden_states[-2], found.pooler_output


class SDXLText(TextEncoder):
    """The states of both side by side; ``pooled`` is of the second (Podell 2023, sec. 2.1; from memory).

    path: of the pipeline's folder, with both text encoders and their tokenizers.
    zero_empty: whether the empty text is all zeros, as the pipeline's force_zeros_for_empty_prompt says.
    """

    trains: ClassVar[bool] = True
    leaves_some: ClassVar[bool] = True  # the last layer of the first
    folders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")

    @checked
    def __init__(self, path: str, length: Count = 77, zero_empty: bool = True) -> None:
        first, second = (Path(path).expanduser() / name for name in self.folders)
        self.parts = Unprojected(first, length), Penultimate(second, length)
        self.length, self.zero_empty = length, zero_empty

    @cached_property
    def width(self) -> int:
        return sum(part.width for part in self.parts)

    @cached_property
    def pooled_width(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.parts[1].pooled_width

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> list[Encoding]:
        both = zip(*(part(texts, place) for part in self.parts), strict=True)
        found = [replace(b, tokens=torch.cat([a.tokens, b.tokens], dim=-1)) for a, b in both]
        return [
            one if text or not self.zero_empty else _zeros(one)
            for text, one in zip(texts, found, strict=True)
        ]

    def named(self) -> dict[str, OneNetwork]:
        return dict(zip(self.folders, self.parts, strict=True))

    def live(
        self, texts: Sequence[str], networks: Mapping[str, nn.Module], place: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        pairs = zip(self.folders, self.parts, strict=True)
        (first, _), (second, pooled) = (part.filled(texts, networks[name], place) for name, part in pairs)
        said = torch.tensor([bool(text) or not self.zero_empty for text in texts], device=place)
        return torch.cat([first, second], dim=-1) * said.view(-1, 1, 1), pooled * said.view(-1, 1)

    def num_cut(self, texts: Sequence[str]) -> int:
        return self.parts[0].num_cut(texts)


def _zeros(one: Encoding) -> Encoding:
    return Encoding(torch.zeros_like(one.tokens), torch.zeros_like(one.pooled))
