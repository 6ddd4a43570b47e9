"""A classifier of noisy images: its shapes, its probabilities, and what it learns where that is known."""

from dataclasses import replace

import pytest
import torch
from toys import gaussians, labelled

from condiff.diffusion.condition import Condition
from condiff.diffusion.guidance.classifier import gradient
from condiff.diffusion.process import CosineVP, VarianceExploding
from condiff.diffusion.randomness import Draws
from condiff.methods.noisy_classifier import NoisyClassifier
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.networks.noisy_classifier import AttentionPool, HalfUNet

SHAPE = {"channels": 2, "num_classes": 3, "size": 8, "widths": [8, 16], "attention": [False, True]}


def built(**change):
    torch.manual_seed(0)
    return HalfUNet(**{**SHAPE, **change}).eval()


def test_log_probabilities_of_all_labels_sum_to_one_and_depend_on_the_noise_level():
    net, process, x = built(), CosineVP(), torch.randn(5, 2, 8, 8)
    m, other = (process.at(torch.full((5,), t)) for t in (0.3, 0.7))
    labels = [Condition(label=torch.full((5,), k)) for k in range(3)]
    with torch.no_grad():
        p = torch.stack([net.log_probability(x, m, cond).exp() for cond in labels])
        assert torch.allclose(p.sum(0), torch.ones(5), atol=1e-6)
        assert net(x, m).shape == (5, 3)
        assert not torch.allclose(net(x, m), net(x, other))


