"""Adversarial losses, R1 and the adaptive weight against formulas."""

import math

import pytest
import torch
from torch import nn

from condiff.autoencoders.adversarial import (
    adaptive_weight,
    balance,
    gradient_at,
    hinge,
    hinge_of_generator,
    r1,
    vanilla,
    vanilla_of_generator,
)
from condiff.autoencoders.discriminator import PatchDiscriminator


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


REAL, FAKE = 2 * normal(3, 1, 4, 5, seed=1), 2 * normal(3, 1, 4, 5, seed=2)


def mean(values):
    values = [*values]
    return sum(values) / len(values)


def test_hinge_is_the_formula():
    real, fake = REAL.flatten().tolist(), FAKE.flatten().tolist()
    expected = (mean(max(0, 1 - a) for a in real) + mean(max(0, 1 + a) for a in fake)) / 2
    assert float(hinge(REAL, FAKE)) == pytest.approx(expected, rel=1e-12)
    assert float(hinge_of_generator(FAKE)) == pytest.approx(-mean(fake), rel=1e-12)


def test_vanilla_is_the_cross_entropy_of_the_right_answers():
    def p(logit):
        return 1 / (1 + math.exp(-logit))

    real, fake = REAL.flatten().tolist(), FAKE.flatten().tolist()
    expected = (mean(-math.log(p(a)) for a in real) + mean(-math.log(1 - p(a)) for a in fake)) / 2
    assert float(vanilla(REAL, FAKE)) == pytest.approx(expected, rel=1e-12)
    assert float(vanilla_of_generator(FAKE)) == pytest.approx(mean(-math.log(p(a)) for a in fake), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "of_generator"), [(hinge, hinge_of_generator), (vanilla, vanilla_of_generator)]
)
def test_the_two_sides_pull_a_fakes_logit_against_each_other(loss, of_generator):
    real, fake = torch.zeros(2, 1, 1, 1).requires_grad_(), torch.zeros(2, 1, 1, 1).requires_grad_()
    on_real, on_fake = torch.autograd.grad(loss(real, fake), (real, fake))
    (pulled,) = torch.autograd.grad(of_generator(fake), fake)
    assert on_real.max() < 0 < on_fake.min()
    assert pulled.max() < 0


def test_a_fake_that_is_seen_through_still_has_a_gradient():
    fake = torch.full((1, 1, 1, 1), -50.0, requires_grad=True)
    for loss in (hinge_of_generator, vanilla_of_generator):
        assert float(torch.autograd.grad(loss(fake), fake)[0]) == pytest.approx(-1)


@pytest.mark.parametrize("loss", [hinge, vanilla])
def test_losses_of_half_precision_logits_are_sums_in_single_precision(loss):
    real, fake = REAL.bfloat16(), FAKE.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(real, fake)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(loss(real.double(), fake.double())), rel=1e-6)


class Linear(nn.Module):
    """Logits of two patches, w_k . x each."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)  # [2, C, H, W]

    def forward(self, x):
        return torch.einsum("bchw,kchw->bk", x, self.weight).view(len(x), 1, 1, 2)


def test_r1_of_a_linear_discriminator_is_half_the_square_of_its_weights():
    discriminator, images = Linear(normal(2, 3, 4, 4, seed=3)), normal(5, 3, 4, 4)
    average = discriminator.weight.detach().mean(0)
    found = r1(discriminator, images)
    assert float(found.detach()) == pytest.approx(float(average.square().sum()) / 2, rel=1e-12)
    found.backward()  # of |(w_1 + w_2) / 2|^2 / 2 by w_k: (w_1 + w_2) / 4
    torch.testing.assert_close(
        discriminator.weight.grad, (average / 2).expand(2, -1, -1, -1), rtol=1e-12, atol=0
    )


def test_r1_of_a_square_is_a_mean_over_pictures():
    class Square(nn.Module):
        def forward(self, x):
            return x.square().sum((1, 2, 3)).view(-1, 1, 1, 1)

    images = normal(5, 2, 3, 3) * torch.arange(5).view(5, 1, 1, 1)  # grad 2 x
    expected = mean(4 * float(image.square().sum()) / 2 for image in images)
    with torch.no_grad():
        assert float(r1(Square(), images)) == pytest.approx(expected, rel=1e-12)


def test_r1_is_in_single_precision_under_autocast_and_can_be_minimised():
    torch.manual_seed(0)
    discriminator, images = PatchDiscriminator(1, 16), normal(2, 1, 32, 32, dtype=torch.float32)
    plain = r1(discriminator, images)
    with torch.autocast("cpu", torch.bfloat16):
        found = r1(discriminator, images)
    assert found.equal(plain)
    found.backward()
    grads = [part.grad for part in discriminator.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads[:-1])
    assert max(float(grad.abs().max()) for grad in grads[:-1]) > 0
    assert images.grad is None


def decoder(seed=0, dtype=torch.float64):
    """A decoder's last two layers, its latents and the pictures it should give."""
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 2, 3, padding=1)).to(dtype)
    return layers, normal(4, 3, 32, 32, seed=1, dtype=dtype), normal(4, 2, 32, 32, seed=2, dtype=dtype)


