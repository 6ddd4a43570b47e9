"""What stands between a sampler and a picture, and what is said of a classifier."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from condiff.autoencoders.space import LatentSpace
from condiff.conditioners.label import ClassLabel
from condiff.conditioners.label_and_picture import LabelAndPicture
from condiff.data.edits import Edits
from condiff.data.prepare import prepare
from condiff.diffusion.process import CosineVP
from condiff.errors import told
from condiff.stages import classifier, samples
from condiff.stages.asked import asked
from condiff.stages.known import STAGES
from condiff.stages.latents import encoded_source
from condiff.stages.stage import Artifact, Runtime

MADE = Artifact("key", Path("nowhere"), {})


@pytest.mark.parametrize(
    ("name", "plain", "asked_for"),
    [("class_text", None, "a dog"), ("sample_precision", "32-true", "bf16-mixed")],
)
def test_what_is_not_asked_for_is_in_no_key(name, plain, asked_for):
    (stage,) = [stage for stage in STAGES if stage.name == "samples"]
    cfg = {**dict.fromkeys((*stage.reads, "adapter")), name: plain}
    assert name not in stage.identity(cfg, {}, None)["config"]
    assert stage.identity({**cfg, name: asked_for}, {}, None)["config"][name] == asked_for


def test_latents_are_restored_before_they_are_decoded(monkeypatch):
    class Identity(nn.Module):
        downsampling = 1

        def decode(self, latents):
            return latents

    space = LatentSpace(torch.tensor([5.0]), torch.tensor([2.0]))
    monkeypatch.setattr(samples, "load_autoencoder", lambda *_: Identity())
    monkeypatch.setattr(samples, "load_space", lambda *_: space)
    inputs = dict.fromkeys(("data", "autoencoder", "latents"), MADE)
    _, decode, _ = samples._coder(inputs, torch.device("cpu"))
    assert torch.equal(decode(torch.ones(1, 1, 2, 2)), torch.full((1, 1, 2, 2), 7.0))
    _, pixels, _ = samples._coder({"data": MADE}, torch.device("cpu"))
    assert torch.equal(pixels(torch.ones(1, 1, 2, 2)), torch.ones(1, 1, 2, 2))


def test_a_picture_to_edit_is_the_mode_of_its_latent_neither_drawn_nor_normalised(monkeypatch):
    class Wide(nn.Module):
        downsampling = 1

        def encode(self, images):
            return torch.cat([3 * images, torch.full_like(images, 4.0)], dim=1)

    source, space = torch.rand(2, 1, 2, 2), LatentSpace(torch.tensor([5.0]), torch.tensor([2.0]))
    monkeypatch.setattr(samples, "load_autoencoder", lambda *_: Wide())
    monkeypatch.setattr(samples, "load_space", lambda *_: space)
    inputs = dict.fromkeys(("data", "autoencoder", "latents"), MADE)
    encode, _, _ = samples._coder(inputs, torch.device("cpu"))
    assert torch.equal(encode(source), 3 * source)
    assert torch.equal(encoded_source(Wide(), source), 3 * source)


def test_samples_of_pictures_are_asked_of_the_held_out_ones_in_turn(tmp_path):
    edits = Edits(size=28, held_out_per_class=1)
    prepare(edits, tmp_path)
    data, nothing = Artifact("data", tmp_path, {}), {"text": None, "label": None}
    conditioner = LabelAndPicture(num_classes=6, with_null=True)
    found = asked({"num_samples": 25, **nothing}, data, conditioner)
    examples = list(edits.examples("held_out"))
    assert found["label"].tolist() == [examples[i % 20].label for i in range(25)]
    for name in ("source", "target"):
        assert torch.equal(found[name][20:], found[name][:5])
    assert torch.equal(found["target"][found["label"] == 0], found["source"][found["label"] == 0])
    conditioner = ClassLabel(num_classes=6, with_null=True)
    plain = asked({"num_samples": 12, **nothing}, data, conditioner)
    assert plain["label"].tolist() == [*range(6)] * 2
    some = asked({"num_samples": 5, **nothing, "label": [4, 2]}, data, conditioner)
    assert some["label"].tolist() == [4, 2, 4, 2, 4]


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
        code, line = told(error)
    assert code == 1
    assert re.fullmatch(
        r"error\[1\]: NameError at test_samples.py:\d+: name 'undefined_name' is not defined; "
        r"runtime.debug=true shows the traceback",
        line,
    )
