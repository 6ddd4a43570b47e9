"""Frozen encoders of text, out of the transformers library: from a package, a folder or the hub's cache."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from condiff import single_file
from condiff.conditioners.encodings import Encoding, Place
from condiff.files import read_json
from condiff.minilm import PACKAGE, network_of, sentences
from condiff.pretrained import INSIDE, alike, loaded, model_folder, outlined, tokenizer_of
from condiff.ranges import Count, checked
from condiff.weight_files import misfit, read_tensors

_BATCH = 256
_INPUTS = ("input_ids", "attention_mask")  # of a network, as its tokenizer calls them
_IN_FILE = "transformer.text_model."  # before its tensors in a single file of Stable Diffusion 1
_COUNTED = (f"{_IN_FILE}embeddings.position_ids",)  # 0, 1, 2, ...: no weights
# Known where the model is not there: a check needs no more.
CLIP_WIDTHS = {"openai/clip-vit-large-patch14": 768}


class TextEncoder(ABC):
    """Texts to hidden states of their tokens. Nothing is loaded before the first text.

    ``length`` tokens are the most that it gives; what a text has beyond them is cut off.
    """

    trains: ClassVar[bool] = False  # whether it can be trained with a denoiser
    leaves_some: ClassVar[bool] = False  # whether some of its layers change nothing that it gives
    length: int

    @property
    @abstractmethod
    def width(self) -> int:
        """Of the hidden states."""

    @property
    def pooled_width(self) -> int:
        """Of the one vector of a text."""
        return self.width

    @abstractmethod
    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> list[Encoding]:
        """In their order, on the CPU; a text's encoding does not depend on those beside it."""

    @abstractmethod
    def num_cut(self, texts: Sequence[str]) -> int:
        """How many of them are longer than it hears."""

    def named(self) -> "dict[str, OneNetwork]":
        """What it is made of, by the names that a pipeline of diffusers has for its parts."""
        return {}

    def places(self) -> dict[str, Place]:
        """Of each of several encoders, by its name, what of an encoding is its own."""
        return {}

    def networks(self) -> dict[str, nn.Module]:
        """Those of what is ``named``."""
        return {name: part.network for name, part in self.named().items()}

    def live(
        self, texts: Sequence[str], networks: Mapping[str, nn.Module], place: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        """Tokens, [B, L, D], which all count, and pooled, [B, P], with the gradients of these networks in the
        place of its own.
        """
        raise ValueError(f"adapter.text: {type(self).__name__} is not trained with a denoiser; use null")


class OneNetwork(TextEncoder):
    """A single network with its tokenizer."""

    package: ClassVar[str | None] = None  # a package that brings its weights
    kind: ClassVar[str]  # the name of its class in transformers
    model: str = ""
    path: str | None = None
    download: bool = False

    @abstractmethod
    def states(self, network: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What it takes of a network of its class as tokens, [N, L, D], and pooled, [N, P].

        Of texts of one number of tokens: ids, [N, L], and which of them count.
        """

    def filled(self, texts: Sequence[str], network: Any, place: torch.device | str) -> tuple[Tensor, Tensor]:
        """The ``states`` of texts that are all filled up to one length, with gradients."""
        rows = self.tokens(texts)
        return self.states(network, *(torch.tensor(rows[name], device=place) for name in _INPUTS))

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> list[Encoding]:
        """Texts of one length go together, so none is padded to another's."""
        found: dict[int, Encoding] = {}
        self.network.to(place)
        for rows, ids, mask in self._alike(texts):
            with torch.no_grad():
                both = self.states(self.network, ids.to(place), mask.to(place))
            encoded = (Encoding(*pair) for pair in zip(*(part.cpu() for part in both), strict=True))
            found |= dict(zip(rows, encoded, strict=True))
        return [found[row] for row in range(len(texts))]

    def num_cut(self, texts: Sequence[str]) -> int:
        return sum(len(ids) > self.length for ids in self.tokenizer([*texts])["input_ids"]) if texts else 0

    def _alike(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Texts of one number of tokens, a batch at a time: their places, ids and masks."""
        rows = self.tokens(texts)
        for some in alike([len(ids) for ids in rows["input_ids"]], _BATCH):
            ids, mask = (torch.tensor([rows[name][k] for k in some]) for name in _INPUTS)
            yield some, ids, mask

    def tokens(self, texts: Sequence[str]) -> Any:
        return self.tokenizer([*texts], truncation=True, max_length=self.length)

    @cached_property
    def folder(self) -> Path:
        return model_folder(self.package, self.model, self.path, self.download)

    @cached_property
    def tokenizer(self) -> Any:
        beside = self.folder.parent / self.folder.name.replace(INSIDE, "tokenizer")
        is_beside = self.folder.name.startswith(INSIDE) and beside.is_dir()
        return tokenizer_of(beside if is_beside else self.folder, "text")

    @cached_property
    def network(self) -> Any:
        return self.load().eval().requires_grad_(False)

    def load(self) -> Any:
        """The network with its weights, in the precision that it works in, whatever its file is in."""
        return loaded(self.kind, self.folder).float()

    def outline(self) -> Any:
        """The network without weights."""
        return outlined(self.kind, self.folder).eval().requires_grad_(False)


class MiniLM(OneNetwork):
    """all-MiniLM-L6-v2 (Wang 2020; Reimers & Gurevych 2019): 384 wide, its weights in a small package.

    Its hidden states have lengths of 8 to 11; each is brought to the square root of its width, so that its
    entries are of size 1. ``pooled`` is the sentence's vector.
    """

    package: ClassVar[str | None] = PACKAGE
    kind: ClassVar[str] = "BertModel"
    width: int = 384  # pyright: ignore[reportIncompatibleMethodOverride]

    @checked
    def __init__(self, length: Count = 24, path: str | None = None) -> None:
        self.length, self.path = length, path

    def load(self) -> Any:
        return network_of(self.folder)

    def states(self, network: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = network(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.nn.functional.normalize(states, dim=-1) * self.width**0.5, sentences(states)


class ClipText(OneNetwork):
    """The text side of CLIP (Radford 2021), as Stable Diffusion 1 and 2 condition on it.

    The last hidden states after the final normalisation, of all ``length`` tokens: a text is filled up to
    them, and the fill is attended to, as in training of those models. ``pooled`` is the end token's.

    model: its name on the hub, looked up in the local cache only, unless ``download`` is set.
    path: a folder instead, of the model and its tokenizer, or with these in text_encoder/ and tokenizer/.
    weights: a single file of Stable Diffusion 1 (.safetensors), for another training of the same encoder.
    """

    trains: ClassVar[bool] = True
    kind: ClassVar[str] = "CLIPTextModel"

    @checked
    def __init__(
        self,
        model: str = "openai/clip-vit-large-patch14",
        path: str | None = None,
        download: bool = False,
        length: Count = 77,
        weights: str | None = None,
    ) -> None:
        self.model, self.path, self.download, self.length = model, path, download, length
        self.weights = weights

    @cached_property
    def width(self) -> int:
        known = None if self.path else CLIP_WIDTHS.get(self.model)
        return known or text_config(self.folder)["hidden_size"]

    def load(self) -> Any:
        network = super().load()
        if self.weights is not None:
            fill_clip(network, self.weights, "conditioner.encoder")
        return network

    def tokens(self, texts: Sequence[str]) -> Any:
        return self.tokenizer([*texts], truncation=True, padding="max_length", max_length=self.length)

    def states(self, network: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        found = network(input_ids=ids)  # without the mask, as these models were trained
        return found.last_hidden_state, found.pooler_output

    def named(self) -> dict[str, OneNetwork]:
        return {INSIDE: self}

    def live(
        self, texts: Sequence[str], networks: Mapping[str, nn.Module], place: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        return self.filled(texts, networks[INSIDE], place)


def fill_clip(network: Any, weights: str, key: str) -> None:
    """Give the text side of CLIP the weights of a single file; ValueError where a tensor does not fit."""
    file = single_file.named(weights)
    if file is None:
        raise ValueError(f"{key}.weights: {weights} is no file; give a single file of Stable Diffusion 1")
    inside = {name: f"{_IN_FILE}{name.removeprefix('text_model.')}" for name in network.state_dict()}
    there = [name for name in single_file.part(file, single_file.CONDITION) if name not in _COUNTED]
    given = read_tensors([file], key, [single_file.CONDITION + name for name in there])
    tensors = {name.removeprefix(single_file.CONDITION): tensor for name, tensor in given.items()}
    wrong = misfit({inside[name]: tensor for name, tensor in network.state_dict().items()}, tensors)
    if wrong:
        raise ValueError(f"{key}.weights: {file} does not fit the text encoder: {wrong}; give its folder")
    network.load_state_dict({name: tensors[stored] for name, stored in inside.items()}, strict=True)


class T5(OneNetwork):
    """The encoder of T5 (Raffel 2020), as Imagen, PixArt and SD3 condition on it; ``pooled`` is the mean.

    It stays in the precision of its file.
    """

    kind: ClassVar[str] = "T5EncoderModel"

    @checked
    def __init__(
        self,
        model: str = "google/t5-v1_1-small",
        path: str | None = None,
        download: bool = False,
        length: Count = 77,
    ) -> None:
        self.model, self.path, self.download, self.length = model, path, download, length

    @cached_property
    def width(self) -> int:
        return text_config(self.folder)["d_model"]

    def load(self) -> Any:
        return loaded(self.kind, self.folder)

    def states(self, network: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = network(input_ids=ids, attention_mask=mask).last_hidden_state
        return states, states.mean(1)


def text_config(folder: Path) -> dict[str, Any]:
    """Of a text encoder alone, or of one that is half of a model."""
    config = read_json(folder / "config.json")
    return config.get("text_config") or config
