"""Measuring a denoiser while it trains, as it is measured once it is trained, and looking at it.

An adapter is measured at scale 1, a ControlNet over the whole way, as their training has them.
"""

import copy
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from condiff.autoencoders.space import Autoencoder, mode
from condiff.conditioners.conditioner import Conditioner
from condiff.config.kinds import objects
from condiff.config.nodes import attribute, class_of
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.evaluation.measurement import Measurement
from condiff.reports.grid import grid
from condiff.stages.asked import CONTROL, asked
from condiff.stages.denoiser import Trained
from condiff.stages.device import device
from condiff.stages.guided import guided
from condiff.stages.metrics import entries_of, metrics_of, take_in_real, take_in_samples, tell
from condiff.stages.pictures import as_stored, to_uint8
from condiff.stages.samples import drawn, drawn_of
from condiff.stages.stage import Artifact, Config, Runtime
from condiff.stages.training import Drawing

MOST, COLUMNS = 20, 2  # pictures of a look, and how many beside one another
SIDE = 64  # pixels that a small one is enlarged to
PLAIN = {"_target_": "condiff.diffusion.guidance.NoGuidance"}


class Watch:
    """What ``metrics.every`` asks for, out of what the stages before the denoiser have made.

    The same samples each time: the seed, the guidance and the sampler are those of the study. Each rank
    draws its share of them and looks at its share of the real pictures; the one that leads is told.
    """

    def __init__(self, cfg: Config, done: Mapping[str, Artifact], runtime: Runtime) -> None:
        self.cfg, self.done, self.runtime, self.place = cfg, done, runtime, device(runtime)
        self.every: int = cfg["metrics"]["every"]
        self.stage = "adapter" if cfg.get("adapter") is not None else "denoiser"
        self.ready: dict[str, Measurement] | None = None

    def of(self, stage: str, trained: Trained) -> Callable[[nn.Module], dict[str, float]] | None:
        """The same while a stage trains, where it is the last one that does: an adapter, if there is one."""
        return self(trained) if stage == self.stage else None

    def __call__(self, trained: Trained) -> Callable[[nn.Module], dict[str, float]]:
        """A function of the network that measures it in the place of the denoiser's own."""
        denoiser, conditioner, shape = trained

        @torch.no_grad()
        def measure(network: nn.Module) -> dict[str, float]:
            averaged = NetworkDenoiser(network, denoiser.process, denoiser.parameterization)
            metrics = copy.deepcopy(self._ready())
            total, ranks = self.cfg["num_samples"], self.runtime.ranks
            wanted, share = asked(self.cfg, self.done["data"], conditioner), ranks.share(total)
            part = self._drawn((averaged, conditioner, shape), wanted, share)
            tell(metrics, wanted, self.done["data"])
            take_in_samples(metrics, as_stored(part), share, self.runtime)
            return {name: entry["value"] for name, entry in entries_of(metrics, ranks).items()}

        return measure

    def _drawn(self, trained: Trained, wanted: Mapping[str, Tensor], share: range) -> dict[str, Tensor]:
        """A rank's share of the samples, and of what each is to show."""
        ranks, size = self.runtime.ranks, self.runtime.sample_batch
        images = drawn_of(self.cfg, self.done, trained, self.place, wanted, share, ranks.own_step, size)
        return {"image": images, **{name: rows[share.start : share.stop] for name, rows in wanted.items()}}

    def _ready(self) -> dict[str, Measurement]:
        """The metrics about samples, with the real pictures taken in: these are looked at once."""
        if self.ready is None:
            every = metrics_of(self.cfg["metrics"], self.done, self.place)
            self.ready = {name: metric for name, metric in every.items() if "samples" in metric.sides}
            take_in_real(self.ready, self.done, self.runtime)
        return self.ready


class Pictures:
    """What is drawn while something trains: the first samples of the study, and some reconstructions.

    The noise and the conditions are those of the finished study's samples, and the same each time.
    """

    def __init__(
        self, cfg: Config, done: Mapping[str, Artifact], runtime: Runtime, every: int | None
    ) -> None:
        self.cfg, self.done, self.place, self.every = cfg, done, device(runtime), every

    def samples(self, trained: Trained) -> Drawing | None:
        """For the denoiser; None in a study that does not sample.

        A guidance whose second model is trained later is left out.
        """
        if "samples" not in self.cfg["stages"]:
            return None
        denoiser, conditioner, shape = trained
        late = any(attribute(node, "needs_stage") for _, node in objects(self.cfg["guidance"], ""))
        guidance = PLAIN if late else self.cfg["guidance"]
        classes = max(1, DataInfo.read(self.done["data"].path).num_classes)
        count = min(MOST, max(MOST // 2, COLUMNS * classes))
        cfg = {**self.cfg, "guidance": guidance, "num_samples": count}

        @torch.no_grad()
        def look(network: nn.Module) -> Image:
            averaged = NetworkDenoiser(network, denoiser.process, denoiser.parameterization)
            found = drawn(cfg, self.done, (averaged, conditioner, shape), self.place)
            return _sheet(found["image"][found["label"].argsort(stable=True)], COLUMNS)

        rule, sampler = guided(guidance), class_of(self.cfg["sampler"])
        caption = (
            f"The first samples with the averaged weights so far, always from the same noise:"
            f" {', '.join(filter(None, [rule.name, rule.strength(), rule.led_away(), sampler]))},"
            " as in the study that trained this denoiser."
        )
        return Drawing(look, caption, self.every, self._hints(cfg, conditioner))

    def _hints(self, cfg: Config, conditioner: Conditioner) -> Image | None:
        """Those that the pictures of a look are drawn with, in their order, where there are some."""
        wanted, info = asked(cfg, self.done["data"], conditioner), DataInfo.read(self.done["data"].path)
        if CONTROL not in wanted:
            return None
        hints = wanted[CONTROL][wanted["label"].argsort(stable=True)]
        return _grid(torch.cat(hints.split(info.control or info.channels, 1), 3), COLUMNS)

    def reconstructions(self, data: Artifact) -> Drawing:
        """For the autoencoder: held-out pictures above what it makes of them."""
        first = next(iter(ShardDataset(data.path, "held_out").chunks(MOST // 2)))["image"].to(self.place)

        @torch.no_grad()
        def look(module: nn.Module) -> Image:
            autoencoder = cast(Autoencoder, module)
            decoded = autoencoder.decode(mode(autoencoder.encode(first)))
            return _sheet(torch.stack([first, decoded], 1).flatten(0, 1), COLUMNS)

        return Drawing(look, "Held-out pictures, each beside what is made of its latent.", self.every)


def _sheet(images: Tensor, columns: int) -> Image:
    """Of pictures, [N, C, H, W] in [-1, 1], row by row."""
    return _grid(to_uint8(images).cpu(), columns)


def _grid(pixels: Tensor, columns: int) -> Image:
    """The same of uint8."""
    return grid(np.moveaxis(pixels.numpy(), 1, -1), columns, scale=max(1, SIDE // pixels.shape[2]))
