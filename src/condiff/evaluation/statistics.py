"""Moments of the features of a set of pictures, and the .npz files they are exchanged in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from condiff.files import DAMAGED

_LAYOUTS = (("mu", "sigma"), ("mu_s", "sigma_s"))  # ADM's files hold the spatial features beside the others


class Features(Protocol):
    """Numbers of a picture, of which moments are kept."""

    name: str  # all that the features depend on but code: weights and resize, too
    feature_dim: int


class FeatureExtractor(Features, Protocol):
    """Images, [B, C, H, W] in [-1, 1], to features, [B, feature_dim]."""

    def __call__(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Statistics:
    """Of features of ``count`` pictures; None is a file that does not say of how many."""

    mean: Tensor  # [D] float64
    cov: Tensor  # [D, D] float64, unbiased (n - 1)
    count: int | None
    known: bool = True  # whether it is sure which features they are of, and after which resize


def read_statistics(path: str | Path, extractor: Features) -> Statistics:
    """Moments from a file; ValueError where they are no moments, or of other features than the extractor's.

    The layout is that of ADM's and EDM's references: ``mu`` and ``sigma``. Files of this package also say
    which features they are of (``features``) and of how many pictures (``count``); of others the size of
    the features is all that can be compared. No pickle is read.
    """
    file = Path(path).expanduser()
    arrays = stored_moments(file)
    said = str(arrays["features"]) if "features" in arrays else None
    if said is not None and said != extractor.name:
        raise ValueError(f"{file} has the statistics of other features, {said}; wanted are {extractor.name}")
    dim = extractor.feature_dim
    there = _layouts(arrays)
    fitting = [(mean, cov) for mean, cov in there if arrays[mean].shape == (dim,)]
    if not fitting:
        found = ", ".join(f"{mean} of {[*arrays[mean].shape]}" for mean, _ in there)
        raise ValueError(f"{file} has {found}; {extractor.name} features need mu of [{dim}], sigma beside it")
    mean, cov = (arrays[name] for name in fitting[0])
    if cov.shape != (dim, dim) or mean.dtype.kind != "f" or cov.dtype.kind != "f":
        raise ValueError(
            f"{file}: {fitting[0][1]} must be floats of [{dim}, {dim}], got {cov.dtype} of {[*cov.shape]}"
        )
    mean, cov = mean.astype(np.float64), cov.astype(np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise ValueError(f"{file}: {' and '.join(fitting[0])} must be finite, got NaN or infinity")
    if not _is_covariance(cov):
        raise ValueError(
            f"{file}: {fitting[0][1]} is no covariance: not symmetric, or with a negative eigenvalue"
        )
    return Statistics(torch.from_numpy(mean), torch.from_numpy(cov), _count(arrays, file), said is not None)


def has_statistics(path: str | Path) -> bool:
    """Whether a file holds moments."""
    try:
        return bool(stored_moments(Path(path).expanduser()))
    except ValueError:
        return False


def write_statistics(path: Path, statistics: Statistics, features: str) -> None:
    """``mu`` and ``sigma`` as ADM's and EDM's programs read them, with what they are of beside them."""
    arrays = {"mu": statistics.mean.cpu().numpy(), "sigma": statistics.cov.cpu().numpy()}
    arrays["features"] = np.array(features)
    if statistics.count is not None:
        arrays["count"] = np.array(statistics.count)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def stored_moments(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that are about moments: a reference may hold ten thousand pictures beside them."""
    names = {name for layout in _LAYOUTS for name in layout} | {"features", "count"}
    try:
        with np.load(file, allow_pickle=False) as stored:
            if not hasattr(stored, "files"):
                raise ValueError("a single array")
            arrays = {name: stored[name] for name in stored.files if name in names}
    except DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file} cannot be read as .npz ({reason}); mu and sigma are needed") from error
    if not _layouts(arrays):
        raise ValueError(f"{file} has no mu and sigma")
    return arrays


def _is_covariance(cov: np.ndarray) -> bool:
    largest = np.abs(cov).max()
    if not np.allclose(cov, cov.T, rtol=1e-4, atol=1e-6 * largest):
        return False
    return float(torch.linalg.eigvalsh(torch.from_numpy(cov)).min()) >= -1e-4 * largest


def _count(arrays: dict[str, np.ndarray], file: Path) -> int | None:
    count = arrays.get("count")
    if count is None:
        return None
    if count.shape or count.dtype.kind not in "iu" or count < 2:
        raise ValueError(f"{file}: count must be an integer of 2 or more, got {count.tolist()}")
    return int(count)


def _layouts(arrays: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    return [(mean, cov) for mean, cov in _LAYOUTS if mean in arrays and cov in arrays]
