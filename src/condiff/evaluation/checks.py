"""Pictures and features that cannot be measured are refused before they become a plausible number."""

import torch
from torch import Tensor

from condiff.evaluation.statistics import FeatureExtractor

_SLACK = 1e-3  # a decoder's last rounding, in half precision too


def check_pictures(asker: object, side: str, images: Tensor) -> None:
    """ValueError unless images are a [B, C, H, W] batch of finite floats in [-1, 1]."""
    what = f"{type(asker).__name__}: {side} pictures must be"
    if images.ndim != 4:
        raise ValueError(f"{what} [B, C, H, W], got {[*images.shape]}")
    if not images.is_floating_point():
        raise ValueError(f"{what} floats in [-1, 1], got {images.dtype}; 0..255 becomes x / 127.5 - 1")
    if not images.numel():
        return
    low, high = (float(end) for end in torch.aminmax(images))  # NaN where any pixel is
    if not (abs(low) < torch.inf and abs(high) < torch.inf):
        raise ValueError(f"{what} finite, got NaN or infinity")
    if max(-low, high) > 1 + _SLACK:
        raise ValueError(f"{what} in [-1, 1], got {low:.4g} to {high:.4g}; 0..255 becomes x / 127.5 - 1")


def check_two(asker: object, count: int) -> None:
    """ValueError of fewer samples than a share or a mean with an interval can be taken of."""
    if count < 2:
        raise ValueError(f"{type(asker).__name__} needs at least 2 samples pictures, got {count}")


def features_of(asker: object, extractor: FeatureExtractor, side: str, images: Tensor) -> Tensor:
    """[B, feature_dim]; ValueError where pictures or features cannot be used."""
    check_pictures(asker, side, images)
    features = extractor(images)
    what = f"{type(asker).__name__}: {extractor.name} features of the {side} pictures"
    if features.shape != (len(images), extractor.feature_dim):
        raise ValueError(f"{what} must be {[len(images), extractor.feature_dim]}, got {[*features.shape]}")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{what} are not finite")
    return features
