"""ControlNet: a network is locked, and a copy of its encoder learns to add to its skips (Zhang 2023)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, cast

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from condiff.adapters import control_files
from condiff.adapters.base import digest_of
from condiff.adapters.branch import Branch
from condiff.adapters.controlled import Controlled
from condiff.adapters.halved import halve
from condiff.adapters.tuning import Tuning, inside
from condiff.ranges import Count, checked


class ControlNet(Tuning):
    """Trains a ``Branch`` beside the network, none of whose own weights is touched.

    The first arguments are filled in: the channels of a hint, how many of its pixels stand for one place of
    what the network's U-Net is given, and how many of those the network folds into channels.
    frozen: what the locked weights are kept in, and all is computed in, while the branch is trained, whose
    weights are float32.
    """

    needs_control: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        channels: Count,
        stride: Count,
        folded: Count = 1,
        frozen: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        self.channels, self.stride, self.folded, self.frozen = channels, stride, folded, frozen

    def begin(self, network: nn.Module) -> nn.Module:
        network.requires_grad_(False)
        branch = Branch.of(encoder_of(network), self.channels, self.stride, self.folded)
        for weight in self._learns(network).values():
            weight.requires_grad_(True)
        if self.frozen == "bfloat16":
            halve(network)
        return Controlled(network, branch.requires_grad_(True))

    def _learns(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """What is trained of the network itself."""
        return {}

    def take_up(self, network: nn.Module, last: Mapping[str, Tensor]) -> None:
        """As the published program copies what was trained, and no average (tool_add_control.py)."""
        copied = cast(Branch, network.branch).net
        own = {name.removeprefix("net."): weight for name, weight in last.items()}
        copied.load_state_dict({name: own.get(name, w) for name, w in copied.state_dict().items()})

    def check(self, network: nn.Module) -> None:
        encoder_of(network)

    def write(self, network: nn.Module, path: Path, base: str, trigger: Sequence[str]) -> None:
        control_files.write(path, cast(Branch, network.branch), base, [*trigger])

    def beside(self, path: Path, network: nn.Module) -> nn.Module:
        return control_files.read(path, encoder_of(network), digest_of(inside(network)))


class Unlocked(ControlNet):
    """The same, and the decoder of the network learns with it (``sd_locked`` of the published program).

    For much data, and at a rate of 2e-6 for a Stable Diffusion (docs/train.md of that program).
    """

    def _learns(self, network: nn.Module) -> dict[str, nn.Parameter]:
        return _decoder(network)

    def write(self, network: nn.Module, path: Path, base: str, trigger: Sequence[str]) -> None:
        decoder = {name: weight.detach() for name, weight in _decoder(network).items()}
        control_files.write(path, cast(Branch, network.branch), base, [*trigger], decoder)

    def changes(self, path: Path, network: nn.Module) -> dict[str, Tensor]:
        return decoder_changes(path, network)


def decoder_changes(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """What a training that did not lock the decoder has added to it; nothing where it was locked."""
    names = {id(weight): name for name, weight in network.named_parameters()}
    own, learned = _decoder(network), control_files.read_decoder(path)
    if learned and own.keys() != learned.keys():
        raise ValueError(f"{path}: its decoder is not that of its base; give the one it was trained on")
    return {
        names[id(own[name])]: weight.float() - own[name].detach().float().cpu()
        for name, weight in learned.items()
    }


def _decoder(network: nn.Module) -> dict[str, nn.Parameter]:
    """What comes after the middle of a U-Net, by its names."""
    every = inside(network).named_parameters()
    return {
        name: weight
        for name, weight in every
        if name.startswith(("up_blocks.", "conv_norm_out.", "conv_out."))
    }


def encoder_of(network: nn.Module) -> UNet2DConditionModel:
    """The U-Net whose encoder is copied; ValueError where there is none that diffusers can copy."""
    unet = inside(network)
    if not isinstance(unet, UNet2DConditionModel):
        raise ValueError(
            f"adapter.tuning: a ControlNet is for a UNet2DConditionModel, and network is"
            f" {type(network).__name__}; use network=unet_cross_attention, or adapter=linear_conv"
        )
    return unet
