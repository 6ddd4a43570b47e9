"""Reconstructions and how likely they are, and the autoencoder with a Gaussian latent that trains by it."""

import math

import pytest
import torch
from safetensors.torch import load_file
from torch.distributions import Laplace

from condiff.autoencoders.compact import CompactKL
from condiff.autoencoders.space import draw
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.diffusion.randomness import Draws
from condiff.evaluation.features.perceptual import EfficientNetLite0Distance
from condiff.interrupts import Interrupted, Interrupts
from condiff.methods.autoencoder import AutoencoderKL, kl
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import LearnedReconstruction, Reconstruction
from condiff.methods.settings import Training
from condiff.stages.stage import LOG, Runtime
from condiff.stages.training import CHECKPOINTS, fit


@pytest.fixture(scope="module")
def distance():
    return EfficientNetLite0Distance(32)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 2, 8, 8, generator=generator, dtype=torch.float64) * 2 - 1
    return images + torch.randn(images.shape, generator=generator, dtype=torch.float64) / 4, images


def elbo(reconstruction=None, kl_weight=1e-6, **training):
    torch.manual_seed(0)
    settings = Training(**{"steps": 4, "batch_size": 4, **training})
    autoencoder = CompactKL(1, width=16, latent_channels=2)
    return AutoencoderKL(
        autoencoder, reconstruction or LearnedReconstruction(), AdamW(lr=1e-2), settings, 0, kl_weight
    )


def test_without_a_distance_it_is_the_likelihood_of_a_laplace_distribution(pairs):
    decoded, images = pairs
    density = Laplace(decoded, math.exp(0.3)).log_prob(images).flatten(1).sum(1)
    found = images[0].numel() * LearnedReconstruction(0.3).double()(decoded, images).detach()
    torch.testing.assert_close(found, -density - images[0].numel() * math.log(2), rtol=1e-6, atol=0)


def test_the_best_log_variance_is_the_logarithm_of_the_mean_error(pairs):
    decoded, images = pairs
    best = math.log(float((decoded - images).abs().mean()))
    reconstruction, slopes = LearnedReconstruction().double(), []
    for offset in (-0.1, 0, 0.1):
        with torch.no_grad():
            reconstruction.log_variance.fill_(best + offset)
        (slope,) = torch.autograd.grad(reconstruction(decoded, images).mean(), reconstruction.log_variance)
        slopes.append(float(slope))
    assert slopes == pytest.approx([1 - math.exp(0.1), 0, 1 - math.exp(-0.1)], abs=1e-12)


def test_the_distance_of_a_picture_counts_at_each_of_its_elements(distance):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    decoded = images.flip(0)
    plain = LearnedReconstruction(0.7)(decoded, images)
    seen = LearnedReconstruction(0.7, distance=distance, distance_weight=0.5)(decoded, images)
    expected = 0.5 * distance(decoded, images) / math.exp(0.7)
    assert expected.min() > 1e-3
    torch.testing.assert_close((seen - plain).detach(), expected, rtol=1e-4, atol=0)


def finely(x, y):
    """The distance of grey pictures, written out in float64."""
    network = EfficientNetLite0Distance(32)
    network.network.double()
    maps = (network.maps(part.double().expand(-1, 3, -1, -1)) for part in (x, y))
    units = ([part / part.norm(dim=1, keepdim=True) for part in side] for side in maps)
    return sum((a - b).square().sum(1).mean((1, 2)) for a, b in zip(*units, strict=True))


def test_gradients_of_the_distance_reach_the_reconstruction_and_no_weight_of_its_network(distance):
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(1)).double()
    decoded, reconstruction = (
        images.flip(0).requires_grad_(),
        LearnedReconstruction(0.0, 0.0, distance, 100.0),
    )
    reconstruction(decoded, images).sum().backward()
    assert decoded.grad is not None

    def value(x):
        return float(((x - images).abs().flatten(1).mean(1) + 100 * finely(x, images)).sum())

    with torch.no_grad():
        slope = (value(decoded + 1e-6 * direction) - value(decoded - 1e-6 * direction)) / 2e-6
    assert float((decoded.grad * direction).sum()) == pytest.approx(slope, rel=1e-3)  # found in float32
    assert all(part.grad is None and not part.requires_grad for part in distance.network.parameters())
    assert [*reconstruction.state_dict()] == ["log_variance"]


