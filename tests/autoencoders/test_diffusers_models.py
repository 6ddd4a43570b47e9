"""diffusers' autoencoders, built from our arguments, compute what diffusers' own classes do."""

import pytest
import torch
from choices import CONF
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.autoencoders.vq_model import VQModel

from condiff.autoencoders.codebook import AveragedCodebook, Codebook, LearnedCodebook
from condiff.autoencoders.diffusers_models import DiffusersKL, DiffusersTiny, DiffusersVQ
from condiff.autoencoders.published_weights import published, taken
from condiff.autoencoders.space import certain
from condiff.config.build import build
from condiff.config.compose import check

DOWN, UP = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"), ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")


def theirs(cls, widths, attention, **more):
    """A model of diffusers with weights at random, no bias among them zero."""
    torch.manual_seed(1)
    down, up = [DOWN[attends] for attends in attention], [UP[attends] for attends in attention[::-1]]
    model = cls(
        block_out_channels=widths, down_block_types=down, up_block_types=up, norm_num_groups=8, **more
    )
    return stirred(model)


def stirred(model):
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval().double()


def pictures(channels=3, size=32):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(2, channels, size, size, generator=rng, dtype=torch.float64) * 2 - 1


def same(ours, own):
    torch.testing.assert_close(ours, own, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(
    ("widths", "f"), [((16, 24, 32), 4), ((16, 16, 24, 32), 8), ((8, 8, 16, 16, 24), 16)]
)
@pytest.mark.parametrize("with_convolutions", [True, False])
def test_a_gaussian_one_encodes_and_decodes_as_diffusers_does(widths, f, with_convolutions):
    attention = [False] * (len(widths) - 1) + [True]
    more = {"use_quant_conv": with_convolutions, "use_post_quant_conv": with_convolutions}
    own = theirs(AutoencoderKL, widths, attention, latent_channels=5, layers_per_block=2, **more)
    ours = DiffusersKL(
        3, [*widths], attention, 5, 2, 8, quant_conv=with_convolutions, post_quant_conv=with_convolutions
    )
    ours.double().load_state_dict(taken(own.state_dict()), strict=True)
    moments, x = ours.encode(pictures()), own.encode(pictures()).latent_dist
    assert moments.shape == (2, 10, 32 // f, 32 // f)
    assert ours.downsampling == f
    same(moments, torch.cat([x.mean, x.logvar], 1))
    assert ours.decode(x.mean).shape == (2, 3, 32, 32)
    same(ours.decode(x.mean), own.decode(x.mean).sample)


@torch.no_grad()
def test_the_log_variance_is_clipped_where_diffusers_clips_it():
    own = theirs(AutoencoderKL, (8, 16), [False, False], latent_channels=2, layers_per_block=1)
    own.quant_conv.weight.mul_(1000)
    ours = DiffusersKL(3, [8, 16], [False, False], 2, 1, 8)
    ours.double().load_state_dict(own.state_dict(), strict=True)
    log_variance = ours.encode(pictures()).chunk(2, 1)[1]
    assert (log_variance.min(), log_variance.max()) == (-30, 20)
    same(log_variance, own.encode(pictures()).latent_dist.logvar)


@torch.no_grad()
@pytest.mark.parametrize("codebook", [LearnedCodebook, AveragedCodebook])
@pytest.mark.parametrize(("length", "spatial"), [(None, False), (5, False), (None, True)])
def test_one_with_codes_rounds_and_decodes_as_diffusers_does(codebook, length, spatial):
    widths = (32, 32) if spatial else (8, 16)  # the spatial norm of diffusers has 32 groups
    norm = {"norm_type": "spatial" if spatial else "group"}
    own = theirs(VQModel, widths, [False, True], num_vq_embeddings=16, vq_embed_dim=length, **norm)
    own.quantize.embedding.weight.normal_()
    ours = DiffusersVQ(
        3,
        codebook(16, length or 3),
        [*widths],
        [False, True],
        latent_channels=length or 3,
        blocks=1,
        norm_groups=8,
        inner_channels=3,
        spatial_norm=spatial,
    )
    lacking, more = ours.double().load_state_dict(taken(own.state_dict()), strict=False)
    assert (lacking, more) == (["codebook.usage"], [])
    latents = ours.encoded(pictures())
    same(latents, own.encode(pictures()).latents)
    codes = own.quantize(latents)[2][2].view(2, *latents.shape[2:])
    assert codes.unique().numel() > 1
    assert torch.equal(ours.codebook.nearest(latents), codes)
    same(ours.decode(latents), own.decode(latents).sample)


def test_codes_go_to_diffusers_and_back():
    ours = DiffusersVQ(3, AveragedCodebook(16, 3), [8, 16], [False, False], blocks=1, norm_groups=8)
    there = published(ours.state_dict())
    own = theirs(VQModel, (8, 16), [False, False], num_vq_embeddings=16)
    own.load_state_dict(there, strict=True)
    assert torch.equal(own.quantize.embedding.weight, ours.codebook.vectors)
    back = taken(own.state_dict())
    assert {*back} == {*ours.state_dict()} - {"codebook.usage"}
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in back.items())


@torch.no_grad()
def test_the_small_one_encodes_and_decodes_as_diffusers_does():
    torch.manual_seed(1)
    blocks = {"num_encoder_blocks": (1, 2, 1), "num_decoder_blocks": (2, 1, 1)}
    sizes = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (12, 12, 12)}
    own = stirred(AutoencoderTiny(**blocks, **sizes, latent_channels=4))
    ours = DiffusersTiny(3, [1, 2, 1], [2, 1, 1], 4, 8, 12)
    ours.double().load_state_dict(own.state_dict(), strict=True)
    moments, latents = ours.encode(pictures()), own.encode(pictures()).latents
    assert latents.shape == (2, 4, 32 // ours.downsampling, 32 // ours.downsampling)
    same(moments, certain(latents))
    same(ours.decode(latents), own.decode(latents).sample)


@torch.no_grad()
def test_the_small_one_sees_pixels_from_zero_to_one():
    ours, seen = DiffusersTiny(3, [1, 1], [1, 1], 4, 8, 8).double(), []
    ours.encoder.layers[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    ours.encode(pictures())
    torch.testing.assert_close(seen[0], (pictures() + 1) / 2)
    constant = ours.decoder.layers[-1]
    constant.weight.zero_()
    constant.bias.fill_(0.75)
    decoded = ours.decode(torch.zeros(1, 4, 4, 4, dtype=torch.float64))
    assert torch.equal(decoded, torch.full_like(decoded, 0.5))
    assert decoded.shape == (1, 3, 8, 8)


def test_the_last_weight_makes_the_pixels():
    kl = DiffusersKL(3, [8, 16], [False, False], norm_groups=8)
    vq = DiffusersVQ(3, LearnedCodebook(4, 3), [8, 16], [False, False], norm_groups=8)
    tiny = DiffusersTiny(3, [1, 1], [1, 1], 4, 8, 8)
    for model in (kl, vq, tiny):
        decoded = model.decode(torch.randn(1, model.latent_channels, 4, 4))
        (gradient,) = torch.autograd.grad(decoded.sum(), model.last)
        assert model.last.shape == (3, 8, 3, 3)
        assert gradient.abs().sum() > 0


def test_what_does_not_go_together_is_told():
    with pytest.raises(ValueError, match=r"DiffusersKL.attention must say .* \[8, 16\], got \[True\]"):
        DiffusersKL(3, [8, 16], [True], norm_groups=8)
    with pytest.raises(ValueError, match=r"DiffusersKL.widths must be multiples of norm_groups=8"):
        DiffusersKL(3, [12], [True], norm_groups=8)
    with pytest.raises(ValueError, match=r"DiffusersVQ.codebook.length must be latent_channels=3, got 4"):
        DiffusersVQ(3, LearnedCodebook(8, 4), [8], [False], norm_groups=8)
    with pytest.raises(ValueError, match=r"DiffusersVQ.inner_channels must be latent_channels=3 with"):
        DiffusersVQ(3, LearnedCodebook(8, 3), [32], [False], inner_channels=4, spatial_norm=True)
    with pytest.raises(ValueError, match=r"DiffusersTiny.decoder_blocks must have as many levels"):
        DiffusersTiny(3, [1, 1], [1])


# Millions of weights, from memory: of Stable Diffusion's autoencoder, which has the shape of kl-f8, and of
# vq-f4 as its program prints them. Of the others no published count is known here.
PUBLISHED = {"kl_f8": 83.7, "vq_f4": 55.3}
SHAPES = {
    "kl_f4": (3, 4),
    "kl_f8": (4, 8),
    "kl_f16": (16, 16),
    "kl_f32": (64, 32),
    "vq_f4": (3, 4),
    "vq_f8": (4, 8),
    "vq_f16": (8, 16),
}
ATTENDS = {
    "kl_f16": [16],
    "kl_f32": [16, 8],
    "vq_f8": [32],
    "vq_f16": [16],
}  # attn_resolutions, of 256 pixels


@torch.no_grad()
@pytest.mark.parametrize("name", SHAPES)
def test_the_networks_of_latent_diffusion_have_its_shapes_and_sizes(name):
    (cfg,) = check(["experiment=cfg_latent", "stages=[data]", f"autoencoder={name}"], CONF) or []
    channels, f = SHAPES[name]
    with torch.device("meta"):
        model = build(cfg["autoencoder"]["network"], "autoencoder.network", channels=3)
        assert model.encode(torch.empty(1, 3, 256, 256)).shape == (1, 2 * channels, 256 // f, 256 // f)
        assert model.decoder(torch.empty(1, channels, 8, 8)).shape == (1, 3, 8 * f, 8 * f)
    assert (model.latent_channels, model.downsampling) == (channels, f)
    assert isinstance(getattr(model, "codebook", None), Codebook) == name.startswith("vq")
    down = [256 // 2**i for i, block in enumerate(model.encoder.down_blocks) if hasattr(block, "attentions")]
    up = [
        8 * f // 2**i
        for i, block in enumerate([*model.decoder.up_blocks][::-1])
        if hasattr(block, "attentions")
    ]
    assert down == ATTENDS.get(name, [])
    assert up == [side * f // 32 for side in down]
    if name in PUBLISHED:
        assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == PUBLISHED[name]
