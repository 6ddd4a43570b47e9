"""The Inception network of 2015-12-05 that FID, sFID and the inception score are defined by.

It is Inception v3 (Szegedy 2015) as its TensorFlow graph computes it, which is not what torchvision's does:
average pools leave the padding out, the last block pools by maximum, and there are 1,008 classes. The parts
are named as the published weights name them.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

Kernel = int | tuple[int, int]
Step = tuple[str, int, Kernel] | tuple[str, int, Kernel, int]  # name, channels, kernel, stride (1)
Fork = tuple[Step, ...]  # convolutions of one input, side by side

NUM_CLASSES = 1008
SPATIAL_CHANNELS = 7  # of the 192, so that 17 x 17 places have 2,023 features (Nash 2021)


class Conv(nn.Module):
    """Without bias, normalized, rectified."""

    def __init__(
        self, narrow: int, wide: int, kernel: Kernel, stride: int = 1, padding: Kernel | None = None
    ) -> None:
        super().__init__()
        sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        same = (sizes[0] // 2, sizes[1] // 2) if stride == 1 else 0
        self.conv = nn.Conv2d(narrow, wide, sizes, stride, same if padding is None else padding, bias=False)
        self.bn = nn.BatchNorm2d(wide, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class Average(nn.Module):
    """3 x 3 at stride 1; a mean of the pixels that are there."""

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class Maximum(nn.Module):
    """3 x 3; at stride 2 without padding."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, 3, stride=self.stride, padding=1 if self.stride == 1 else 0)


class Mixed(nn.Module):
    """Chains of convolutions side by side, and a pooled branch with a convolution of its own or without."""

    def __init__(
        self, narrow: int, chains: tuple[tuple[Fork, ...], ...], pool: nn.Module, pooled: int = 0
    ) -> None:
        super().__init__()
        self.chains, self.pool = chains, pool
        for chain in chains:
            channels = narrow
            for fork in chain:
                for name, wide, kernel, *stride in fork:
                    self.add_module(name, Conv(channels, wide, kernel, *stride))
                channels = sum(step[1] for step in fork)
        if pooled:
            self.branch_pool = Conv(narrow, pooled, 1)
        self.has_pooled = bool(pooled)

    def forward(self, x: Tensor) -> Tensor:
        found = [self._along(chain, x) for chain in self.chains]
        pooled = self.pool(x)
        return torch.cat([*found, self.branch_pool(pooled) if self.has_pooled else pooled], 1)

    def _along(self, chain: tuple[Fork, ...], x: Tensor) -> Tensor:
        for fork in chain:
            x = torch.cat([self.get_submodule(step[0])(x) for step in fork], 1)
        return x


class Inception2015(nn.Module):
    """Of x, [B, 3, 299, 299], the 2,048 features before its classes."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, padding=0)
        self.Mixed_5b = _mixed_35(192, 32)
        self.Mixed_5c = _mixed_35(256, 64)
        self.Mixed_5d = _mixed_35(288, 64)
        self.Mixed_6a = _reduction_17(288)
        self.Mixed_6b = _mixed_17(768, 128)
        self.Mixed_6c = _mixed_17(768, 160)
        self.Mixed_6d = _mixed_17(768, 160)
        self.Mixed_6e = _mixed_17(768, 192)
        self.Mixed_7a = _reduction_8(768)
        self.Mixed_7b = _mixed_8(1280, Average())
        self.Mixed_7c = _mixed_8(2048, Maximum(1))
        self.fc = nn.Linear(2048, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Mixed_6e(self.Mixed_6d(self._middle(x)))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))

    def spatial(self, x: Tensor) -> Tensor:
        """[B, 17 * 17 * 7], the graph's mixed_6/conv by place and then by channel."""
        found = self.Mixed_6d.get_submodule("branch1x1")(self._middle(x))
        return found[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)

    def logits(self, features: Tensor) -> Tensor:
        """[B, 1008] of features, [B, 2048]; without their bias, as the score has always been computed."""
        return features @ self.fc.weight.T

    def _middle(self, x: Tensor) -> Tensor:
        """[B, 768, 17, 17]"""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(max_pool2d(x, 3, stride=2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(max_pool2d(x, 3, stride=2))))
        return self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))


def _chain(*steps: Step | Fork) -> tuple[Fork, ...]:
    """Convolutions one after the other; some of them several side by side."""
    return tuple((step,) if isinstance(step[0], str) else step for step in steps)  # pyright: ignore[reportReturnType]


def _mixed_35(narrow: int, pooled: int) -> Mixed:
    return Mixed(
        narrow,
        (
            _chain(("branch1x1", 64, 1)),
            _chain(("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
            _chain(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        ),
        Average(),
        pooled,
    )


def _reduction_17(narrow: int) -> Mixed:
    return Mixed(
        narrow,
        (
            _chain(("branch3x3", 384, 3, 2)),
            _chain(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)),
        ),
        Maximum(2),
    )


def _mixed_17(narrow: int, inner: int) -> Mixed:
    row, column = (1, 7), (7, 1)
    return Mixed(
        narrow,
        (
            _chain(("branch1x1", 192, 1)),
            _chain(("branch7x7_1", inner, 1), ("branch7x7_2", inner, row), ("branch7x7_3", 192, column)),
            _chain(
                ("branch7x7dbl_1", inner, 1),
                ("branch7x7dbl_2", inner, column),
                ("branch7x7dbl_3", inner, row),
                ("branch7x7dbl_4", inner, column),
                ("branch7x7dbl_5", 192, row),
            ),
        ),
        Average(),
        192,
    )


def _reduction_8(narrow: int) -> Mixed:
    return Mixed(
        narrow,
        (
            _chain(("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)),
            _chain(
                ("branch7x7x3_1", 192, 1),
                ("branch7x7x3_2", 192, (1, 7)),
                ("branch7x7x3_3", 192, (7, 1)),
                ("branch7x7x3_4", 192, 3, 2),
            ),
        ),
        Maximum(2),
    )


def _mixed_8(narrow: int, pool: nn.Module) -> Mixed:
    row, column = (1, 3), (3, 1)
    return Mixed(
        narrow,
        (
            _chain(("branch1x1", 320, 1)),
            _chain(("branch3x3_1", 384, 1), (("branch3x3_2a", 384, row), ("branch3x3_2b", 384, column))),
            _chain(
                ("branch3x3dbl_1", 448, 1),
                ("branch3x3dbl_2", 384, 3),
                (("branch3x3dbl_3a", 384, row), ("branch3x3dbl_3b", 384, column)),
            ),
        ),
        pool,
        192,
    )
