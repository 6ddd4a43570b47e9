"""What stands between a sampler and a picture, and what is said of a classifier."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from condiff.autoencoders.space import LatentSpace
from condiff.diffusion.process import CosineVP
from condiff.stages import classifier, samples
from condiff.stages.driver import failed
from condiff.stages.stage import Artifact, Runtime

MADE = Artifact("key", Path("nowhere"), {})


def test_latents_are_restored_before_they_are_decoded(monkeypatch):
    class Identity(nn.Module):
        def decode(self, latents):
            return latents

    space = LatentSpace(torch.tensor([5.0]), torch.tensor([2.0]))
    monkeypatch.setattr(samples, "load_autoencoder", lambda *_: Identity())
    monkeypatch.setattr(samples, "load_space", lambda *_: space)
    inputs = dict.fromkeys(("data", "autoencoder", "latents"), MADE)
    decode = samples._decoder(inputs, torch.device("cpu"))
    assert torch.equal(decode(torch.ones(1, 1, 2, 2)), torch.full((1, 1, 2, 2), 7.0))
    pixels = samples._decoder({"data": MADE}, torch.device("cpu"))
    assert torch.equal(pixels(torch.ones(1, 1, 2, 2)), torch.ones(1, 1, 2, 2))


def test_a_classifier_is_measured_from_data_to_noise(monkeypatch):
    class RightBelowHalf(nn.Module):
        """Right where less than half the way is noise, else always one class too many."""

        def forward(self, x_t, m):
            wrong = (m.angle.flatten() > 0.5).long()
            return nn.functional.one_hot((torch.arange(len(x_t)) + wrong) % 3, 3).float()

    def held_out(*_):
        yield torch.randn(6, 1, 2, 2), torch.arange(6) % 3

    monkeypatch.setattr(classifier, "_held_out", held_out)
    found = classifier._measured(RightBelowHalf(), CosineVP(), {}, Runtime(accelerator="cpu"))
    assert found["noise_left"] == pytest.approx([0.05 + 0.1 * i for i in range(10)])
    assert found["accuracy"] == [1.0] * 5 + [0.0] * 5
    assert found["n"] == 6


def test_a_bug_is_told_with_its_place_and_how_to_see_more():
    try:
        undefined_name  # noqa: B018  # pyright: ignore[reportUndefinedVariable]
    except NameError as error:
        code, line = failed(error)
    assert code == 1
    assert re.fullmatch(
        r"error\[1\]: NameError at test_samples.py:\d+: name 'undefined_name' is not defined; "
        r"runtime.debug=true shows the traceback",
        line,
    )
