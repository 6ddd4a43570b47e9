import pytest
import torch

from condiff.autoencoders.compact import CompactKL
from condiff.autoencoders.space import ChannelMoments, draw
from condiff.errors import ConfigError


@pytest.mark.parametrize("downsampling", [2, 4, 8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_latents_are_smaller_by_the_factor_and_come_back(downsampling, channels):
    autoencoder = CompactKL(channels, latent_channels=5, width=16, downsampling=downsampling)
    images = torch.randn(2, channels, 32, 32)
    moments = autoencoder.encode(images)
    assert moments.shape == (2, 10, 32 // downsampling, 32 // downsampling)
    assert autoencoder.decode(moments[:, :5]).shape == images.shape


@pytest.mark.parametrize(("downsampling", "width"), [(3, 16), (4, 20)])
def test_what_cannot_be_built_is_refused(downsampling, width):
    with pytest.raises(ValueError, match=r"CompactKL\."):
        CompactKL(1, width=width, downsampling=downsampling)


def test_a_drawn_latent_has_the_moments_it_was_drawn_from():
    moments = torch.cat([torch.full((1, 1, 200, 200), 3.0), torch.full((1, 1, 200, 200), 0.25).log()], dim=1)
    latent = draw(moments, torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0)))
    assert latent.mean() == pytest.approx(3.0, abs=0.01)
    assert latent.std() == pytest.approx(0.5, abs=0.01)


def test_channel_moments_are_those_of_all_batches_together():
    latents = torch.randn(40, 3, 4, 4) * torch.tensor([1.0, 5.0, 0.1])[:, None, None] + 7
    seen = ChannelMoments()
    for part in latents.split([1, 30, 9]):
        seen.add(part)
    space = seen.space()
    assert torch.allclose(space.mean.flatten(), latents.mean((0, 2, 3)), rtol=1e-5)
    assert torch.allclose(space.std.flatten(), latents.transpose(0, 1).flatten(1).std(1), rtol=1e-5)
    assert torch.allclose(space.restore(space.normalise(latents)), latents, atol=1e-4)
    assert space.normalise(latents).std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
def test_a_channel_that_never_changes_is_told_by_its_number(value):
    latents = torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 1e-3
    latents[:, 1] = value
    seen = ChannelMoments()
    for part in latents.split([1, 30, 9]):
        seen.add(part)
    with pytest.raises(
        ConfigError, match=rf"channel 1 of its latents, counted from 0, is {value:.4g} in every picture"
    ):
        seen.space()
