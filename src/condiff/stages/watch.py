"""Measuring a denoiser while it trains, as it is measured once it is trained."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn

from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.evaluation.measurement import Measurement
from condiff.stages.denoiser import Trained
from condiff.stages.device import device
from condiff.stages.metrics import drawn_sets, entries_of, metrics_of, take_in, take_in_real
from condiff.stages.pictures import as_stored
from condiff.stages.samples import drawn
from condiff.stages.stage import Artifact, Config, Runtime


class Watch:
    """What ``metrics.every`` asks for, out of what the stages before the denoiser have made.

    The same samples each time: the seed, the guidance and the sampler are those of the study.
    """

    def __init__(self, cfg: Config, done: Mapping[str, Artifact], runtime: Runtime) -> None:
        self.cfg, self.done, self.runtime, self.place = cfg, done, runtime, device(runtime)
        self.every: int = cfg["metrics"]["every"]
        self.ready: dict[str, Measurement] | None = None

    def __call__(self, trained: Trained) -> Callable[[nn.Module], dict[str, float]]:
        """A function of the network that measures it in the place of the denoiser's own."""
        denoiser, conditioner, shape = trained

        @torch.no_grad()
        def measure(network: nn.Module) -> dict[str, float]:
            averaged = NetworkDenoiser(network, denoiser.process, denoiser.parameterization)
            samples = drawn(self.cfg, self.done, (averaged, conditioner, shape), self.place)
            metrics = copy.deepcopy(self._ready())
            take_in(metrics, drawn_sets(as_stored(samples), self.place))
            return {name: entry["value"] for name, entry in entries_of(metrics).items()}

        return measure

    def _ready(self) -> dict[str, Measurement]:
        """The metrics about samples, with the real pictures taken in: these are looked at once."""
        if self.ready is None:
            every = metrics_of(self.cfg["metrics"], self.done, self.place)
            self.ready = {name: metric for name, metric in every.items() if "samples" in metric.sides}
            for metric in self.ready.values():  # one rank measures, and the others are not asked for theirs
                metric.distributed_available_fn = _never
            take_in_real(self.ready, self.done, self.runtime)
        return self.ready


def _never() -> bool:
    return False
