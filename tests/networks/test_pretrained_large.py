"""The networks of Stable Diffusion XL and 3: what they are told, their real sizes, and what does not fit."""

import json

import pytest
import torch
from tiny_pipelines import saved_xl

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import ScaledLinear
from condiff.networks.pretrained import Pretrained
from condiff.networks.pretrained_sd3 import PretrainedSD3
from condiff.networks.pretrained_xl import PretrainedXL

RNG = torch.Generator().manual_seed(0)
X, TOKENS, POOLED = (torch.randn(2, *shape, generator=RNG) for shape in ((4, 8, 8), (5, 40), (12,)))
FRAMING = torch.tensor([[48.0, 40.0, 3.0, 0.0, 32.0, 32.0], [32.0, 32.0, 0.0, 0.0, 32.0, 32.0]])
XL = {
    "_class_name": "UNet2DConditionModel",
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
}
SD3 = {
    "_class_name": "SD3Transformer2DModel",
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
    "sample_size": 128,
}
SHAPE = {"num_labels": 0, "size": 128}


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xl")
    pipeline = saved_xl(folder)
    own = PretrainedXL(4, 0, 8, str(folder), text_width=40, pooled_width=12, pixels=4)
    own.fill("network")
    return pipeline.unet, own.eval(), folder


@torch.no_grad()
def test_the_u_net_hears_how_pictures_were_cut_and_else_takes_them_for_whole_ones(xl):
    theirs, own, _ = xl
    m = ScaledLinear().at(torch.tensor([0.3, 0.7])).to(X)
    told = {"tokens": TOKENS, "pooled": POOLED}

    def wanted(ids):
        more = {"text_embeds": POOLED, "time_ids": ids}
        return theirs(X, torch.tensor([299.0, 699.0]), TOKENS, added_cond_kwargs=more).sample

    framed = own(X, m, Condition(**told, framing=FRAMING))
    torch.testing.assert_close(framed, wanted(FRAMING))
    torch.testing.assert_close(own(X, m, Condition(**told)), wanted(FRAMING[[1, 1]]))
    assert (framed - wanted(FRAMING[[1, 1]])).abs().max() > 1e-4


def test_what_does_not_fit_the_network_is_one_line(xl):
    _, _, folder = xl
    for make, said in (
        (lambda: Pretrained(4, 0, 8, str(folder)), "addition_embed_type must be None, got text_time; SDXL"),
        (lambda: PretrainedXL(4, 0, 8, str(folder), pooled_width=9), "hears a pooled text of 12 numbers"),
        (lambda: PretrainedSD3(4, 0, 8, str(folder)), "_class_name must be one of SD3Transformer2DModel"),
    ):
        with pytest.raises(ValueError, match=said):
            make()


@pytest.mark.parametrize(
    ("config", "make", "channels", "widths", "count"),
    [
        (XL, PretrainedXL, 4, (2048, 1280), 2_567_463_684),
        (SD3, PretrainedSD3, 16, (4096, 2048), 2_028_328_000),
    ],
)
def test_published_shapes_have_as_many_parameters_as_published(
    config, make, channels, widths, count, tmp_path
):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    text, pooled = widths
    with torch.device("meta"):
        own = make(channels, **SHAPE, weights=str(tmp_path), text_width=text, pooled_width=pooled)
    assert sum(weight.numel() for weight in own.parameters()) == count
