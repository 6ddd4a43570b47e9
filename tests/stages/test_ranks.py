"""A stage on two processes makes what it makes on one, and leaves nothing behind however it ends."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from condiff.errors import CondiffError, DivergedError, EnvironmentFault
from condiff.interrupts import Interrupted
from condiff.stages import ranks
from condiff.stages.stage import CHECKPOINTS, LOG, Runtime, Stage
from tests.stages.rank_work import TRAINING, TRAININGS, failing
from tests.stages.small import digits, seen

CFG = {"steps": 60, "batch_size": 7}  # a batch of which one rank has three and the other four
EACH = {
    "plain": CFG,
    "of learned times": {"steps": 20, "batch_size": 7, "learned": [4, 3]},
    "in parts": {"steps": 12, "batch_size": 7, "accumulate": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return digits(tmp_path_factory.mktemp("digits"))


def made(stage: Stage, inputs, out, devices, cfg=CFG, **runtime) -> Path:
    out.mkdir(exist_ok=True)
    place = Runtime(accelerator="cpu", devices=devices, **runtime)
    stage.run(cfg, inputs, place, out)
    return out


def logged(folder, name="loss"):
    return [json.loads(line)[name] for line in (folder / LOG).read_text().splitlines()]


def weights(folder):
    names = ("weights.safetensors", "ema.safetensors")
    return {(name, key): value for name in names for key, value in load_file(folder / name).items()}


@pytest.fixture(scope="module")
def each_alone(data, tmp_path_factory):
    whole = {**EACH, "in parts": {"steps": 12, "batch_size": 7}}
    return made(TRAININGS, {"data": data}, tmp_path_factory.mktemp("alone"), 1, {"trainings": whole})


@pytest.fixture(scope="module")
def each_together(data, tmp_path_factory):
    """And the rows that the process which started the ranks was told."""
    rows, before = [], dict(os.environ)
    folder = tmp_path_factory.mktemp("together")
    cfg = {"trainings": EACH}
    made(TRAININGS, {"data": data}, folder, 2, cfg, log=lambda *row: rows.append(row))
    assert dict(os.environ) == before
    return folder, rows


@pytest.fixture(scope="module")
def alone(each_alone):
    return each_alone / "plain"


@pytest.fixture(scope="module")
def together(each_together):
    folder, rows = each_together
    return folder / "plain", rows[: CFG["steps"]]


def test_two_processes_draw_the_same_for_every_sample_and_learn_the_same(alone, together):
    folder, rows = together
    one, two = seen(alone), seen(folder)
    assert len(list(folder.glob("seen*"))) == 2
    assert len(one) == 3 * 60 * 7
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert logged(folder) == pytest.approx(logged(alone), rel=1e-5)
    assert [row[1] for row in rows] == list(range(1, 61))
    assert [row[2]["loss"] for row in rows] == logged(folder)


def test_two_processes_learn_the_same_times(each_alone, each_together):
    alone, both = each_alone / "of learned times", each_together[0] / "of learned times"
    states = [load_file(both / f"seen{rank}.safetensors") for rank in range(2)]
    one = load_file(alone / "seen0.safetensors")
    assert one["learned counts"].sum() == 140
    for name in ("learned counts", "learned losses"):
        assert torch.equal(states[0][name], states[1][name])
    assert torch.equal(states[0]["learned counts"], one["learned counts"])
    torch.testing.assert_close(states[0]["learned losses"], one["learned losses"], rtol=1e-4, atol=1e-6)
    assert logged(both) == pytest.approx(logged(alone), rel=1e-5)


def test_a_batch_in_parts_on_two_processes_is_the_batch_on_one(each_alone, each_together):
    parts, whole = (logged(folder / "in parts") for folder in (each_together[0], each_alone))
    assert len(parts) == 12
    assert parts == pytest.approx(whole, rel=1e-5)


def test_an_error_of_one_rank_is_raised_as_it_is(tmp_path):
    with pytest.raises(DivergedError) as caught:
        made(failing("diverge"), {}, tmp_path, 2)
    assert str(caught.value) == "error[5]: denoiser: the gradient at step 3 is nan"
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.slow
def test_the_same_devices_end_with_the_same_weights(data, together, tmp_path):
    again = weights(made(TRAINING, {"data": data}, tmp_path / "again", 2))
    first = weights(together[0])
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.slow
def test_in_mixed_precision_two_processes_draw_the_same_and_learn_nearly_the_same(data, tmp_path):
    """Sums of half precision that are taken in another order; no more steps of float16 are left out."""
    roundings = {"16-mixed": 1e-3, "bf16-mixed": 1e-2}
    cfg = {"trainings": {kind: {"steps": 20, "batch_size": 7, "precision": kind} for kind in roundings}}
    one, two = (made(TRAININGS, {"data": data}, tmp_path / str(n), n, cfg) for n in (1, 2))
    for kind, rounding in roundings.items():
        drawn, found = seen(one / kind), seen(two / kind)
        assert len(drawn) == 3 * 20 * 7
        assert drawn.keys() == found.keys()
        assert all(torch.equal(drawn[key], found[key]) for key in drawn)
        assert logged(two / kind) == pytest.approx(logged(one / kind), rel=rounding)
    assert logged(two / "16-mixed", "skipped_steps") == [0] * 20


@pytest.mark.slow
def test_batch_normalization_is_of_the_global_batch(tmp_path):
    one = load_file(made(failing("normalise"), {}, tmp_path / "one", 1) / "norm0.safetensors")
    folder = made(failing("normalise"), {}, tmp_path / "two", 2)
    parts = [load_file(folder / f"norm{index}.safetensors") for index in range(2)]
    assert [len(part["y"]) for part in parts] == [3, 4]
    close = {"rtol": 1e-5, "atol": 1e-5}
    for name in ("y", "x"):
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), one[name], **close)
    for name in ("mean", "var"):
        assert torch.equal(parts[0][name], parts[1][name])
        torch.testing.assert_close(parts[0][name], one[name], **close)
    torch.testing.assert_close(parts[0]["weight"] + parts[1]["weight"], one["weight"], **close)


@pytest.mark.slow
def test_a_bug_is_told_with_its_place_and_its_traceback_and_what_was_logged_before(tmp_path):
    rows = []
    with pytest.raises(CondiffError) as caught:
        made(failing("have_a_bug"), {}, tmp_path, 2, log=lambda *row: rows.append(row))
    assert str(caught.value).startswith("error[1]: KeyError at rank_work.py:")
    assert caught.value.exit_code == 1
    (note,) = caught.value.__notes__
    assert note.startswith("rank 1 of 2:\nTraceback")
    assert rows == [("denoiser", 3, {"loss": 0.5})]


def gone(folder):
    """Whether every rank that left its number in a folder has ended."""
    numbers = [int(path.read_text()) for path in folder.glob("pid*")]
    assert len(numbers) == 2
    return not any(Path(f"/proc/{number}").exists() for number in numbers)


@pytest.mark.slow
def test_a_killed_rank_ends_all(tmp_path):
    start = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"denoiser: rank 1 of 2 was killed by SIGKILL"):
        made(failing("die"), {}, tmp_path, 2)
    assert time.monotonic() - start < 60
    assert gone(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "who", "other"),
    [
        ("hang", "none of the 2 ranks has", "all_reduce"),
        ("hang_alone", "rank 1 of 2 has not", "in go_on"),
    ],
)
def test_ranks_that_hang_are_ended_in_time_and_where_they_stood_is_kept(tmp_path, how, who, other):
    with pytest.raises(EnvironmentFault, match=rf"rank_timeout: denoiser: {who} got any further") as caught:
        made(failing(how), {}, tmp_path, 2, rank_timeout=2.0)
    assert time.time() - (tmp_path / "pid1").stat().st_mtime < 2 + 15
    assert gone(tmp_path)
    first, second = caught.value.__notes__
    assert f"in {how}" in second
    assert other in first


@pytest.mark.slow
def test_ranks_that_hang_at_the_start_are_ended_in_time(tmp_path):
    """Perhaps as they import their libraries, which may take as long on a busy machine."""
    start = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"rank_pause: denoiser: none of the 2 ranks has got any"):
        made(failing("hang_at_the_start"), {}, tmp_path, 2, rank_pause=5.0)
    assert time.monotonic() - start < 5 + 15
    assert not children()


def stopped(data, out, step, whom, signum):
    """Train until a step is logged, then send a signal: to this process, or to one rank."""
    sent = threading.Event()

    def log(_, at, __):
        if at >= step and not sent.is_set():
            sent.set()
            os.kill(os.getpid() if whom is None else children()[whom], signum)

    place = Runtime(accelerator="cpu", devices=2, log=log)
    place.interrupts.install()
    out.mkdir()
    try:
        with pytest.raises(Interrupted) as caught:
            TRAINING.run({**CFG, "steps": 100_000}, {"data": data}, place, out)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    return caught.value.exit_code


def children():
    """The ranks that this process has started, in their order."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0") if path.exists() else []
        if b"condiff.stages.ranks_worker" in words and int(words[-2]) == os.getpid():
            found[int(words[-3])] = int(path.parent.name)
    return [found[index] for index in sorted(found)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whom", "signum", "code"),
    [(None, signal.SIGTERM, 143), (None, signal.SIGINT, 130), (1, signal.SIGTERM, 143)],
)
def test_a_signal_to_all_or_to_one_saves_at_one_step_and_stops(data, tmp_path, whom, signum, code):
    assert stopped(data, tmp_path / "run", 5, whom, signum) == code
    (saved,) = (tmp_path / "run" / CHECKPOINTS).glob("step=*.safetensors")
    step = int(saved.stem.partition("=")[2])
    assert len(logged(tmp_path / "run")) == step
    assert not children()


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_devices(data, alone, tmp_path):
    out, half = tmp_path / "run", Runtime(accelerator="cpu", checkpoint_seconds=1e-9)
    out.mkdir()

    def log(_, step, __):
        half.interrupts.pending = 15 if step == 30 else None

    object.__setattr__(half, "log", log)
    with pytest.raises(Interrupted):
        TRAINING.run(CFG, {"data": data}, half, out)
    made(TRAINING, {"data": data}, out, 2)
    assert logged(out) == pytest.approx(logged(alone), rel=1e-5)
    whole = seen(alone)
    rest = {key: value for key, value in seen(out).items() if int(key.split()[1]) >= 30}
    assert len(rest) == 3 * 30 * 7
    assert all(torch.equal(whole[key], rest[key]) for key in rest)


@pytest.mark.parametrize(("count", "total"), [(2, 7), (3, 64), (4, 4)])
def test_shares_are_the_whole_and_differ_by_one_at_most(count, total):
    shares = [ranks.share_of(index, count, total) for index in range(count)]
    assert [place for share in shares for place in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
