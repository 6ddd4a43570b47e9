"""An autoencoder with a codebook: what diffusion is given, and what becomes of what it draws."""

import pytest
import torch

from condiff.autoencoders.codebook import LearnedCodebook
from condiff.autoencoders.compact import CompactVQ
from condiff.autoencoders.space import draw, is_certain, mode


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return CompactVQ(2, LearnedCodebook(8, 3), latent_channels=3, width=16)


@pytest.fixture
def images():
    return torch.rand(4, 2, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_its_moments_have_no_variance_and_are_those_before_rounding(autoencoder, images):
    moments = autoencoder.encode(images)
    latents = autoencoder.encoded(images)
    assert moments.shape == (4, 6, 4, 4)
    assert is_certain(moments)
    assert moments.isfinite().all()
    for noise in (torch.zeros_like(latents), torch.full_like(latents, 1e30)):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            given = moments.to(dtype)
            assert torch.equal(draw(given, noise.to(torch.float32)), given[:, :3].float())
    assert torch.equal(mode(moments), latents)
    assert not torch.equal(autoencoder.codebook.lookup(autoencoder.codebook.nearest(latents)), latents)


def test_what_is_drawn_near_a_code_is_decoded_as_the_code(autoencoder):
    with torch.no_grad():
        autoencoder.codebook.vectors.copy_(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)))
    codes = torch.arange(32).reshape(2, 4, 4) % 8
    exact = autoencoder.codebook.lookup(codes)
    near = exact + 1e-3 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(autoencoder.decode(near), autoencoder.decoded(exact))
    assert not torch.equal(autoencoder.decoded(near), autoencoder.decoded(exact))


def test_a_codebook_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"CompactVQ.codebook.length must be latent_channels=4, got 3"):
        CompactVQ(1, LearnedCodebook(8, 3))


def test_the_last_weight_is_that_of_the_convolution_before_the_pixels(autoencoder):
    assert autoencoder.last.shape == (4 * 2, 16 // 2, 3, 3)
    assert any(autoencoder.last is p for p in autoencoder.decoder.parameters())
