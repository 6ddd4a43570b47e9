"""Small bases in float64 of every kind that adapters are made for, adapters of them, and what these do."""

from contextlib import contextmanager
from dataclasses import replace

import torch
from autoencoders.models import randomized
from diffusers import (
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from condiff.adapters.adapter import Adapter, Layer

WORDS = 12


def sd():
    """A Stable Diffusion without autoencoder: one level with attention, one without, convolutions as ends."""
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    return pipeline_of(StableDiffusionPipeline, requires_safety_checker=False, unet=unet, text_encoder=text())


def sdxl():
    """An SDXL without autoencoder: no attention at the finest level, linear ends, two texts, a size."""
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(1, 2),
        cross_attention_dim=16,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=4 * 6 + 12,
    )
    two = text(CLIPTextModelWithProjection)
    return pipeline_of(StableDiffusionXLPipeline, unet=unet, text_encoder=text(), text_encoder_2=two)


def sd3():
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=8,
        pooled_projection_dim=12,
        pos_embed_max_size=8,
    )
    encoders = {"text_encoder": text(CLIPTextModelWithProjection), "text_encoder_2": None}
    return pipeline_of(StableDiffusion3Pipeline, transformer=transformer, **encoders)


def pipeline_of(kind, requires_safety_checker=None, **parts):
    torch.manual_seed(0)
    rest = {
        StableDiffusionPipeline: ("vae", "tokenizer", "scheduler", "safety_checker", "feature_extractor"),
        StableDiffusionXLPipeline: ("vae", "tokenizer", "tokenizer_2", "scheduler"),
        StableDiffusion3Pipeline: (
            *("vae", "scheduler", "tokenizer", "tokenizer_2", "tokenizer_3", "text_encoder_3"),
        ),
    }[kind]
    options = {} if requires_safety_checker is None else {"requires_safety_checker": requires_safety_checker}
    made = {name: None if part is None else randomized(part).double().eval() for name, part in parts.items()}
    return kind(**made, **dict.fromkeys(rest), **options)


def text(kind=CLIPTextModel):
    return kind(
        CLIPTextConfig(
            vocab_size=WORDS,
            hidden_size=16,
            intermediate_size=20,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=8,
            projection_dim=12,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def parts_of(pipeline):
    names = ("unet", "transformer", "text_encoder", "text_encoder_2")
    there = {name: getattr(pipeline, name, None) for name in names}
    return {name: part for name, part in there.items() if part is not None}


def adapter_of(base, wanted=lambda name: True, rank=3, alpha=5.0, seed=1):
    """An adapter with random matrices for every layer of the base that is wanted."""
    generator = torch.Generator().manual_seed(seed)

    def layer(shape):
        kernel = shape[2:]
        down = torch.randn(rank, *shape[1:], generator=generator) / 10
        up = torch.randn(shape[0], rank, *(1 for _ in kernel), generator=generator) / 10
        return Layer(down, up, alpha)

    return Adapter({name: layer(shape) for name, shape in base.shapes.items() if wanted(name)})


def mixed(adapter):
    """The same with ranks and alphas that differ by layer."""
    layers = {}
    for place, (name, layer) in enumerate(adapter.layers.items()):
        rank, alpha = 1 + place % layer.rank, (1.0, 2.5, 4.0)[place % 3]
        layers[name] = replace(layer, down=layer.down[:rank], up=layer.up[:, :rank], alpha=alpha)
    return Adapter(layers)


def with_magnitudes(adapter):
    """The same with lengths of rows between 1 and 2."""
    layers = {
        name: replace(layer, magnitude=1 + torch.arange(len(layer.up)) / len(layer.up))
        for name, layer in adapter.layers.items()
    }
    return Adapter(layers)


def trained(network, targets, **options):
    """The network with an adapter of peft in it whose matrices are all random, as after a training."""
    network.add_adapter(LoraConfig(r=3, lora_alpha=5, target_modules=targets, **options))
    return _with_random_matrices(network)


def trained_by_peft(network, targets, **options):
    """The same in a model of peft's own."""
    return _with_random_matrices(
        get_peft_model(network, LoraConfig(r=3, lora_alpha=5, target_modules=targets, **options))
    ).eval()


def _with_random_matrices(network):
    torch.manual_seed(4)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                parameter.normal_(std=0.1)
            elif "lora_magnitude" in name:
                parameter.mul_(torch.rand_like(parameter) + 0.5)
    return network


def outputs(parts):
    """What every part makes of a fixed input."""
    generator = torch.Generator().manual_seed(3)
    x_t, tokens, pooled = (
        torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        for shape in [(4, 8, 8), (5, 16), (12,)]
    )
    sizes = torch.arange(12.0, dtype=torch.float64).reshape(2, 6)
    words = torch.tensor([[0, 5, 7, 3, 1], [0, 2, 2, 9, 1]])
    of = {
        "unet": lambda part: (
            part(x_t, 7, tokens, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}).sample
        ),
        "transformer": lambda part: part(x_t, tokens, pooled, torch.tensor([7.0, 7.0])).sample,
        "text_encoder": _read(words),
        "text_encoder_2": _read(words),
    }
    with torch.no_grad():
        return {name: of[name](part) for name, part in parts.items()}


def _read(words):
    """Of a text encoder its states and, where it has one, its projection: each counts."""

    def states(part):
        said = part(words, output_hidden_states=True)
        return torch.cat([said.hidden_states[-1].flatten(), said[0].flatten()])

    return states


def added(parts, adapter):
    """What the parts make with the adapter's matrices in their weights."""
    with with_added(parts, adapter):
        return outputs(parts)


@contextmanager
def with_added(parts, adapter):
    """The parts with the adapter's matrices in their weights, by hand (Hu 2021; Liu 2024, eq. 5)."""
    modules = {
        f"{part}.{name}": module for part, net in parts.items() for name, module in net.named_modules()
    }
    before = {name: modules[name].weight.data for name in adapter.layers}
    for name, layer in adapter.layers.items():
        rank = len(layer.down)
        delta = layer.alpha / rank * (layer.up.reshape(-1, rank) @ layer.down.reshape(rank, -1))
        weight = before[name] + delta.reshape(before[name].shape)
        if layer.magnitude is not None:
            rows = weight.flatten(1)
            weight = (rows / rows.norm(dim=1, keepdim=True) * layer.magnitude[:, None]).reshape(weight.shape)
        modules[name].weight = nn.Parameter(weight)
    yield
    for name, weight in before.items():
        modules[name].weight = nn.Parameter(weight)


def difference(some, others):
    """The largest difference, of any part, as a part of the largest number."""
    assert some.keys() == others.keys()
    return max(float((some[name] - others[name]).abs().max() / some[name].abs().max()) for name in some)
