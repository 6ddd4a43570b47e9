"""A training is a function of its config and seed: interruptions and neighbours change nothing."""

import json

import pytest
import torch
from lightning import Callback
from PIL import Image
from safetensors.torch import load_file

from condiff.callbacks.checkpoint import Checkpoints
from condiff.callbacks.steps import OF_THE_MACHINE
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.diffusion.importance import SecondMoment
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages import training
from condiff.stages.stage import LOG, Runtime
from condiff.stages.training import Drawing, fit
from condiff.stages.weights import load_weights
from tests.stages import small

STEPS = 12


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    prepare(Digits(size=8), folder)
    return ShardDataset(folder, "train")


def method(seed=0, log_every=1, times=None):
    # dropout draws globally
    return small.method(STEPS, seed=seed, dropout=0.1, log_every=log_every, times=times)


def trained(digits, out, log_every=1, drawing=None, times=None, **runtime):
    out.mkdir(exist_ok=True)
    place = Runtime(accelerator="cpu", **runtime)
    fit("denoiser", method(0, log_every, times), digits, place, out, drawing=drawing)
    return load_file(out / "weights.safetensors"), load_file(out / "ema.safetensors"), (out / LOG).read_text()


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    return trained(digits, tmp_path_factory.mktemp("runs") / "whole")


def same(one, other):
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])
    assert rows(one[2]) == rows(other[2])


def rows(log):
    """What was logged, but for what depends on the machine."""
    found = [json.loads(line) for line in log.splitlines()]
    assert all(row[name] > 0 for row in found for name in OF_THE_MACHINE)
    return [{name: value for name, value in row.items() if name not in OF_THE_MACHINE} for row in found]


def test_the_average_and_the_last_weights_are_two_things(whole):
    assert any(not torch.equal(whole[0][name], whole[1][name]) for name in whole[0])


def test_interrupted_twice_it_ends_bit_for_bit_the_same_and_logs_each_step_once(digits, whole, tmp_path):
    for stop in (3, 8):
        interrupts = Interrupts()

        def log(_, step, __, stop=stop, interrupts=interrupts):
            interrupts.pending = 15 if step == stop else None

        with pytest.raises(Interrupted):
            trained(digits, tmp_path / "run", interrupts=interrupts, log=log)
    same(trained(digits, tmp_path / "run"), whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))


def test_times_that_are_learned_go_on_where_they_were(digits, whole, tmp_path):
    """Interrupted once before and once after the losses are enough to choose by."""

    def times():
        return SecondMoment(bins=4, memory=8)  # of 8 samples a step: four steps are uniform

    once, chosen = times(), []
    uninterrupted = trained(
        digits, tmp_path / "whole", times=once, log=lambda *_: chosen.append(once.balance is not None)
    )
    assert chosen == [False] * 4 + [True] * 8
    assert rows(uninterrupted[2])[:4] == rows(whole[2])[:4]
    assert rows(uninterrupted[2])[5]["loss"] != rows(whole[2])[5]["loss"]
    for stop in (3, 8):
        interrupts = Interrupts()

        def log(_, step, __, stop=stop, interrupts=interrupts):
            interrupts.pending = 15 if step == stop else None

        with pytest.raises(Interrupted):
            trained(digits, tmp_path / "run", times=times(), interrupts=interrupts, log=log)
    same(trained(digits, tmp_path / "run", times=times()), uninterrupted)


def test_a_row_about_many_steps_is_the_same_where_they_were_interrupted(digits, tmp_path):
    """The losses by noise level are means over the steps since the last row, whatever happened between."""
    uninterrupted = trained(digits, tmp_path / "whole", log_every=5)
    interrupts, taken = Interrupts(), []

    def stop(_, step, __):
        taken.append(step)
        interrupts.pending = 15 if step == 8 else None

    drawing = Drawing(lambda _: Image.new("L", (1, 1)), "", 8)
    with pytest.raises(Interrupted):
        trained(digits, tmp_path / "run", 5, drawing, interrupts=interrupts, shown=stop)
    assert taken == [8]
    again = trained(digits, tmp_path / "run", log_every=5)
    assert rows(again[2]) == rows(uninterrupted[2])
    assert [row["step"] for row in rows(again[2])] == [5, 10, 12]
    assert any("loss_noise_40_60" in row for row in rows(again[2]))


