"""A way to adapt a denoiser, with what it takes from the data, and the denoiser as it then is."""

from typing import cast

import torch
from torch import nn

from condiff.adapters.branch import Branch
from condiff.adapters.control import Control
from condiff.adapters.controlled import ONLY, Controlled
from condiff.adapters.tuning import Tuning
from condiff.conditioners.conditioner import Conditioner
from condiff.conditioners.control import WithControl
from condiff.conditioners.text import Text
from condiff.config.build import build
from condiff.config.nodes import attribute
from condiff.data.source import DataInfo
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.stages.denoiser import Trained
from condiff.stages.stage import Config
from condiff.stages.tuned import begin

_EVEN, POOLED = "condiff.adapters.control.Even", "condiff.adapters.control.Pooled"


def built_tuning(node: Config, info: DataInfo, network: nn.Module, shape: list[int]) -> Tuning:
    """Of pictures with these hints; the network is of x0 of this shape, [C, H, W]."""
    if not attribute(node, "needs_control"):
        return build(node, "adapter.tuning")
    folded = getattr(network, "patch", 1)
    stride = info.size * folded // shape[-1]
    return build(node, "adapter.tuning", channels=info.control, stride=stride, folded=folded)


def begun(trained: Trained, tuning: Tuning, seed: int) -> Trained:
    """A denoiser whose network's training begins, and what encodes all that it then hears."""
    denoiser, conditioner, shape = trained
    network = begin(tuning, denoiser.network, seed)
    hears = WithControl(conditioner) if tuning.needs_control else conditioner
    return _with(denoiser, network), hears, shape


def begun_encoders(cfg: Config, conditioner: Conditioner) -> dict[str, nn.Module]:
    """Encoders of text whose training begins, without weights, by part; none where they are not trained.

    ConfigError of what nothing in them has.
    """
    node = cfg["adapter"].get("text")
    if node is None:
        return {}
    with torch.device("meta"):
        return {
            part: begin(build(node, "adapter.text"), own.outline(), cfg["seed"], "adapter.text")
            for part, own in cast(Text, conditioner).encoder.named().items()
        }


def controlled(
    trained: Trained, branch: nn.Module, control: Control, scale: float, place: tuple[int, int] = ONLY
) -> Trained:
    """A denoiser with a ControlNet beside it, which is used so and at this scale; at 0 it is not there.

    place: which of so many hints it looks at.
    """
    denoiser, conditioner, shape = trained
    hears = conditioner if conditioner.needs_control else WithControl(conditioner, control.in_null)
    if scale == 0:
        return denoiser, hears, shape
    own = cast(Branch, branch)
    weights = [scale * weight for weight in control.weights(own.num)]
    network = Controlled(denoiser.network, own, weights, control.span(denoiser.process), place)
    return _with(denoiser, network).eval(), hears, shape


def built_control(
    cfg: Config, shares: tuple[float, float] | None = None, guess: str | None = None
) -> Control:
    """How what stands beside a denoiser is used: as its study says, or evenly.

    shares, guess: from which of the way on and up to which, and the target of its guess mode or ``POOLED``,
    where these are its own.
    """
    node = (cfg.get("adapter") or {}).get("control") or {"_target_": _EVEN}
    own = {} if shares is None else dict(zip(("start", "end"), shares, strict=True))
    target = {} if guess is None else {"_target_": guess}
    return build({**node, **own, **target}, "adapter.control")


def _with(denoiser: NetworkDenoiser, network: nn.Module) -> NetworkDenoiser:
    return NetworkDenoiser(network, denoiser.process, denoiser.parameterization, denoiser.bound)
