"""The normalisation of latents as part of an AutoencoderKL of diffusers."""

import pytest
import torch
from autoencoders.models import randomized
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from condiff.autoencoders.diffusers_models import DiffusersKL
from condiff.autoencoders.exported import exported
from condiff.autoencoders.space import LatentSpace, mode

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
SPACE = LatentSpace(torch.tensor([0.3, -2.0, 5.0, 0.0]), torch.tensor([0.5, 3.0, 0.01, 1.0])).double()


@pytest.mark.parametrize("quant", [False, True])
@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("attention", [[False, False], [True, False]])
@torch.no_grad()
def test_latents_of_factor_one_are_the_normalised_ones(quant, post, attention):
    torch.manual_seed(0)
    shape = {"widths": [8, 16], "attention": attention, "norm_groups": 8, "blocks": 1}
    own = randomized(DiffusersKL(3, **shape, quant_conv=quant, post_quant_conv=post)).double().eval()
    config, state = exported(own, SPACE)
    theirs = AutoencoderKL.from_config(config).double().eval()
    theirs.load_state_dict(state, strict=True)
    assert theirs.config.scaling_factor == 1.0
    assert theirs.config.shift_factor is None
    mean, log_variance = own.encode(IMAGES).chunk(2, 1)
    found, close = theirs.encode(IMAGES).latent_dist, {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(found.mean, SPACE.normalise(mean), **close)
    torch.testing.assert_close(found.std, (log_variance / 2).exp() / SPACE.std, **close)
    latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(theirs.decode(latents).sample, own.decode(SPACE.restore(latents)), **close)
    again = theirs.decode(found.mean).sample
    torch.testing.assert_close(again, own.decode(mode(own.encode(IMAGES))), **close)
