"""What an adaptation is told besides: an offset of its noise, other weights of times."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from condiff.conditioners.label import ClassLabel
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import Epsilon
from condiff.diffusion.process import ScaledLinear
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import LogitNormal, Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.adaptation import Adaptation
from condiff.methods.optimizers import AdamW, AdamW8bit
from condiff.methods.settings import Training

NUM = 2000


def made(**other):
    return Adaptation(
        NetworkDenoiser(torch.nn.Linear(1, 1), ScaledLinear(), Epsilon()),
        ClassLabel(num_classes=3, with_null=True),
        Uniform(),
        Unit(),
        AdamW(lr=1e-3),
        Training(steps=1, batch_size=NUM),
        seed=0,
        drop_condition=0.1,
        **other,
    )


def test_an_offset_of_noise_is_alike_in_all_places_of_a_channel_and_as_wide_as_it_says():
    x0, draws = torch.zeros(NUM, 4, 3, 3), Draws(0, 1, NUM, torch.arange(NUM))
    offset = made(noise_offset=0.1).noise(x0, draws) - made().noise(x0, draws)
    torch.testing.assert_close(offset, offset[..., :1, :1].expand_as(offset), atol=1e-6, rtol=0)
    assert abs(float(offset[..., 0, 0].std()) - 0.1) < 0.005
    assert abs(float(torch.corrcoef(offset[..., 0, 0].T)[0, 1])) < 0.1  # each channel has its own


def test_min_snr_weighs_the_error_of_noise_by_gamma_over_the_snr_where_that_is_below_one():
    """(Hang 2023, eq. 6 and its table for eps)"""
    m = ScaledLinear().at(torch.linspace(0.001, 1, 50, dtype=torch.float64))
    snr = (m.alpha / m.sigma).square().flatten()
    weights = made(min_snr=5.0).weight(m, Epsilon())
    torch.testing.assert_close(weights, (5 / snr).clamp(max=1))
    assert (made().weight(m, Epsilon()) == 1).all()


def test_times_of_its_own_take_the_place_of_the_objective_s():
    own = LogitNormal(1.5, 2.0)
    assert made(own_times=own).times is own
    assert isinstance(made().times, Uniform)


def test_text_encoders_are_trained_at_a_rate_of_their_own():
    own, text = made(), torch.nn.ModuleDict({"text_encoder": torch.nn.Linear(1, 1)})
    own.train_text(text, 0.05, leaves_some=False)
    (optimizer,), _ = own.configure_optimizers()
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    wanted = {id(p): 1e-3 for p in own.denoiser.network.parameters()}
    wanted |= {id(p): 5e-5 for p in text.parameters()}
    assert found == pytest.approx(wanted)
    assert {id(p) for p in own.trainable()} == {*wanted}


def test_an_encoder_has_a_rate_of_its_own_by_its_name_and_the_last_name_counts():
    one, two = (torch.nn.Sequential(torch.nn.Linear(1, 1)) for _ in range(2))
    own = made()
    own.train_text(torch.nn.ModuleDict({"text_encoder": one, "text_encoder_2": two}), 0.05, leaves_some=False)
    own.factors = {"text_encoder_2.*": 0.1}
    assert own.rates() == {
        **{id(p): 0.05 for p in one.parameters()},
        **{id(p): 0.1 for p in two.parameters()},
    }
    own.factors = {"*": 0.5, "text_encoder.*": 0.2}
    assert own.rates() == {id(p): 0.2 if p in {*one.parameters()} else 0.5 for p in own.trainable()}


def test_moments_in_eight_bits_are_of_the_same_groups_and_need_their_package(monkeypatch):
    asked = {}

    class Recorded(torch.optim.AdamW):
        def __init__(self, groups, lr, **other):
            asked.update(other, groups=[{**group} for group in groups])
            super().__init__(groups, lr, **other)

    weight, other = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    own = AdamW8bit(lr=1e-3, beta1=0.8, beta2=0.9, weight_decay=0.2)
    optim = SimpleNamespace(optim=SimpleNamespace(AdamW8bit=Recorded))
    monkeypatch.setitem(sys.modules, "bitsandbytes", optim)
    own([weight, other], 10, rates={id(other): 0.5})
    assert asked["betas"] == (0.8, 0.9)
    assert [group["lr"] for group in asked["groups"]] == [1e-3, 5e-4]
    assert {group["weight_decay"] for group in asked["groups"]} == {0.2}
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ValueError, match=r"needs the package bitsandbytes; pip install .*\[eight_bit\]"):
        own([weight], 10)


class Heard(ClassLabel):
    """Remembers the captions that it is told, and whether what was known of others held then."""

    def __init__(self):
        super().__init__(num_classes=3, with_null=True)
        self.told, self.new = [], False

    @contextmanager
    def anew(self):
        self.new = True
        yield
        self.new = False

    def __call__(self, batch):
        self.told.append((self.new, batch["text"]))
        return super().__call__(batch)


def test_captions_are_heard_in_an_order_of_the_step_and_anew_where_they_are_shuffled():
    own, texts = Heard(), ["dog, a, b, c", "cat, d, e"]
    for after in (None, 1):
        made_of = made(shuffle_after=after)
        made_of.conditioner = own
        for step in range(6):
            place = torch.arange(2)
            made_of.condition({"label": place, "text": texts, "place": place}, Draws(0, step, NUM, place))
    kept, anew = own.told[:6], own.told[6:]
    assert kept == [(False, texts)] * 6
    assert all(new for new, _ in anew)
    assert len({tuple(told) for _, told in anew}) > 3
    assert all(told[0].startswith("dog, ") and len(told[0]) == len(texts[0]) for _, told in anew)
