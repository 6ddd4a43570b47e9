"""ControlNets in the layout of their authors' files (cldm of Zhang 2023's code), for a U-Net."""

from collections.abc import Collection, Mapping

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from condiff.adapters.branch import Branch
from condiff.ldm_names import layer_name

_PREFIX = "control_model."
_HINT, _FIRST = "controlnet_cond_embedding.", "input_hint_block.0.weight"


def is_original(names: Collection[str]) -> bool:
    """Whether tensors of these names are a ControlNet's in that layout, with their prefix or without."""
    return bool({_FIRST, f"{_PREFIX}{_FIRST}"} & {*names})


def taken(tensors: Mapping[str, Tensor], unet: UNet2DConditionModel) -> Branch:
    """The ControlNet of such tensors; ValueError, without the file's name, for another U-Net."""
    given = {name.removeprefix(_PREFIX): value for name, value in tensors.items()}
    count = len({name.split(".")[1] for name in given if name.startswith("input_hint_block.")})
    halving = [f"input_hint_block.{place}.weight" for place in range(0, 2 * count - 2, 4)]
    widths = [given[name].shape[0] for name in halving if name in given]
    branch = Branch.shaped(unet, given[_FIRST].shape[1], widths)
    state = branch.net.state_dict()
    names = original_names(branch.net, [*state])
    lacking = [name for name in names.values() if name not in given]
    more = [name for name in given if name not in {*names.values()}]
    wrong = [name for own, name in names.items() if name in given and given[name].shape != state[own].shape]
    if lacking or more or wrong:
        first = (lacking or more or wrong)[0]
        raise ValueError(f"is no copy of the base's encoder, {first} for one; give the base that it is for")
    branch.net.load_state_dict({own: given[name] for own, name in names.items()}, strict=True)
    return branch


def written(branch: Branch) -> dict[str, Tensor]:
    """Its tensors by the authors' names; ValueError where these have none for one."""
    state = branch.net.state_dict()
    return {f"{_PREFIX}{name}": state[own] for own, name in original_names(branch.net, [*state]).items()}


def original_names(net: ControlNetModel, names: Collection[str]) -> dict[str, str]:
    """The authors' name of each tensor, without the prefix."""
    blocks = net.config["layers_per_block"]
    attends = [kind.startswith("CrossAttn") for kind in net.config["down_block_types"]]
    last = len(net.controlnet_cond_embedding.blocks)
    found: dict[str, str] = {}
    for name in names:
        layer, _, kind = name.rpartition(".")
        theirs = _joined(name, last)
        if theirs is None and (inside := layer_name(layer, blocks, attends)):
            theirs = f"{inside}.{kind}"
        if theirs is None:
            raise ValueError(f"has no name for {name} in the layout of ControlNet's authors")
        found[name] = theirs
    return found


def _joined(name: str, last: int) -> str | None:
    """Of the zero convolutions and of the network for the hint, whose convolutions have one place between."""
    layer, _, kind = name.rpartition(".")
    if layer.startswith("controlnet_down_blocks."):
        return f"zero_convs.{layer.rpartition('.')[2]}.0.{kind}"
    if layer == "controlnet_mid_block":
        return f"middle_block_out.0.{kind}"
    if not layer.startswith(_HINT):
        return None
    inside = layer.removeprefix(_HINT)
    place = {"conv_in": 0, "conv_out": last + 1}.get(inside)
    return f"input_hint_block.{2 * (int(inside.rpartition('.')[2]) + 1 if place is None else place)}.{kind}"