def losses(layers, latents, images, discriminator):
    decoded = layers(latents)
    error = (decoded - images).abs().flatten(1).sum(1).mean()  # large, as a sum over pixels is
    return error, hinge_of_generator(discriminator(decoded))


def test_the_adaptive_weight_is_the_ratio_of_gradients_by_hand():
    layers, latents, images = decoder()
    discriminator = Linear(normal(2, 2, 32, 32, seed=3))
    weight = adaptive_weight(*losses(layers, latents, images, discriminator), layers[2].weight)

    hidden = layers[:2](latents).detach()
    decoded = layers[2](hidden).detach()
    by_decoded = [
        (decoded - images).sign() / 4,
        -discriminator.weight.detach().mean(0).expand(4, -1, -1, -1) / 4,
    ]
    patches = nn.functional.unfold(hidden, 3, padding=1)  # [B, 8 * 9, 32 * 32]
    norms = [float(torch.einsum("bop,bkp->ok", g.flatten(2), patches).norm()) for g in by_decoded]
    assert float(weight) == pytest.approx(norms[0] / (norms[1] + 1e-4), rel=1e-10)
    assert not weight.requires_grad


def test_with_the_adaptive_weight_both_losses_move_the_last_layer_alike():
    layers, latents, images = decoder()
    error, adversarial = losses(layers, latents, images, Linear(normal(2, 2, 32, 32, seed=3)))
    weight = adaptive_weight(error, adversarial, layers[2].weight)
    moved, pushed = (gradient_at(layers[2].weight, loss) for loss in (error, weight * adversarial))
    assert float(pushed.norm()) == pytest.approx(float(moved.norm()), rel=1e-3)
    (error + weight * adversarial).backward()  # the graph is still there
    torch.testing.assert_close(layers[2].weight.grad, moved + pushed, rtol=1e-10, atol=1e-12)


def test_under_autocast_the_adaptive_weight_is_that_of_single_precision_but_for_the_forward_passes():
    layers, latents, images = decoder(dtype=torch.float32)
    discriminator, last = PatchDiscriminator(2, 16), layers[2].weight
    fine = adaptive_weight(*losses(layers, latents, images, discriminator), last)
    with torch.autocast("cpu", torch.bfloat16):
        error, adversarial = losses(layers, latents, images, discriminator)
        weight = adaptive_weight(error, adversarial, last)
    first, second = (gradient_at(last, loss).double().norm() for loss in (error, adversarial))
    assert weight.dtype == torch.float32
    assert float(weight) == pytest.approx(float(first / (second + 1e-4)), rel=1e-6)
    assert float(weight) == pytest.approx(float(fine), rel=0.02)  # bfloat16 has 8 bits
    assert float(weight) != float(fine)


def test_gradients_of_a_half_precision_layer_are_measured_in_single_precision():
    last = nn.Parameter(normal(300).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        weight = adaptive_weight((last * 3).sum(), (last * normal(300, seed=1).bfloat16()).sum(), last)
    expected = 3 * 300**0.5 / (float(normal(300, seed=1).bfloat16().double().norm()) + 1e-4)
    assert weight.dtype == torch.float32
    assert float(weight) == pytest.approx(expected, rel=1e-6)  # where bfloat16 would be off by up to 1 / 256


def test_an_adversarial_loss_without_gradient_leaves_the_weight_finite():
    some, none = torch.full((4,), 3.0), torch.zeros(4)
    assert float(balance(some, none)) == 1e4
    assert float(balance(some * 1e-3, none)) == pytest.approx(60)
    assert float(balance(none, some)) == 0


def test_the_gradients_of_ranks_average_to_the_weight_of_the_global_batch():
    layers, latents, images = decoder()
    discriminator, last = Linear(normal(2, 2, 32, 32, seed=3)), layers[2].weight
    whole = adaptive_weight(*losses(layers, latents, images, discriminator), last)
    parts = []
    for part in (slice(0, 2), slice(2, 4)):
        both = losses(layers, latents[part], images[part], discriminator)
        parts.append([gradient_at(last, loss) for loss in both])
    averaged = [(first + second) / 2 for first, second in zip(*parts, strict=True)]
    assert float(balance(*averaged)) == pytest.approx(float(whole), rel=1e-10)
