"""What a network is told of texts that are not asked for, in training and in sampling, and how often."""

from functools import partial
from itertools import islice

import pytest
import torch
from torch import nn

from condiff.conditioners.encoders import MiniLM
from condiff.conditioners.label import ClassLabel
from condiff.conditioners.several import Several
from condiff.conditioners.text import Text
from condiff.data.batches import Batches
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import ClassifierFree, Models
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.randomness import Draws
from condiff.diffusion.samplers import DDIM
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.diffusion import Diffusion
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from tests.conditioners.test_text import Spelt

TEXTS = ["a red circle", "a blue cross", "green", "a small yellow diamond"]
SHARE, BATCH, STEPS = 0.2, 50, 40


class Told(nn.Module):
    """A network that remembers what it was told."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x, m, cond):
        self.cond = cond
        return self.weight * x


def text():
    return Text(Spelt(), num_classes=3, with_null=True, whitened=2)


def minilm():
    """With the weights of its package."""
    return Text(MiniLM(length=12), num_classes=3, with_null=True, whitened=2)


def label_and_text(dropout="joint"):
    parts = {"label": ClassLabel, "text": partial(Text, encoder=Spelt(), whitened=2)}
    return Several(parts, num_classes=3, with_null=True, dropout=dropout)


def diffusion(conditioner, drop):
    denoiser = NetworkDenoiser(Told(), CosineVP(), V())
    training = Training(steps=STEPS, batch_size=BATCH)
    return Diffusion(denoiser, conditioner, Uniform(), Unit(), AdamW(lr=1e-3), training, 0, drop)


def batch(indices, step=0):
    places = torch.arange(len(indices))
    return {
        "image": torch.zeros(len(indices), 1, 2, 2),
        "label": torch.tensor(indices) % 3,
        "text": [TEXTS[index % len(TEXTS)] for index in indices],
        "step": step,
        "place": places,
    }


@pytest.mark.parametrize("make", [text, label_and_text, minilm])
def test_it_is_the_same_to_the_last_bit_in_training_and_in_sampling_from_what_was_saved(make, tmp_path):
    texts, model = tmp_path / "texts", tmp_path / "model"
    texts.mkdir()
    model.mkdir()
    trained = make()
    trained.encode(TEXTS, [], texts, "cpu")
    trained.leave(model)
    method = diffusion(trained, 1 - 1e-12)
    method.loss(batch([0, 1, 2, 3]), Draws(0, 0, 4, slice(None)))
    without = method.denoiser.network.cond
    drawn = make()  # in another program, of which nothing is known but what lies beside the weights
    drawn.heed(model)
    DDIM(1)(ClassifierFree(2.0)(Models(method.denoiser)), torch.zeros(4, 1, 2, 2), drawn(batch([0, 1, 2, 3])))
    told = method.denoiser.network.cond
    fields = ["tokens", "token_mask", "pooled", *(["label"] if make is label_and_text else [])]
    for name in fields:
        asked, free = getattr(told, name).chunk(2)
        assert torch.equal(free, getattr(without, name)), name
        assert not torch.equal(asked, free), name


ALONE = {"joint": (SHARE, SHARE), "independent": (SHARE, SHARE**2), "exclusive": (2 * SHARE, SHARE)}


@pytest.mark.parametrize("dropout", ALONE)
def test_over_an_epoch_each_part_and_all_are_left_out_as_often_as_declared_and_logged(dropout, tmp_path):
    conditioner, num = label_and_text(dropout), BATCH * STEPS
    conditioner.encode(TEXTS, [], tmp_path, "cpu")
    method, seen, rows, logged = diffusion(conditioner, SHARE), [], [], []
    null = conditioner(batch([0])).without()
    for step, chunk in enumerate(islice(Batches([[num]], BATCH, seed=3), STEPS)):
        indices = [index for _, _, index in chunk]
        told = method.loss(batch(indices, step), Draws(0, step, BATCH, slice(None)))
        cond = method.denoiser.network.cond
        lacks = {"label": cond.label == 3, "text": (cond.tokens == null.tokens).all(-1).all(-1)}
        seen += indices
        rows.append(torch.stack([lacks["label"], lacks["text"]]))
        logged.append([float(told[f"dropped_{name}"]) for name in lacks])
    assert sorted(seen) == [*range(num)]  # an epoch, each example once
    found = torch.cat(rows, 1).float()
    each, every = ALONE[dropout]
    spread = 4 * (0.25 / num) ** 0.5
    assert found.mean(1).tolist() == pytest.approx([each, each], abs=spread)
    assert float(found.prod(0).mean()) == pytest.approx(every, abs=spread)
    assert torch.tensor(logged).mean(0).tolist() == pytest.approx(found.mean(1).tolist(), abs=1e-6)