def test_log_probabilities_are_float32_whatever_the_network_works_in():
    net, m = built().bfloat16(), CosineVP().at(torch.full((2,), 0.5)).to(torch.zeros(1).bfloat16())
    x, cond = torch.randn(2, 2, 8, 8).bfloat16(), Condition(label=torch.tensor([0, 1]))
    with torch.no_grad():
        said, logits = net.log_probability(x, m, cond), net(x, m)
    assert (said.dtype, logits.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(said, logits.float().log_softmax(1)[torch.arange(2), cond.label])


def test_a_noisy_image_is_brought_to_unit_size_first():
    net, process, x = built(), VarianceExploding(), torch.randn(2, 2, 8, 8)
    m = process.at(torch.full((2,), 40.0))
    seen = []
    net.first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        net(40 * x, m)
    assert torch.allclose(seen[0], 40 * x / (1 + 40**2) ** 0.5)


def test_its_gradient_reaches_the_image_inside_a_sampler_that_keeps_none():
    net, cond = built().requires_grad_(False), Condition(label=torch.tensor([0, 2]))
    m, x = CosineVP().at(torch.full((2,), 0.5)), torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        found = gradient(net.log_probability, x, m, cond)
        alone = gradient(net.log_probability, x[:1], CosineVP().at(torch.full((1,), 0.5)), cond[:1])
    assert found.abs().sum() > 0
    assert torch.allclose(found[:1], alone, atol=1e-6)


def test_a_pool_over_equal_places_is_its_head_of_their_value():
    torch.manual_seed(0)
    pool = AttentionPool(8, 4, 3, heads=2)
    torch.nn.init.zeros_(pool.place)
    feature = torch.randn(2, 8)
    value = torch.nn.functional.linear(
        feature, pool.attend.in_proj_weight[16:], pool.attend.in_proj_bias[16:]
    )
    expected = pool.head(pool.attend.out_proj(value))
    assert torch.allclose(pool(feature[:, :, None, None].expand(2, 8, 2, 2)), expected, atol=1e-6)


def test_it_says_what_it_lacks():
    with pytest.raises(ValueError, match="use conditioner=label"):
        built().log_probability(torch.zeros(1, 2, 8, 8), CosineVP().at(torch.tensor([0.5])), Condition())
    with pytest.raises(ValueError, match=r"HalfUNet.widths: 2 of them need a size that is a multiple of 2"):
        built(size=9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_a_smoothed_label_is_shared_out_evenly_among_all_classes(smoothing):
    net, label, logits = built(), torch.tensor([0, 2, 2, 1]), torch.tensor([1.0, -0.5, 2.0])
    torch.nn.init.zeros_(net.pool.head.weight)
    net.pool.head.bias.data = logits  # the same of every picture
    method = NoisyClassifier(net, CosineVP(), AdamW(lr=1e-3), Training(1, 4), 0, smoothing=smoothing)
    found = method.loss({"image": torch.zeros(4, 2, 8, 8), "label": label}, Draws(0, 0, 4, slice(None)))
    surprise = logits.exp().sum().log() - logits  # -log p of each class
    own, all_classes = surprise[label].mean(), surprise.mean()
    assert torch.allclose(found["loss"], (1 - smoothing) * own + smoothing * all_classes, atol=1e-6)
    assert found["accuracy"] == 0.5


def test_it_learns_the_posterior_of_two_gaussians_at_every_noise_level():
    data, process = gaussians(-1.0, 1.0, std=0.5), CosineVP()
    torch.manual_seed(0)
    net = HalfUNet(channels=1, num_classes=2, size=1, widths=[16], attention=[False], norm_groups=1)
    steps, size = 400, 256
    method = NoisyClassifier(net, process, AdamW(lr=3e-3, warmup=20, flat=0.0), Training(steps, size), 0)
    (optimizer,), (schedule,) = method.configure_optimizers()
    g = torch.Generator().manual_seed(1)
    for step in range(steps):
        label = torch.arange(size) % 2
        x0 = (data.means[label] + 0.5 * torch.randn(size, 1, 1, 1, generator=g)).float()
        loss = method.loss({"image": x0, "label": label}, Draws(0, step, size, slice(None)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule["scheduler"].step()
    line = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64).view(-1, 1, 1, 1)
    cond = replace(labelled(data, [1] * 31), null=None)
    for t in (0.2, 0.5, 0.8):
        m = process.at(torch.full((31,), t, dtype=torch.float64))
        with torch.no_grad():
            said = net.eval().log_probability(line.float(), m.to(torch.zeros(1)), cond).exp()
        off = (said - data.log_classifier(line, m, cond).exp()).abs()
        assert off.max() < 0.08, t  # another noise level would be off by 0.2 and more


def test_on_patches_it_sees_their_pixels_as_channels():
    net, x = built(size=16, patch=2), torch.randn(2, 2, 16, 16)
    assert net.first.weight.shape[1] == 8
    seen = []
    net.first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        assert net(x, CosineVP().at(torch.full((2,), 0.5))).shape == (2, 3)
    assert torch.equal(seen[0][:, 3], x[:, 0, 1::2, 1::2])
    with pytest.raises(
        ValueError, match=r"HalfUNet.widths: 2 of them on patches of 3 .* multiple of 6, got 16"
    ):
        built(size=16, patch=3)


@pytest.mark.parametrize("works_in", [torch.bfloat16, torch.float16])
def test_under_autocast_the_gradient_is_float32_and_that_of_full_precision_to_its_rounding(works_in):
    net, cond = built().requires_grad_(False), Condition(label=torch.tensor([0, 2, 1, 1]))
    m, x = CosineVP().at(torch.full((4,), 0.5)), torch.randn(4, 2, 8, 8)
    seen = []
    net.first.register_forward_hook(lambda _, __, found: seen.append(found.dtype))
    exact = gradient(net.log_probability, x, m, cond)
    with torch.no_grad(), torch.autocast("cpu", works_in):
        found, log_p = gradient(net.log_probability, x, m, cond), net.log_probability(x, m, cond)
    assert seen == [torch.float32, works_in, works_in]
    assert (found.dtype, log_p.dtype) == (torch.float32, torch.float32)
    assert 0 < (found - exact).norm() / exact.norm() < 0.05