def test_half_precision_is_summed_in_single_precision(pairs):
    decoded, images = (part.bfloat16() for part in pairs)
    with torch.autocast("cpu", torch.bfloat16):
        found = LearnedReconstruction(0.3)(decoded, images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, LearnedReconstruction(0.3)(decoded.float(), images.float()), rtol=1e-6, atol=0
    )


def test_the_square_counts_what_it_is_asked_to(pairs):
    decoded, images = pairs
    error = (decoded - images).flatten(1)
    expected = error.abs().mean(1) + 0.7 * error.square().mean(1)
    torch.testing.assert_close(Reconstruction(0.7)(decoded, images), expected, rtol=1e-12, atol=0)


def test_the_loss_is_a_sum_over_a_picture_by_its_elements_and_a_mean_over_pictures():
    method, draws = elbo(LearnedReconstruction(0.3), kl_weight=0.5), Draws(0, 0, 4, slice(None))
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    moments = method.autoencoder.encode(images)
    decoded = method.autoencoder.decode(draw(moments, draws.normal("latent", 2, 4, 4)))
    error, divergence = (decoded - images).detach().abs(), kl(moments).detach()
    nats = [float((error[i] / math.exp(0.3) + 0.3).sum() + 0.5 * divergence[i].sum()) for i in range(4)]
    found = method.loss({"image": images}, draws)
    assert float(found["loss"].detach()) == pytest.approx(sum(nats) / 4 / images[0].numel(), rel=1e-5)
    assert float(found["kl"]) == pytest.approx(float(divergence.mean()), rel=1e-5)


def test_half_a_batch_on_each_of_two_processes_has_the_mean_loss_of_the_whole():
    method = elbo(LearnedReconstruction(0.3), kl_weight=0.5)
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def loss(part):
        return float(method.loss({"image": images[part]}, Draws(0, 0, 4, part))["loss"].detach())

    halves = [loss(slice(0, 2)), loss(slice(2, 4))]
    assert halves[0] != halves[1]
    assert sum(halves) / 2 == pytest.approx(loss(slice(0, 4)), rel=1e-6)


def test_the_optimizer_has_the_log_variance_and_everything_that_requires_a_gradient(distance):
    method = elbo(LearnedReconstruction(0.0, 0.0, distance))
    (optimizer,), _ = method.configure_optimizers()
    given = [id(part) for group in optimizer.param_groups for part in group["params"]]
    assert len(given) == len({*given})
    assert {*given} == {id(part) for part in method.parameters() if part.requires_grad}
    assert {*given} == {id(part) for part in method.trainable()}
    assert id(method.reconstruction.log_variance) in given
    method.loss({"image": torch.rand(4, 1, 32, 32)}, Draws(0, 0, 4, slice(None)))["loss"].backward()
    optimizer.step()
    log_variance = method.reconstruction.log_variance
    assert log_variance.grad is not None
    assert float(log_variance.detach()) == pytest.approx(-0.01 * float(log_variance.grad.sign()))  # lr


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    prepare(Digits(size=8), folder)
    return ShardDataset(folder, "train")


def test_a_resumed_training_ends_bit_for_bit_like_an_uninterrupted_one(digits, tmp_path):
    def run(out, interrupts, log=lambda *_: None):
        out.mkdir(exist_ok=True)
        method = elbo(steps=6, batch_size=8, clip=1.0, log_every=1)
        fit("autoencoder", method, digits, Runtime(accelerator="cpu", interrupts=interrupts, log=log), out)
        return load_file(out / "weights.safetensors"), method.reconstruction.log_variance.detach()

    whole, log_variance = run(tmp_path / "whole", Interrupts())
    stopped = Interrupts()

    def stop(_, step, __):
        stopped.pending = 15 if step == 3 else None

    with pytest.raises(Interrupted):
        run(tmp_path / "again", stopped, stop)
    assert [*(tmp_path / "again" / CHECKPOINTS).iterdir()]
    again, resumed = run(tmp_path / "again", Interrupts())
    assert resumed.equal(log_variance)
    assert float(log_variance) < -0.01
    assert whole.keys() == again.keys() == method_weights()
    assert all(value.equal(again[name]) for name, value in whole.items())
    assert (tmp_path / "again" / LOG).read_text().count('"log_variance"') == 6


def method_weights():
    return elbo().autoencoder.state_dict().keys()
