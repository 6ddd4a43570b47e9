"""Names of the tensors of latent diffusion's U-Net: diffusers', and those in its authors' files."""

import re

_WHOLE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",  # SDXL's: the size of a picture
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.resnets.1": "middle_block.2",
}
_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_PLACE = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def original_name(name: str, blocks: int, attends: list[bool]) -> str:
    """The authors' name of a tensor of diffusers, in a U-Net with so many residual blocks a level.

    attends: of each level, finest first, whether it has attention; where it has, a doubling stands behind it.
    """
    theirs = _known(name, blocks, attends)
    if theirs is None:
        raise AssertionError(f"{name} is no tensor of such a U-Net")
    return theirs


def layer_name(layer: str, blocks: int, attends: list[bool]) -> str | None:
    """The authors' name of a layer, None of one that only diffusers has."""
    theirs = _known(f"{layer}.weight", blocks, attends)
    return None if theirs is None else theirs.removesuffix(".weight")


def _known(name: str, blocks: int, attends: list[bool]) -> str | None:
    for ours, theirs in _WHOLE.items():
        if name.startswith(f"{ours}."):
            rest = name.removeprefix(f"{ours}.")
            return f"{theirs}.{_residual(rest) if '.resnets.' in name else rest}"
    found = _PLACE.fullmatch(name)
    if found is None:
        return None
    way, level, kind, place, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    first = level * (blocks + 1)  # a level has its blocks and a halving, or one block more
    if kind == "downsamplers":
        return f"input_blocks.{first + blocks + 1}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        behind = 2 if attends[::-1][level] else 1
        return f"output_blocks.{first + blocks}.{behind}.{rest}"
    block = f"input_blocks.{first + place + 1}" if way == "down" else f"output_blocks.{first + place}"
    return f"{block}.0.{_residual(rest)}" if kind == "resnets" else f"{block}.1.{rest}"


def _residual(rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{_RESIDUAL[layer]}.{kind}"
