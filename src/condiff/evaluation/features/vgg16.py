"""What LPIPS looks through: VGG16 without its classifier (Simonyan & Zisserman 2015, table 1, D)."""

from collections.abc import Iterator

from torch import Tensor, nn

from condiff.evaluation.features.weights import WeightFile

FILE = WeightFile(
    names=("vgg16-397923af.pth",),  # published with torchvision
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions, channels
PREFIX = "features."  # of the convolutions in the file; the rest is the classifier
SMALLEST = 2 ** (len(BLOCKS) - 1)  # pixels a side, of which the last block sees one


class VGG16(nn.Module):
    """Of x, [B, 3, H, W], the rectified map that ends each block.

    They are [B, C, H / s, W / s] for s = 1, 2, 4, 8 and 16. The parts are named as the
    published weights name them.
    """

    def __init__(self) -> None:
        super().__init__()
        layers, narrow = [], 3
        for number, wide in BLOCKS:
            for _ in range(number):
                layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU()]
                narrow = wide
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])  # nothing looks at the last pool

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                yield x
            x = layer(x)
        yield x
