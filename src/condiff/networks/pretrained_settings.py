"""The settings of diffusers' denoisers, as a config.json has them; no torch.

A setting that is left out has the default that it has in diffusers. Those that may differ are named; every
other one that diffusers knows must be at its default, since what it asks for is given by nothing here.
"""

from collections.abc import Mapping
from typing import Any

from condiff.model_folders import Part

Settings = Mapping[str, Any]
_BOTH = {
    "in_channels": int,
    "out_channels": int,
    "flip_sin_to_cos": bool,
    "freq_shift": int,
    "down_block_types": str,
    "mid_block_type": str,
    "up_block_types": str,
    "block_out_channels": int,
    "layers_per_block": int,
    "downsample_padding": int,
    "mid_block_scale_factor": float,
    "dropout": float,
    "act_fn": str,
    "norm_num_groups": int,
    "norm_eps": float,
    "attention_head_dim": int,
    "resnet_time_scale_shift": str,
    "num_class_embeds": int,
}
# What may be set, and of which type its numbers are.
FREE: dict[str, dict[str, type]] = {
    "UNet2DConditionModel": {
        **_BOTH,
        "only_cross_attention": bool,
        "cross_attention_dim": int,
        "transformer_layers_per_block": int,
        "use_linear_projection": bool,
        "upcast_attention": bool,
        "addition_embed_type": str,
        "addition_time_embed_dim": int,
        "projection_class_embeddings_input_dim": int,
    },
    "UNet2DModel": {**_BOTH, "downsample_type": str, "upsample_type": str, "add_attention": bool},
    "SD3Transformer2DModel": {
        "sample_size": int,  # of the table of places, which is cut to a picture's
        "patch_size": int,
        "in_channels": int,
        "out_channels": int,
        "num_layers": int,
        "attention_head_dim": int,
        "num_attention_heads": int,
        "joint_attention_dim": int,
        "caption_projection_dim": int,
        "pooled_projection_dim": int,
        "pos_embed_max_size": int,
        "dual_attention_layers": int,
        "qk_norm": str,
    },
}
IGNORED = {"sample_size", "num_train_timesteps"}  # a U-Net works at any size; its schedule is a config's
# What is known and must be as it is by default.
FIXED: dict[str, dict[str, Any]] = {
    "UNet2DConditionModel": {
        "center_input_sample": False,
        "reverse_transformer_layers_per_block": None,
        "encoder_hid_dim": None,
        "encoder_hid_dim_type": None,
        "num_attention_heads": None,
        "dual_cross_attention": False,
        "class_embed_type": None,
        "resnet_skip_time_act": False,
        "resnet_out_scale_factor": 1.0,
        "time_embedding_type": "positional",
        "time_embedding_dim": None,
        "time_embedding_act_fn": None,
        "timestep_post_act": None,
        "time_cond_proj_dim": None,
        "conv_in_kernel": 3,
        "conv_out_kernel": 3,
        "attention_type": "default",
        "class_embeddings_concat": False,
        "mid_block_only_cross_attention": None,
        "cross_attention_norm": None,
        "addition_embed_type_num_heads": 64,
    },
    "UNet2DModel": {
        "center_input_sample": False,
        "time_embedding_type": "positional",
        "time_embedding_dim": None,
        "attn_norm_num_groups": None,
        "class_embed_type": None,
    },
    "SD3Transformer2DModel": {},
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "UNet2DConditionModel": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "cross_attention_dim": 1280,
    },
    "UNet2DModel": {"in_channels": 3, "out_channels": 3, "block_out_channels": [224, 448, 672, 896]},
    "SD3Transformer2DModel": {
        "in_channels": 16,
        "out_channels": 16,
        "patch_size": 2,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": 96,
    },
}
SCHEDULER = "scheduler/scheduler_config.json"  # in a pipeline: what its denoiser was trained on
PLACES = ("unet", "transformer")  # in a pipeline, of its denoiser
DENOISERS = Part(tuple(FREE), ("", *(f"{place}/" for place in PLACES)), (SCHEDULER,))
_FROM_ZERO = ("freq_shift", "downsample_padding", "dual_attention_layers")


def read_settings(config: Settings, file: str) -> tuple[str, dict[str, Any]]:
    """The class and its arguments; ValueError, beginning with the file, for what is unknown or impossible."""
    kind = config.get("_class_name")
    if kind not in FREE:
        raise ValueError(f"{file}: _class_name must be one of {', '.join(FREE)}, got {kind}")
    free, fixed, given = FREE[kind], FIXED[kind], {**config}
    for key, value in given.items():
        if key.startswith("_") or key in free or key in IGNORED:
            continue
        if key not in fixed:
            raise ValueError(
                f"{file}: {key}={value} is a setting of {kind} that is not known here, and it might answer"
                " otherwise; use a model without it"
            )
        if value != fixed[key]:
            raise ValueError(
                f"{file}: {key} must be {fixed[key]}, got {value}; no conditioner gives what that asks for"
            )
    arguments = {key: given[key] for key in free if key in given}
    for key, value in arguments.items():
        _check_type(key, value, free[key], file)
    arguments = {**_DEFAULTS[kind], **arguments}
    _check_levels(arguments, file)
    return kind, arguments


def _check_type(key: str, value: Any, kind: type, file: str) -> None:
    """Numbers, words or lists of them."""
    items = value if isinstance(value, list) else [value]
    allowed = (int, float) if kind is float else (kind,)
    empty = not items and key != "dual_attention_layers"
    if value is not None and (empty or any(type(item) not in allowed for item in items)):
        raise ValueError(f"{file}: {key} must be {kind.__name__}, or a list of such, got {value!r}")
    numbers = [item for item in items if type(item) is int]
    if kind is int and key not in _FROM_ZERO and any(n < 1 for n in numbers):
        raise ValueError(f"{file}: {key} must be >= 1, got {value}")


def _check_levels(arguments: Settings, file: str) -> None:
    widths = arguments.get("block_out_channels")
    if widths is None:
        return
    for key in ("down_block_types", "up_block_types"):
        blocks = arguments.get(key)
        if blocks is not None and (not isinstance(blocks, list) or len(blocks) != len(widths)):
            raise ValueError(
                f"{file}: {key} must have one for each of block_out_channels={widths}, got {blocks}"
            )
