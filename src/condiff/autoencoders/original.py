"""First stages in the files of latent diffusion's authors: their names of tensors, and their shape; no torch.

Shape and names are those of the code of Rombach 2022, whose files have no config: all that is to be known
of an autoencoder stands in its tensors, but for the 32 groups of its norms.
"""

import re
from collections.abc import Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
GROUPS = 32
_LEVEL = re.compile(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(.+)")
_WORDS = (
    ("conv_norm_out", "norm_out"),
    ("mid_block.resnets.0", "mid.block_1"),
    ("mid_block.resnets.1", "mid.block_2"),
    ("mid_block.attentions.0", "mid.attn_1"),
    ("conv_shortcut", "nin_shortcut"),
    ("resnets.", "block."),
    ("attentions.", "attn."),
    ("downsamplers.0", "downsample"),
    ("upsamplers.0", "upsample"),
)
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_name(name: str, num_levels: int) -> str:
    """Latent diffusion's name of a tensor of diffusers; its decoder counts levels from the finest one."""
    is_of_attention = "attentions." in name
    level = _LEVEL.fullmatch(name)
    if level:
        side, place, rest = level.groups()
        number = int(place) if side == "encoder.down" else num_levels - 1 - int(place)
        name = f"{side}.{number}.{rest}"
    for ours, theirs in _WORDS:
        name = name.replace(ours, theirs)
    if is_of_attention:
        layer, _, kind = name.rpartition(".")
        for ours, theirs in _ATTENTION.items():
            if layer.endswith(f".{ours}"):
                return f"{layer.removesuffix(ours)}{theirs}.{kind}"
    return name


def config_of(shapes: Shapes, file: str) -> dict[str, Any]:
    """The config.json that diffusers would have of it; ValueError where it is no first stage."""
    lacking = [name for name in _ASKED if name not in shapes]
    if lacking:
        raise ValueError(
            f"{file} has no first stage of latent diffusion: it lacks {lacking[0]}; give a folder of"
            " diffusers, or a single file with one"
        )
    widths = [
        shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(_count(shapes, "encoder.down"))
    ]
    attends = [f"encoder.down.{i}.attn.0.q.weight" in shapes for i in range(len(widths))]
    codes, width = shapes.get("quantize.embedding.weight"), shapes["encoder.conv_out.weight"][0]
    config = {
        "_class_name": "VQModel" if codes else "AutoencoderKL",
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "down_block_types": ["AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attends],
        "up_block_types": ["AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in attends[::-1]],
        "block_out_channels": widths,
        "layers_per_block": _count(shapes, "encoder.down.0.block"),
        "norm_num_groups": GROUPS,
        "act_fn": "silu",
        "latent_channels": width if codes else width // 2,
        "mid_block_add_attention": "encoder.mid.attn_1.q.weight" in shapes,
    }
    if codes:
        return {**config, "num_vq_embeddings": codes[0], "vq_embed_dim": codes[1]}
    convolved = {part: f"{part}.weight" in shapes for part in ("quant_conv", "post_quant_conv")}
    return {**config, **{f"use_{part}": there for part, there in convolved.items()}}


_ASKED = ("encoder.conv_in.weight", "encoder.conv_out.weight", "decoder.conv_out.weight")


def _count(shapes: Shapes, prefix: str) -> int:
    """How many there are of a numbered kind."""
    start = f"{prefix}."
    return len({name.removeprefix(start).partition(".")[0] for name in shapes if name.startswith(start)})
