"""Moments of the features of a set of pictures, and the .npz files they are exchanged in."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

_LAYOUTS = (("mu", "sigma"), ("mu_s", "sigma_s"))  # ADM's files hold the spatial features beside the others


class FeatureExtractor(Protocol):
    """Images, [B, C, H, W] in [-1, 1], to features, [B, feature_dim]."""

    name: str
    feature_dim: int

    def __call__(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Statistics:
    """Of features of ``count`` pictures; None is a file that does not say of how many."""

    mean: Tensor  # [D] float64
    cov: Tensor  # [D, D] float64, unbiased (n - 1)
    count: int | None


def read_statistics(path: str | Path, extractor: FeatureExtractor) -> Statistics:
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
    mean, cov = (arrays[name].astype(np.float64) for name in fitting[0])
    if cov.shape != (dim, dim) or not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise ValueError(f"{file}: {fitting[0][1]} must be [{dim}, {dim}] and finite, got {[*cov.shape]}")
    if not np.allclose(cov, cov.T, rtol=1e-4, atol=1e-6 * np.abs(cov).max()) or cov.diagonal().min() < 0:
        raise ValueError(f"{file}: {fitting[0][1]} is no covariance: it is not symmetric, or negative")
    count = int(arrays["count"]) if "count" in arrays else None
    return Statistics(torch.from_numpy(mean), torch.from_numpy(cov), count)


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
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file} cannot be read as .npz ({reason}); mu and sigma are needed") from error
    if not _layouts(arrays):
        raise ValueError(f"{file} has no mu and sigma")
    return arrays


def _layouts(arrays: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    return [(mean, cov) for mean, cov in _LAYOUTS if mean in arrays and cov in arrays]
