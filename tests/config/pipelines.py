"""The files that say what pipelines of diffusers are, of each kind; of weights there are the names."""

import json

SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
_VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [32, 32, 32, 32],
}
SD = {
    "model_index.json": {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "safety_checker": [None, None],
    },
    "unet/config.json": {"_class_name": "UNet2DConditionModel", "sample_size": 64},
    "vae/config.json": _VAE,
    "text_encoder/config.json": {"hidden_size": 768},
    "tokenizer/tokenizer_config.json": {},
    "scheduler/scheduler_config.json": SCHEDULER,
}
_SECOND = {"hidden_size": 1280, "projection_dim": 1280}
XL = {
    **SD,
    "model_index.json": {
        **SD["model_index.json"],
        "_class_name": "StableDiffusionXLPipeline",
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    },
    "unet/config.json": {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 128,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "vae/config.json": {**_VAE, "scaling_factor": 0.13025},
    "text_encoder_2/config.json": _SECOND,
}
_PROJECTED = ["transformers", "CLIPTextModelWithProjection"]
SD3 = {
    "model_index.json": {
        "_class_name": "StableDiffusion3Pipeline",
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": _PROJECTED,
        "text_encoder_2": _PROJECTED,
        "text_encoder_3": [None, None],
    },
    "transformer/config.json": {"_class_name": "SD3Transformer2DModel", "sample_size": 128},
    "vae/config.json": {**_VAE, "scaling_factor": 1.5305, "shift_factor": 0.0609},
    "text_encoder/config.json": {"hidden_size": 768, "projection_dim": 768},
    "text_encoder_2/config.json": _SECOND,
    "tokenizer/tokenizer_config.json": {},
    "scheduler/scheduler_config.json": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
}


def left(folder, files, changed="", **changes):
    """The files in a folder, some settings of one of them changed; the folder."""
    for name, settings in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**settings, **(changes if name == changed else {})}))
        part = name.partition("/")[0]
        if part in ("unet", "transformer", "vae"):
            (path.parent / "diffusion_pytorch_model.safetensors").write_bytes(b"")
        if part.startswith("text_encoder"):
            (path.parent / "model.safetensors").write_bytes(b"")
    return folder
