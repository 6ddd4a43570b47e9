"""Features of CLIP, of pictures and of texts in one space (Radford 2021)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from condiff.evaluation.features.frozen import FrozenFeatures
from condiff.evaluation.features.preprocess import Bicubic, Preprocess
from condiff.evaluation.features.standardized import CLIP, standardized
from condiff.pretrained import content, folder_of, loaded, tokenizer_of


class Clip(FrozenFeatures):
    """Where pictures and texts lie in CLIP's common space; the pictures' side is what CLIP-FD is taken from.

    model: its name on the hub, looked up in the local cache only, unless ``download`` is set.
    path: a folder instead, with config.json, model.safetensors and, for texts, the tokenizer's files.
    """

    what = "embedding"

    def __init__(
        self,
        model: str = "openai/clip-vit-base-patch32",
        path: str | None = None,
        preprocess: Preprocess | None = None,
        download: bool = False,
    ) -> None:
        self.folder = folder_of(model, path, download)
        network = loaded("CLIPModel", self.folder)
        vision, dim = network.config.vision_config, network.config.projection_dim
        what = f"clip {self.what} of {vision.num_hidden_layers} layers, patch {vision.patch_size}"
        super().__init__(network, preprocess or Bicubic(), vision.image_size, what, dim, content(self.folder))

    def features(self, x: Tensor) -> Tensor:
        return _tensor(self.network.get_image_features(pixel_values=standardized(x, CLIP)))  # pyright: ignore[reportCallIssue]

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> Tensor:
        """[N, feature_dim], on the device of the last pictures; a caption is cut at the model's length."""
        found = tokenizer_of(self.folder, "features")
        longest = self.network.config.text_config.max_position_embeddings  # pyright: ignore[reportAttributeAccessIssue]
        tokens = found([*captions], padding=True, truncation=True, max_length=longest, return_tensors="pt")
        place = next(self.network.parameters()).device
        given = {name: tokens[name].to(place) for name in ("input_ids", "attention_mask")}
        return _tensor(self.network.get_text_features(**given))  # pyright: ignore[reportCallIssue]


class UnitClip(Clip):
    """The same at length 1, as CMMD compares them; its authors use openai/clip-vit-large-patch14-336."""

    what = "unit embedding"

    def features(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(super().features(x), dim=1)


def _tensor(found: Any) -> Tensor:
    """The projected features, which some versions of the library give within an object."""
    return found if isinstance(found, Tensor) else found.pooler_output
