"""Features of DINOv2, which rank pictures more as people do than Inception's (Stein 2023)."""

from torch import Tensor

from condiff.evaluation.features.frozen import FrozenFeatures
from condiff.evaluation.features.preprocess import Bicubic, Preprocess
from condiff.evaluation.features.standardized import IMAGENET, standardized
from condiff.pretrained import content, folder_of, loaded
from condiff.ranges import Count, checked


class DINOv2(FrozenFeatures):
    """The class token after the last norm; 1,024 features of ViT-L/14, which Stein 2023 uses.

    model: its name on the hub, looked up in the local cache only, unless ``download`` is set.
    path: a folder instead, with config.json and model.safetensors.
    resolution: a multiple of 14, the side of a patch.
    """

    @checked
    def __init__(
        self,
        model: str = "facebook/dinov2-large",
        path: str | None = None,
        resolution: Count = 224,
        preprocess: Preprocess | None = None,
        download: bool = False,
    ) -> None:
        folder = folder_of(model, path, download)
        network = loaded("Dinov2Model", folder)
        config = network.config
        patch, dim, layers = config.patch_size, config.hidden_size, config.num_hidden_layers
        if resolution % patch:
            raise ValueError(f"DINOv2.resolution must be a multiple of {patch}, got {resolution}")
        what = f"dinov2 class token of {layers} layers, patch {patch}"
        super().__init__(network, preprocess or Bicubic(), resolution, what, dim, content(folder))

    def features(self, x: Tensor) -> Tensor:
        return self.network(pixel_values=standardized(x, IMAGENET)).last_hidden_state[:, 0]
