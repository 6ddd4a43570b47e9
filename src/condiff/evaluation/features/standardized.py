"""Pixels as the networks of the transformers library were trained on them."""

from torch import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # of DINOv2
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # of CLIP's training


def standardized(x: Tensor, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """x, [B, 3, H, W] in [-1, 1], less the mean and over the deviation of pixels in [0, 1]."""
    mean, deviation = (x.new_tensor(values).reshape(3, 1, 1) for values in statistics)
    return ((x + 1) / 2 - mean) / deviation
