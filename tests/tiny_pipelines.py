"""Stable Diffusion 2, XL and 3 of a few thousand weights, made offline, with every part of the real ones."""

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tiny_stable_diffusion import (
    LEVELS,
    UNCHECKED,
    clip_text,
    clip_tokenizer,
    ddim,
    first_stage,
    random_of,
    reopened,
)
from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel

T5_LENGTH = 256  # of SD3's pipeline, unless it is told another
_NO_QUANT = {"use_quant_conv": False, "use_post_quant_conv": False}


def saved_2(folder, seed=0):
    """As Stable Diffusion 2.1 is saved: linear projections, heads by the block, v from a DDIM scheduler.

    Its OpenCLIP comes without the last layer, so that what it gives are the states before that one.
    """
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer(folder / "bpe", pad="!")
    parts = {
        "unet": UNet2DConditionModel(
            **LEVELS,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=(2, 4),
            cross_attention_dim=24,
            use_linear_projection=True,
            upcast_attention=True,
        ),
        "vae": first_stage(scaling_factor=0.4, **_NO_QUANT),
        "text_encoder": clip_text(tokenizer, act="gelu"),
    }
    scheduler = ddim(prediction_type="v_prediction")
    pipeline = StableDiffusionPipeline(
        **random_of(parts), tokenizer=tokenizer, scheduler=scheduler, **UNCHECKED
    )
    return reopened(pipeline, folder, safety_checker=None)


def saved_xl(folder, seed=0):
    """All of it in the folder, as diffusers saves it; the pipeline as it is read from there."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer(folder / "bpe")
    parts = {
        "unet": UNet2DConditionModel(
            **LEVELS,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2),
            attention_head_dim=(2, 4),
            cross_attention_dim=24 + 16,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 12,
        ),
        "vae": first_stage(scaling_factor=0.3, **_NO_QUANT),
        "text_encoder": clip_text(tokenizer),
        "text_encoder_2": clip_text(tokenizer, CLIPTextModelWithProjection, 16, "gelu"),
    }
    pipeline = StableDiffusionXLPipeline(
        **random_of(parts),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(folder / "bpe_2", pad="!"),
        scheduler=ddim(),
    )
    return reopened(pipeline, folder)


def saved_3(folder, seed=0, t5=True):
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer(folder / "bpe")
    parts = {
        "transformer": SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=48,
            caption_projection_dim=16,
            pooled_projection_dim=12 + 12,
            pos_embed_max_size=12,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        "vae": first_stage(scaling_factor=0.4, shift_factor=0.1, **_NO_QUANT),
        "text_encoder": clip_text(tokenizer, CLIPTextModelWithProjection),
        "text_encoder_2": clip_text(tokenizer, CLIPTextModelWithProjection, 16, "gelu"),
    }
    if t5:
        config = T5Config(vocab_size=len(tokenizer), d_model=48, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        parts["text_encoder_3"] = T5EncoderModel(config)
    pipeline = StableDiffusion3Pipeline(
        **{"text_encoder_3": None, **random_of(parts)},
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(folder / "bpe_2", pad="!"),
        tokenizer_3=tokenizer if t5 else None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return reopened(pipeline, folder, **({} if t5 else {"text_encoder_3": None, "tokenizer_3": None}))
