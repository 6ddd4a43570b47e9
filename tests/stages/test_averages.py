"""Averages of any length are made of a few of one or two lengths."""

import pytest
import torch

from condiff.averages import LONGEST, decay, exponent, overlap, place, reconstructed, shares
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.interrupts import Interrupted, Interrupts
from condiff.methods.settings import Training
from condiff.stages.stage import Runtime
from condiff.stages.training import fit
from condiff.stages.weights import RAW, load_chosen, save_weights
from tests.stages import small

STEPS = 400


def weights_of(gamma, last):
    """What each step's weights count in the average at the last one, by the recursion."""
    counts = torch.zeros(last, dtype=torch.float64)
    for step in range(1, last + 1):
        counts *= decay(gamma, step)
        counts[step - 1] += 1 - decay(gamma, step)
    return counts


@pytest.mark.parametrize("length", [0.05, 0.1, 0.2, LONGEST])
def test_an_average_is_as_long_as_it_says_and_a_power_of_time(length):
    counts, last = weights_of(exponent(length), STEPS), STEPS
    times = (torch.arange(last) + 0.5) / last
    mean = (counts * times).sum()
    assert float(counts.sum()) == pytest.approx(1)
    assert float((counts * (times - mean) ** 2).sum().sqrt()) == pytest.approx(length, rel=0.01)
    assert float(counts[-1] / counts[last // 2 - 1]) == pytest.approx(2 ** exponent(length), rel=0.03)


def test_the_published_lengths_have_the_published_exponents():
    """0.05 and 0.1 are gamma 16.97 and 6.94 (Karras 2024)."""
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01)
    assert exponent(0.10) == pytest.approx(6.94, abs=0.01)
    assert exponent(LONGEST) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"over 0 and at most 0\.2887, got 0\.3"):
        exponent(0.3)


def test_an_overlap_is_the_integral_of_both():
    last = 4000
    one, other = weights_of(2.0, last), torch.zeros(last, dtype=torch.float64)
    other[: last // 2] = weights_of(5.0, last // 2)
    assert overlap((2.0, last), (5.0, last // 2)) == pytest.approx(float((one * other).sum()), rel=0.01)
    assert overlap((300.0, 10**6), (300.0, 10)) == 0  # and no overflow


@pytest.mark.parametrize("length", [0.05, 0.06, 0.08, 0.13, 0.15])
def test_any_length_is_made_of_kept_ones(length):
    kept = [(exponent(own), STEPS * k // 16) for own in (0.05, 0.1) for k in range(1, 17)]
    found = torch.zeros(STEPS, dtype=torch.float64)
    for (gamma, step), share in zip(kept, shares(kept, (exponent(length), STEPS)), strict=True):
        found[:step] += share * weights_of(gamma, step)
    expected = weights_of(exponent(length), STEPS)
    path = torch.arange(STEPS).double().div(STEPS).sqrt()  # of a weight over its training
    assert float((found - expected).norm() / expected.norm()) < 0.02
    assert float(found @ path) == pytest.approx(float(expected @ path), rel=1e-3)


def test_one_that_was_kept_is_given_back(tmp_path):
    (tmp_path / "averages").mkdir()
    for step, value in ((50, 1.0), (100, 3.0)):
        save_weights(place(tmp_path, step, 0.1), {"w": torch.tensor([value])})
    assert float(reconstructed(tmp_path, 0.1)["w"]) == pytest.approx(3.0, rel=1e-5)


def trained(digits, out, **runtime):
    out.mkdir(exist_ok=True)
    method = small.method(8)
    method.training_settings = Training(
        8, 8, clip=1.0, ema_decay=0.9, log_every=1, averages=[0.1, 0.2], snapshots=4
    )
    fit("denoiser", method, digits, Runtime(accelerator="cpu", **runtime), out)
    return method


def test_a_training_keeps_them_also_where_it_is_interrupted(tmp_path):
    prepare(Digits(size=8), tmp_path)
    digits = ShardDataset(tmp_path, "train")
    network = trained(digits, tmp_path / "whole").trained
    interrupts = Interrupts()

    def stop(_, step, __):
        interrupts.pending = 15 if step == 5 else None

    with pytest.raises(Interrupted):
        trained(digits, tmp_path / "part", interrupts=interrupts, log=stop)
    trained(digits, tmp_path / "part")
    whole, part = (sorted((tmp_path / name / "averages").iterdir()) for name in ("whole", "part"))
    assert [file.name for file in whole] == [
        f"step={step:08d}_length={length}.safetensors" for step in (2, 4, 6, 8) for length in ("0.1", "0.2")
    ]
    assert [file.read_bytes() for file in part] == [file.read_bytes() for file in whole]

    other = small.method(8).trained
    load_chosen(other, tmp_path / "whole", None, RAW)
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), network.parameters(), strict=True))
    load_chosen(other, tmp_path / "whole", None, 0.15)
    between = [a.clone() for a in other.parameters()]
    load_chosen(other, tmp_path / "whole", None, 0.2)
    longer = [a.clone() for a in other.parameters()]
    apart = [
        sum((a - b).norm() for a, b in zip(network.parameters(), some, strict=True))
        for some in (between, longer)
    ]
    assert 0 < apart[0] < apart[1]  # the longer an average, the farther behind
