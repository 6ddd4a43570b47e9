"""A Stable Diffusion of a few thousand weights, made offline: every part that the real one has."""

import torch
from autoencoders.models import randomized
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers import DDIMScheduler
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 32  # tokens of a text
SCALE = 0.4
WORDS = ["the quick brown fox jumps over a lazy dog", "a red circle on white", "blurry", "two small things"]


# What the U-Nets of all kinds have in common.
LEVELS = {"sample_size": 8, "block_out_channels": (16, 32), "norm_num_groups": 8, "layers_per_block": 1}
UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def saved(folder, seed=0):
    """All of it in the folder, as diffusers saves it; the pipeline as it is read from there."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer(folder / "bpe")
    parts = {
        "unet": UNet2DConditionModel(
            **LEVELS,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=24,
            attention_head_dim=2,
        ),
        "vae": first_stage(scaling_factor=SCALE),
        "text_encoder": clip_text(tokenizer),
    }
    pipeline = StableDiffusionPipeline(**random_of(parts), tokenizer=tokenizer, scheduler=ddim(), **UNCHECKED)
    return reopened(pipeline, folder, safety_checker=None)


def opened(folder):
    return quiet(StableDiffusionPipeline.from_pretrained(folder, safety_checker=None))


def reopened(pipeline, folder, **without):
    pipeline.save_pretrained(folder)
    return quiet(type(pipeline).from_pretrained(folder, **without))


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def random_of(parts):
    return {name: randomized(part).eval() for name, part in parts.items()}


def ddim(**said) -> DDIMScheduler:
    """With the betas of Stable Diffusion."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        clip_sample=False,
        **said,
    )


def first_stage(**said) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        **said,
    )


def clip_text(tokenizer, kind=CLIPTextModel, width=24, act="quick_gelu"):
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=12,
        hidden_act=act,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return kind(config)


def clip_tokenizer(folder, pad=END) -> CLIPTokenizer:
    """Byte pairs learned from a few words, with CLIP's ends."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    bpe.normalizer, bpe.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=120, end_of_word_suffix="</w>", special_tokens=[START, END, "!"])
    bpe.train_from_iterator(WORDS, trainer)
    folder.mkdir(parents=True)
    bpe.model.save(str(folder))
    return CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        model_max_length=LENGTH,
        bos_token=START,
        eos_token=END,
        pad_token=pad,
        unk_token=END,
    )
