"""Which patches of a picture are real."""

from itertools import pairwise

from torch import Tensor, nn

from condiff.ranges import Count, checked

WIDEST = 8  # times the width (Isola 2017, section 6.1)


class PatchDiscriminator(nn.Module):
    """A logit for each of many overlapping patches (PatchGAN; Isola 2017, section 3.2.2).

    Convolutions 4 wide: ``halvings`` with stride 2, then two with stride 1. With the paper's 3 halvings a
    logit belongs to a patch of 70x70 pixels.

    The paper's batch normalization is group normalization here: its statistics are of one picture, so no
    logit depends on the other pictures of a batch or on the number of devices. They are of the whole
    picture, so through them alone a logit knows of pixels beyond its patch.

    width: channels at the finest level; 64 is the paper's.
    """

    @checked
    def __init__(self, channels: Count, width: Count = 64, halvings: Count = 3) -> None:
        super().__init__()
        if width % 16:
            raise ValueError(f"PatchDiscriminator.width must be a multiple of 16, got {width}")
        self.halvings = halvings
        widths = [width * min(2**level, WIDEST) for level in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level, (narrow, wide) in enumerate(pairwise(widths), start=1):
            stride = 2 if level < halvings else 1
            conv = nn.Conv2d(narrow, wide, 4, stride=stride, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(16, wide), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.apply(_initialise)

    @property
    def receptive_field(self) -> int:
        """Pixels a side of the patch that the convolutions of a logit see."""
        return 2**self.halvings * 9 - 2  # r -> 2 r + 2 a halving, from 7

    @property
    def smallest(self) -> int:
        """Pixels a side of the smallest picture that has a logit."""
        return 2**self.halvings * 3

    def forward(self, images: Tensor) -> Tensor:
        """Logits, [B, 1, h, w], of images, [B, C, H, W] in [-1, 1]: high for what looks real."""
        if min(images.shape[2:]) < self.smallest:
            raise ValueError(
                f"PatchDiscriminator.halvings={self.halvings} needs pictures of at least {self.smallest}"
                f" pixels a side, got {[*images.shape[2:]]}; use fewer halvings"
            )
        return self.layers(images)


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02^2) (Isola 2017, section 6.2)."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
