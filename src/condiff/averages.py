"""Averages of weights over a share of their training, of any length after it is over.

An average at step t weighs the weights of step tau by (tau / t)^gamma, so that it is as long, against the
training, at any time of it (Karras 2024, "Analyzing and Improving the Training Dynamics of Diffusion
Models", section 3; formulas from memory, derived anew). Its length is the standard deviation of these weights
over t. A few averages of one or two lengths, kept now and then, span those of other lengths.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = "averages"
LONGEST = 1 / math.sqrt(12)  # of equal weights
Kept = tuple[float, int]  # an average: its exponent gamma, and the step that it ends at


def exponent(length: float) -> float:
    """gamma of a length in (0, LONGEST].

    tau / t has the density (gamma + 1) x^gamma on [0, 1], whose variance is
    (gamma + 1) / ((gamma + 2)^2 (gamma + 3)): it falls in gamma, so that halving finds it.
    """
    if not 0 < length <= LONGEST:
        raise ValueError(f"the length of an average must be over 0 and at most {LONGEST:.4g}, got {length}")
    low, high = 0.0, 1 / length
    for _ in range(60):
        gamma = (low + high) / 2
        is_longer = (gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)) > length**2
        low, high = (gamma, high) if is_longer else (low, gamma)
    return (low + high) / 2


def decay(gamma: float, step: int) -> float:
    """What of the average is left at a step, from 1: the share of all weights before it."""
    return (1 - 1 / step) ** (gamma + 1)


def overlap(one: Kept, other: Kept) -> float:
    """The integral over tau of the product of two averages' weights, each of integral 1."""
    (a, s), (b, t) = one, other
    both = min(s, t)
    # (both / s)^(a + 1) (both / t)^(b + 1) and not powers of steps, which overflow
    return (a + 1) * (b + 1) / (a + b + 1) * (both / s) ** (a + 1) * (both / t) ** (b + 1) / both


def shares(kept: Sequence[Kept], wanted: Kept) -> list[float]:
    """The sum of kept averages nearest to a wanted one: least squares between their weights over tau."""
    products = torch.tensor([[overlap(one, other) for other in kept] for one in kept], dtype=torch.float64)
    against = torch.tensor([overlap(one, wanted) for one in kept], dtype=torch.float64)
    return torch.linalg.lstsq(products, against.unsqueeze(1), driver="gelsd").solution[:, 0].tolist()


def place(artifact: Path, step: int, length: float) -> Path:
    """The file of an average of this length that ends at a step."""
    return artifact / FOLDER / f"step={step:08d}_length={length:g}.safetensors"


def reconstructed(artifact: Path, length: float) -> dict[str, Tensor]:
    """The average of any length at the end of a training that kept some in its folder, float32."""
    files = sorted((artifact / FOLDER).glob("step=*_length=*.safetensors"))
    kept = [_said(file) for file in files]
    last = max(step for _, step in kept)
    return weighted((load_file(file) for file in files), shares(kept, (exponent(length), last)))


def weighted(parts: Iterable[dict[str, Tensor]], factors: Iterable[float]) -> dict[str, Tensor]:
    """Their sum, taken in float64, part by part."""
    sums: dict[str, Tensor] = {}
    for part, factor in zip(parts, factors, strict=True):
        for name, value in _scaled(part, factor):
            sums[name] = sums[name] + value if name in sums else value
    return {name: value.float() for name, value in sums.items()}


def _scaled(part: dict[str, Tensor], factor: float) -> Iterator[tuple[str, Tensor]]:
    return ((name, factor * value.double()) for name, value in part.items())


def _said(file: Path) -> Kept:
    step, length = (part.partition("=")[2] for part in file.stem.split("_"))
    return exponent(float(length)), int(step)
