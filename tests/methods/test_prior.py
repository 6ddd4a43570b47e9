"""With a prior the loss is that of the subject and, weighted, that of its class: (Ruiz 2023, eq. 2)."""

import pytest
import torch
from torch import nn

from condiff.conditioners.label import ClassLabel
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.adaptation import Adaptation
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training

SUBJECT, CLASS = slice(0, None, 2), slice(1, None, 2)  # places of a batch


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, m, cond):
        return self.weight * x


def method(weight, size, accumulate=1):
    made = Adaptation(
        NetworkDenoiser(Scaled(), CosineVP(), V()),
        ClassLabel(num_classes=3, with_null=True),
        Uniform(),
        Unit(),
        AdamW(lr=1e-3),
        Training(steps=1, batch_size=size, accumulate=accumulate),
        seed=0,
        drop_condition=0.1,
    )
    made.prior_weight = weight
    return made


def batch(size, some=slice(None)):
    """Of a batch some places; pictures of the class are three times as strong, so that it shows."""
    image = torch.randn(size, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    image[CLASS] *= 3
    whole = {"image": image, "label": torch.arange(size) % 3, "place": torch.arange(size)}
    return {**{name: value[some] for name, value in whole.items()}, "step": 4}


def loss(own, size, some=slice(None)):
    part = batch(size, some)
    return own.loss(part, Draws(0, 4, size, part["place"]))


@pytest.mark.parametrize("size", [2, 8, 7])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_each_set_counts_by_the_mean_over_its_own_samples(size, weight):
    plain, found = method(None, size), loss(method(weight, size), size)
    subject, prior = (loss(plain, size, some)["loss"] for some in (SUBJECT, CLASS))
    torch.testing.assert_close(found["loss"], subject + weight * prior)
    torch.testing.assert_close(found["loss_subject"], subject)
    torch.testing.assert_close(found["loss_prior"], prior)
    assert prior > 2 * subject


def test_without_a_prior_every_sample_counts_alike():
    found, size = loss(method(None, 8), 8), 8
    subject, prior = (loss(method(None, size), size, some)["loss"] for some in (SUBJECT, CLASS))
    torch.testing.assert_close(found["loss"], (subject + prior) / 2)
    assert "loss_prior" not in found


@pytest.mark.parametrize("ends", [[3], [1, 2, 5], [6]])
def test_of_whatever_parts_a_batch_is_taken_in_loss_and_gradient_are_those_of_the_whole(ends):
    """Parts count by their number of samples, as those of ranks and of accumulation do."""
    whole, parted = method(0.5, 7), method(0.5, 7)
    wanted = loss(whole, 7)
    wanted["loss"].backward()
    parts = [slice(*pair) for pair in zip([0, *ends], [*ends, 7], strict=True)]
    for part in parts:
        (loss(parted, 7, part)["loss"] * (part.stop - part.start) / 7).backward()
    for name in ("loss", "loss_subject", "loss_prior"):
        told = sum(loss(parted, 7, part)[name] * (part.stop - part.start) / 7 for part in parts)
        torch.testing.assert_close(told, wanted[name])
    torch.testing.assert_close(parted.denoiser.network.weight.grad, whole.denoiser.network.weight.grad)


@pytest.mark.parametrize("accumulate", [2, 3, 7])
def test_accumulation_changes_neither_loss_nor_gradient(accumulate):
    found = []
    for own in (method(0.5, 7), method(0.5, 7, accumulate)):
        own.training_step(batch(7), 0).backward()
        found.append([own.scalars[name] for name in ("loss", "loss_prior")])
        found[-1].append(own.denoiser.network.weight.grad)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