def test_what_is_drawn_while_it_trains_changes_nothing_and_lies_beside_it(digits, whole, tmp_path):
    shown = []

    def look(network):
        torch.manual_seed(7)
        torch.randn(3)
        level = int(255 * next(network.parameters()).abs().mean().clamp(0, 1))
        return Image.new("L", (4, 4), level)

    def tell(*told):
        shown.append(told)

    same(trained(digits, tmp_path / "run", drawing=Drawing(look, "words", None), shown=tell), whole)
    files = sorted((tmp_path / "run" / "pictures").glob("*.png"))
    assert [file.name for file in files] == [f"step={step:08d}.png" for step in (3, 6, 9, 12)]
    assert shown == [("denoiser", step, file) for step, file in zip((3, 6, 9, 12), files, strict=True)]
    assert json.loads((tmp_path / "run" / "pictures" / "caption.json").read_text()) == "words"


def test_pictures_are_as_often_as_is_asked():
    assert Drawing(print, "", None).every(1100) == 275
    assert Drawing(print, "", None).every(3) == 1
    assert Drawing(print, "", 50).every(1100) == 50


def test_a_training_tells_when_it_begins_and_of_what_it_consists(digits, tmp_path):
    told = []
    trained(
        digits,
        tmp_path / "run",
        began=lambda *words: told.append(words),
        log=lambda stage, step, _: told.append((stage, step)),
        ended=lambda *words: told.append(words),
    )
    (stage, model), *steps, last = told
    assert (stage, last) == ("denoiser", ("denoiser",))
    assert steps == [("denoiser", step) for step in range(1, STEPS + 1)]
    assert model == json.loads((tmp_path / "run" / "model.json").read_text())
    assert model["trainable"] == sum(p.numel() for p in method().trainable())
    assert sum(model["blocks"].values()) == model["parameters"]


def test_checkpointing_at_every_step_changes_nothing(digits, whole, tmp_path):
    same(trained(digits, tmp_path / "run", checkpoint_seconds=1e-9), whole)


def test_sampling_or_measuring_in_between_changes_nothing(digits, whole, tmp_path, monkeypatch):
    class Disturb(Checkpoints, Callback):
        def on_train_batch_end(self, *args):
            torch.randn(7)
            torch.manual_seed(123)

    monkeypatch.setattr(training, "Checkpoints", Disturb)
    same(trained(digits, tmp_path / "run"), whole)


@pytest.mark.parametrize("num", [3, 100])
def test_a_batch_in_parts_is_the_batch_as_a_whole(digits, tmp_path, num):
    """One by one where there are more parts than pictures; each picture still draws what is its own."""
    logs = []
    for parts in (1, min(num, 8)):
        out = tmp_path / str(parts)
        out.mkdir()
        rows_of = small.method(6, log_every=2, accumulate=parts)
        fit("denoiser", rows_of, digits, Runtime(accelerator="cpu"), out)
        logs.append(rows((out / LOG).read_text()))
    assert len(logs[0]) == len(logs[1]) == 3
    for one, two in zip(*logs, strict=True):
        assert one.pop("stage") == two.pop("stage")
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)


def test_another_seed_is_another_training(digits, whole, tmp_path):
    fit("denoiser", method(seed=1), digits, Runtime(accelerator="cpu"), tmp_path)
    other = load_file(tmp_path / "weights.safetensors")
    assert any(not torch.equal(other[name], whole[0][name]) for name in other)


def test_loading_takes_the_average_and_every_key(digits, whole, tmp_path):
    trained(digits, tmp_path / "run")
    net = method(seed=5).trained
    load_weights(net, tmp_path / "run")
    assert all(torch.equal(value, whole[1][name]) for name, value in net.state_dict().items())


def test_gradients_do_not_add_up_over_steps_where_there_is_one_picture_for_a_part(digits, tmp_path):
    """A rank may have fewer pictures than parts were asked for; what a step has left is gone by the next."""
    norms = []
    for parts in (1, 3):
        out = tmp_path / str(parts)
        out.mkdir()
        method = small.method(6, batch_size=3, accumulate=parts)
        method.parts = _OfSeveral(parts)
        fit("denoiser", method, digits, Runtime(accelerator="cpu"), out)
        norms.append([row["grad_norm"] for row in rows((out / LOG).read_text())])
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


class _OfSeveral:
    """As a rank sees it that shares a batch with others, though it has all of it here."""

    def __init__(self, count):
        self.count = count
