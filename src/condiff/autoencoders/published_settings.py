"""The settings of diffusers' autoencoders, as a config.json has them; no torch.

A setting that is left out has the default that it has in diffusers. What changes nothing here is known and
left: factors of latents, which are measured from the data instead, and sizes for tiles.
"""

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]
_LEVELS = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "block_out_channels": [64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "mid_block_add_attention": True,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "AutoencoderKL": {
        **_LEVELS,
        "latent_channels": 4,
        "use_quant_conv": True,
        "use_post_quant_conv": True,
    },
    "VQModel": {
        **_LEVELS,
        "latent_channels": 3,
        "num_vq_embeddings": 256,
        "vq_embed_dim": None,
        "norm_type": "group",
    },
    "AutoencoderTiny": {
        "in_channels": 3,
        "out_channels": 3,
        "encoder_block_out_channels": [64, 64, 64, 64],
        "decoder_block_out_channels": [64, 64, 64, 64],
        "act_fn": "relu",
        "upsample_fn": "nearest",
        "latent_channels": 4,
        "upsampling_scaling_factor": 2,
        "num_encoder_blocks": [1, 3, 3, 3],
        "num_decoder_blocks": [3, 3, 3, 1],
    },
}
IGNORED = {
    "AutoencoderKL": {
        "sample_size",
        "scaling_factor",
        "shift_factor",
        "latents_mean",
        "latents_std",
        "force_upcast",
    },
    "VQModel": {"sample_size", "scaling_factor", "lookup_from_codebook", "force_upcast"},
    "AutoencoderTiny": {
        "latent_magnitude",
        "latent_shift",
        "force_upcast",
        "scaling_factor",
        "shift_factor",
        "block_out_channels",  # written by diffusers beside the two it was given
    },
}
KINDS = tuple(DEFAULTS)
_DOWN, _UP = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"), ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")
# What a setting may be, where our classes know less than diffusers'.
_ALLOWED: dict[str, dict[str, tuple[Any, ...]]] = {
    "AutoencoderKL": {"act_fn": ("silu", "swish")},
    "VQModel": {"act_fn": ("silu", "swish"), "norm_type": ("group", "spatial")},
    "AutoencoderTiny": {"act_fn": ("relu",), "upsample_fn": ("nearest",), "upsampling_scaling_factor": (2,)},
}


def read_settings(config: Settings, file: str) -> tuple[str, dict[str, Any]]:
    """The class and its settings; ValueError, beginning with the file, for what is unknown or impossible."""
    kind = config.get("_class_name")
    if kind not in KINDS:
        raise ValueError(f"{file}: _class_name must be one of {', '.join(KINDS)}, got {kind}")
    defaults = DEFAULTS[kind]
    unknown = [
        key for key in config if not key.startswith("_") and key not in defaults and key not in IGNORED[kind]
    ]
    if unknown:
        raise ValueError(
            f"{file}: {unknown[0]}={config[unknown[0]]} is a setting of {kind} that is not known here, and"
            " its pictures might be others; use a model without it"
        )
    settings = {key: config.get(key, default) for key, default in defaults.items()}
    _check_types(settings, defaults, file)
    for key, allowed in _ALLOWED[kind].items():
        if settings[key] not in allowed:
            raise ValueError(f"{file}: {key} must be {' or '.join(map(str, allowed))}, got {settings[key]}")
    _check_channels(settings, file)
    (_check_tiny if kind == "AutoencoderTiny" else _check_levels)(settings, file)
    return kind, settings


def attention(settings: Settings) -> list[bool]:
    """Which levels attend, finest first."""
    return [block == _DOWN[1] for block in settings["down_block_types"]]


def _check_types(settings: Settings, defaults: Settings, file: str) -> None:
    """Each as its default is, which of lists are not empty; a length of codes may be null."""
    for key, value in settings.items():
        default = defaults[key]
        many = isinstance(default, list)
        kind = type(default[0]) if many else int if default is None else type(default)
        items = value if many and isinstance(value, list) else [value]
        is_right = isinstance(value, list) == many and bool(items) and all(type(x) is kind for x in items)
        least = 0 if key.endswith("_blocks") else 1
        is_right = is_right and (kind is not int or all(x >= least for x in items))
        if not is_right and not (value is None and default is None):
            what = f"{kind.__name__} >= {least}" if kind is int else kind.__name__
            wanted = f"a list of {what}" if many else what
            raise ValueError(f"{file}: {key} must be {wanted}, got {value!r}")


def _check_channels(settings: Settings, file: str) -> None:
    if settings["in_channels"] != settings["out_channels"]:
        raise ValueError(
            f"{file}: out_channels must be in_channels={settings['in_channels']},"
            f" got {settings['out_channels']}"
        )


def _check_levels(settings: Settings, file: str) -> None:
    down, up, widths = (settings[k] for k in ("down_block_types", "up_block_types", "block_out_channels"))
    for key, allowed in (("down_block_types", _DOWN), ("up_block_types", _UP)):
        if len(settings[key]) != len(widths) or not {*settings[key]} <= {*allowed}:
            raise ValueError(
                f"{file}: {key} must have one of {', '.join(allowed)} for each of"
                f" block_out_channels={widths}, got {settings[key]}"
            )
    groups = settings["norm_num_groups"]
    if any(width % groups for width in widths):
        raise ValueError(f"{file}: block_out_channels must be multiples of {groups}, got {widths}")
    length = settings.get("vq_embed_dim") or settings["latent_channels"]
    if settings.get("norm_type") == "spatial" and length != settings["latent_channels"]:
        raise ValueError(
            f"{file}: vq_embed_dim must be latent_channels={settings['latent_channels']} with"
            f" norm_type=spatial, got {length}"
        )
    if [block == _DOWN[1] for block in down] != [block == _UP[1] for block in reversed(up)]:
        raise ValueError(f"{file}: up_block_types must attend where down_block_types={down} do, got {up}")


def _check_tiny(settings: Settings, file: str) -> None:
    for part in ("encoder", "decoder"):
        widths, blocks = settings[f"{part}_block_out_channels"], settings[f"num_{part}_blocks"]
        if len({*widths}) != 1 or len(widths) != len(blocks):
            raise ValueError(
                f"{file}: {part}_block_out_channels must be one number, for each of"
                f" num_{part}_blocks={blocks}, got {widths}"
            )
    if len(settings["num_encoder_blocks"]) != len(settings["num_decoder_blocks"]):
        raise ValueError(f"{file}: num_decoder_blocks must have as many levels as num_encoder_blocks")
