"""Random numbers that depend on what they are for, never on what was drawn before them.

A CPU generator reads only 32 bits of its seed, so steps and samples count on from a hashed start:
hashing each on its own would make two of 50,000 samples share their noise about once in four runs.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def step_seed(seed: int, step: int, stream: str) -> int:
    """The seed of one named stream at one training step."""
    start = int.from_bytes(hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:8], "big")
    return (start + step) % 2**63


class Draws:
    """The random numbers of one training step, keyed by (seed, step, stream, place in the global batch).

    They are drawn for the global batch and cut to ``place``, so one process and N of them see the
    same numbers. They are drawn on the device itself; a CPU and a GPU give different ones.
    """

    def __init__(
        self, seed: int, step: int, batch_size: int, place: Tensor | slice, device: torch.device | str = "cpu"
    ) -> None:
        self.seed, self.step, self.batch_size, self.device = seed, step, batch_size, torch.device(device)
        places = torch.arange(batch_size)[place] if isinstance(place, slice) else place
        self.place = places.to(self.device)  # [n]

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """[n, *shape] in [0, 1), float64."""
        size, generator = (self.batch_size, *shape), self._generator(stream)
        return torch.rand(size, generator=generator, device=self.device, dtype=torch.float64)[self.place]

    def normal(self, stream: str, *shape: int) -> Tensor:
        """[n, *shape] from N(0, 1), float32."""
        size, generator = (self.batch_size, *shape), self._generator(stream)
        return torch.randn(size, generator=generator, device=self.device)[self.place]

    def _generator(self, stream: str) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(step_seed(self.seed, self.step, stream))


class SampleNoise:
    """Noise of samples, each with a generator of its own keyed by (seed, sample index).

    Drawn in float32 on the CPU and then moved: sample 17 is the same in any batch, on any device.
    """

    def __init__(
        self,
        seed: int,
        index: Sequence[int] | Tensor,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self._generators = [torch.Generator().manual_seed(step_seed(seed, int(i), "sample")) for i in index]

    def normal(self, *shape: int) -> Tensor:
        """The next [n, *shape] from N(0, 1)."""
        on_gpu = self.device.type == "cuda"  # there the host waits for no copy that is from pinned memory
        out = torch.empty((len(self._generators), *shape), pin_memory=on_gpu)
        for row, generator in zip(out, self._generators, strict=True):
            row.normal_(generator=generator)
        return out.to(self.device, non_blocking=on_gpu).to(self.dtype)
