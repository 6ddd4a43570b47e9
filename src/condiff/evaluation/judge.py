"""A small classifier of clean pictures that judges samples, and is never used to guide them."""

from torch import Tensor, nn

from condiff.ranges import Count, checked


class Judge(nn.Module):
    """Three convolutional blocks, ``feature_dim`` features and a linear head."""

    name = "judge"

    @checked
    def __init__(
        self, channels: Count, num_classes: Count, size: Count, width: Count = 32, feature_dim: Count = 64
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        grid = min(4, max(1, size // 8))  # 4x4 places at 32 pixels, whatever the size above
        self.body = nn.Sequential(
            *_block(channels, width),
            *_block(width, 2 * width),
            *_block(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
            nn.Linear(2 * width * grid**2, feature_dim),
            nn.ReLU(),
        )
        self.head = nn.Linear(feature_dim, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Features, [B, feature_dim], of images, [B, C, H, W] in [-1, 1]."""
        return self.body(images)

    def logits(self, images: Tensor) -> Tensor:
        """[B, num_classes]."""
        return self.head(self(images))


def _block(narrow: int, wide: int) -> list[nn.Module]:
    return [
        nn.Conv2d(narrow, wide, 3, padding=1, bias=False),
        nn.BatchNorm2d(wide),
        nn.MaxPool2d(2),
        nn.ReLU(),  # after the maximum it is the same and costs a quarter
    ]
