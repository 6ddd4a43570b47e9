"""Two processes that hold a network in parts train it as one process does, and leave the same files."""

import json

import pytest
import torch
from safetensors.torch import load_file

from condiff.diffusion.condition import Condition
from condiff.errors import ConfigError
from condiff.networks.unet import UNet
from condiff.stages.ranks_divided import DividedRank
from condiff.stages.ranks_group import joined
from condiff.stages.stage import CHECKPOINTS, LOG, Runtime
from condiff.stages.weights import load_file_into
from tests.stages.divided_work import WORK, train
from tests.stages.small import digits, method, seen

STEPS, STOP = 4, 3
FILES = ("weights.safetensors", "ema.safetensors", "looked.safetensors")
AVERAGES = [f"averages/step={step:08d}_length=0.1.safetensors" for step in (2, 4)]
WEIGHTS = [*FILES, "steps/step=00000002.safetensors"]
LEFT = [*WEIGHTS, *AVERAGES]
NEAR = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return digits(tmp_path_factory.mktemp("digits"))


def made(data, out, devices, strategy="ddp", asked=("whole",)):
    out.mkdir(exist_ok=True)
    place = Runtime(accelerator="cpu", devices=devices, strategy=strategy, checkpoint_seconds=1e9)
    WORK.run({"steps": STEPS, "stop": STOP, "asked": [*asked]}, {"data": data}, place, out)
    return out


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    return made(data, tmp_path_factory.mktemp("alone"), 1) / "whole"


@pytest.fixture(scope="module")
def parts(data, tmp_path_factory):
    return made(data, tmp_path_factory.mktemp("parts"), 2, "fsdp", ("whole", "stopped", "again"))


def losses(folder):
    rows = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [row["loss"] for row in rows], [row["grad_norm"] for row in rows]


def after_the_stop(draws):
    return {key: value for key, value in draws.items() if int(key.split()[1]) >= STOP}


def answer(file):
    """Of the network with the weights of a file, which must fit it strictly."""
    own = method(1, attends=True)
    load_file_into(own.denoiser.network, file)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    cond = Condition(label=torch.arange(4))
    with torch.no_grad():
        return own.denoiser.network(x, own.denoiser.process.at(torch.full((4,), 0.5)), cond)


def equal(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one)


def test_one_part_is_learned_as_the_whole_is(data, tmp_path):
    """What each process does, without others: a first part, a checkpoint and the rest, and files as ever."""
    cfg = {"steps": STEPS, "stop": STOP, "asked": ["stopped", "again"]}
    with joined(0, 1, tmp_path, on_gpu=False, strategy="fsdp") as rank:
        train(cfg, {"data": data}, Runtime(accelerator="cpu", ranks=rank), tmp_path)
    whole = made(data, tmp_path / "alone", 1) / "whole"
    assert equal(after_the_stop(seen(whole)), seen(tmp_path / "again"))
    assert losses(tmp_path / "again")[0] == pytest.approx(losses(whole)[0], rel=1e-5)
    for name in WEIGHTS:
        torch.testing.assert_close(answer(tmp_path / "again" / name), answer(whole / name), **NEAR)


@pytest.mark.slow
def test_parts_draw_and_learn_what_one_process_does(alone, parts):
    assert len(seen(alone)) == 3 * STEPS * 7
    assert equal(seen(alone), seen(parts / "whole"))
    for one, two in zip(losses(alone), losses(parts / "whole"), strict=True):
        assert len(one) == STEPS
        assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTS)
def test_what_parts_leave_are_whole_weights_that_answer_alike(alone, parts, name):
    torch.testing.assert_close(answer(parts / "whole" / name), answer(alone / name), **NEAR)


@pytest.mark.slow
def test_parts_leave_the_files_that_one_process_leaves(alone, parts):
    for name in LEFT:
        one, two = load_file(alone / name), load_file(parts / "whole" / name)
        assert {key: value.shape for key, value in one.items()} == {k: v.shape for k, v in two.items()}
    last = load_file(parts / "whole" / "ema.safetensors")
    assert equal(load_file(parts / "whole" / "looked.safetensors"), last)


@pytest.mark.slow
def test_each_process_holds_about_a_half(alone, parts):
    whole = json.loads((alone / "held0.json").read_text())
    held = [json.loads((parts / "whole" / f"held{rank}.json").read_text()) for rank in range(2)]
    network = method(1, attends=True).denoiser.network
    assert whole["parameters"] == 4 * sum(p.numel() for p in network.parameters())
    assert whole["moments"] == 2 * whole["parameters"]
    for name, size in whole.items():
        assert size <= sum(part[name] for part in held) < 1.01 * size, name  # odd rows are filled up
        assert all(0.45 * size < part[name] < 0.55 * size for part in held), name


@pytest.mark.slow
def test_a_stopped_training_of_parts_ends_bit_for_bit(parts):
    assert [file.stem for file in (parts / "again" / CHECKPOINTS).iterdir()] == [f"step={STOP:08d}"]
    assert losses(parts / "again") == losses(parts / "whole")
    for name in LEFT:
        assert equal(load_file(parts / "again" / name), load_file(parts / "whole" / name)), name


@pytest.mark.slow
def test_parts_go_on_where_one_process_stopped_and_the_other_way_round(data, alone, parts, tmp_path):
    for name, first, then in (("in parts", (1, "ddp"), (2, "fsdp")), ("whole", (2, "fsdp"), (1, "ddp"))):
        out = made(data, tmp_path / name, *first, ("stopped",))
        assert len(losses(out / "again")[0]) == STOP
        made(data, out, *then, ("again",))
        assert losses(out / "again")[0] == pytest.approx(losses(alone)[0], rel=1e-5)
        assert equal(after_the_stop(seen(alone)), seen(out / "again"))


def test_a_network_without_blocks_is_one_line(tmp_path):
    said = r"runtime\.strategy: fsdp gathers a network block by block, and judge\.trainer trains UNet, which"
    rank = DividedRank(0, 2, tmp_path, "cpu")
    with pytest.raises(ConfigError, match=said):
        rank.divided(UNet(1, 11, 8, [8, 16], [False, False]), "judge.trainer")
