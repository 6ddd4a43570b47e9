"""How unlike two pictures are to the eye: distances between the maps inside a network (Zhang 2018)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from condiff.evaluation.features import efficientnet_lite0, vgg16
from condiff.evaluation.features.efficientnet_lite0 import Lite0
from condiff.evaluation.features.frozen import Frozen
from condiff.evaluation.features.loading import load_by_position, load_strictly
from condiff.evaluation.features.preprocess import antialiased, as_rgb
from condiff.evaluation.features.standardized import IMAGENET, standardized
from condiff.evaluation.features.vgg16 import VGG16
from condiff.evaluation.features.weights import WeightFile
from condiff.ranges import Count, checked

LINEAR = WeightFile(
    names=("vgg.pth",),
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    package="torchmetrics",
    folder="functional/image/lpips_models",
    extra="torchmetrics>=1.9,<2",
)  # version 0.1 of LPIPS' authors
EPS = 1e-8  # torchmetrics', under the root, where it keeps the gradient finite at places without any feature


class PerceptualDistance(Frozen, ABC):
    """Pictures x and y, each [B, C, H, W] in [-1, 1], to [B] distances: symmetric, and 0 of the same picture.

    d = sum_l mean_hw w_l . (u_l(x) - u_l(y))^2, where u_l is a map whose channels have length 1 at each
    place (Zhang 2018, eq. 1; as in the published code, w_l multiplies the square). It is differentiable
    in the pictures. It follows them to their device, and computes in float32 whatever surrounds it.

    weights: w_l, [C] for each of the maps.
    """

    at_once = 10  # pairs: memory does not grow with the batch

    def __init__(
        self, network: nn.Module, weights: Sequence[Tensor], described: str, content: Sequence[Any]
    ) -> None:
        super().__init__(network, described, content)
        self.weights = [weight.detach() for weight in weights]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if x.shape != y.shape:
            raise ValueError(f"pairs of pictures must have one shape, got {[*x.shape]} and {[*y.shape]}")
        self.network.to(x.device)
        self.weights = [weight.to(x.device) for weight in self.weights]
        parts = zip(x.split(self.at_once), y.split(self.at_once), strict=True)
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat([self._between(as_rgb(a).float(), as_rgb(b).float()) for a, b in parts])

    @abstractmethod
    def maps(self, x: Tensor) -> Iterable[Tensor]:
        """[B, C, H', W'] of several depths, of x, [B, 3, H, W] in [-1, 1]."""

    def _between(self, x: Tensor, y: Tensor) -> Tensor:
        layers = zip(self.maps(x), self.maps(y), self.weights, strict=True)
        found = [(_unit(a) - _unit(b)).square().mean((2, 3)) @ weight for a, b, weight in layers]
        return torch.stack(found).sum(0)


class LPIPS(PerceptualDistance):
    """LPIPS as published: version 0.1, VGG16, at the pictures' own size.

    path: of VGG16's weights, where they are in none of the usual places. The linear ones come with
        torchmetrics.
    """

    called = "lpips"

    def __init__(self, path: str | None = None) -> None:
        given = vgg16.FILE.load(path).items()
        network = load_strictly(
            VGG16(), {name: part for name, part in given if name.startswith(vgg16.PREFIX)}
        )
        linear = nn.ModuleList(nn.Conv2d(wide, 1, 1, bias=False) for _, wide in vgg16.BLOCKS)
        weights = [part.flatten() for part in load_by_position(linear, LINEAR.load()).parameters()]
        content = [vgg16.FILE.sha256, LINEAR.sha256]
        super().__init__(network, weights, "lpips v0.1 of vgg16, no resize", content)

    def maps(self, x: Tensor) -> Iterable[Tensor]:
        if min(x.shape[2:]) < vgg16.SMALLEST:
            raise ValueError(
                f"LPIPS needs pictures of at least {vgg16.SMALLEST} pixels a side, got {[*x.shape[2:]]}, and"
                " would be another number if it resized them; EfficientNetLite0Distance resizes"
            )
        return self.network(standardized(x, IMAGENET))


class EfficientNetLite0Distance(PerceptualDistance):
    """The same distance in five maps of EfficientNet-Lite0, with all weights 1; its numbers are not LPIPS'.

    resolution: pixels a side that the network sees. Distances at different resolutions do not compare.
    """

    network: Lite0

    @checked
    def __init__(self, resolution: Count = 224, path: str | None = None) -> None:
        self.resolution = resolution
        self.at_once = self.at_once * max(1, 224 // resolution) ** 2  # small pictures need little memory
        network = load_by_position(Lite0(), efficientnet_lite0.FILE.load(path))
        channels = [efficientnet_lite0.STAGES[stage][1] for stage in efficientnet_lite0.LAST_OF_A_SIZE]
        described = f"efficientnet_lite0 perceptual, unweighted, antialiased bilinear to {resolution} px"
        weights = [torch.ones(wide) for wide in channels]
        super().__init__(network, weights, described, [efficientnet_lite0.FILE.sha256])

    def maps(self, x: Tensor) -> Iterable[Tensor]:
        return self.network.scales(antialiased(x, self.resolution, "bilinear"))


def _unit(x: Tensor) -> Tensor:
    """x, [B, C, H, W], over its length along the channels."""
    return x / (x.square().sum(1, keepdim=True) + EPS).sqrt()
