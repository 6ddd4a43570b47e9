"""Artifacts are whole or absent, found by what they are, and made once."""

import json
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from condiff.errors import ArtifactError, ConfigError, EnvironmentFault
from condiff.stages import study
from condiff.stages.cache import MANIFEST, Cache
from condiff.stages.environment import commit
from condiff.stages.stage import CHECKPOINTS, Runtime, Stage
from condiff.stages.study import chosen, plan, run

CFG = {"stages": ["one", "two"], "one": {"a": 1, "b": 2.0}, "two": {"c": "x"}, "seed": 0, "runtime": {"n": 1}}
MADE: list[str] = []


def make_one(cfg, inputs, runtime, out: Path) -> None:
    MADE.append("one")
    (out / "one.txt").write_text(json.dumps(cfg))


def make_two(cfg, inputs, runtime, out: Path) -> None:
    MADE.append("two")
    (out / "two.txt").write_text((inputs["one"].path / "one.txt").read_text() + cfg["two"]["c"])


def make_slowly(cfg, inputs, runtime, out: Path) -> None:
    """Leaves a line for each start; goes on where a killed attempt stopped."""
    with (out.parents[1] / "starts").open("a") as file:
        file.write("x")
    done = out / CHECKPOINTS / "step=1.safetensors"
    done.parent.mkdir(exist_ok=True)
    if not done.exists():
        time.sleep(0.3)
        done.write_text("")
    time.sleep(0.3)
    (out / "one.txt").write_text("made")
    with (out.parents[1] / "ends").open("a") as file:
        file.write("x")


def reads_too_much(cfg, inputs, runtime, out: Path) -> None:
    cfg["seed"]


HERE = f"{__name__}:"


def stages(first: str = "make_one", second: str = "make_two"):
    return (
        Stage("one", HERE + first, reads=("one",)),
        Stage("two", HERE + second, needs=("one",), reads=("two",)),
    )


@pytest.fixture(autouse=True)
def few_stages(monkeypatch):
    MADE.clear()
    monkeypatch.setattr(study, "STAGES", stages())
    monkeypatch.setattr(Stage, "code", lambda self, cfg: "code")
    functions = {name: globals()[name] for name in ("make_one", "make_two", "make_slowly", "reads_too_much")}
    monkeypatch.setattr("condiff.stages.stage.load", lambda name: functions[name.rpartition(":")[2]])


def go(root, cfg=CFG, stale="ask"):
    cache = Cache(root)
    steps = plan(cfg, cache, stale)
    return steps, run(steps, cfg, cache, Runtime())


def test_a_second_run_makes_nothing(tmp_path):
    go(tmp_path)
    steps, done = go(tmp_path)
    assert [step.status for step in steps] == ["cached", "cached"]
    assert MADE == ["one", "two"]
    assert (done["two"].path / "two.txt").read_text() == '{"one": {"a": 1, "b": 2.0}}x'


def test_what_another_job_made_since_the_plan_was_not_run_by_this_one(tmp_path):
    steps = plan(CFG, Cache(tmp_path))
    assert [step.status for step in steps] == ["run", "run"]
    go(tmp_path)
    run(steps, CFG, Cache(tmp_path), Runtime())
    assert MADE == ["one", "two"]
    assert [(step.status, step.why) for step in steps] == [("cached", "made by another job")] * 2


def test_a_stage_is_hashed_by_every_key_it_reads_and_by_nothing_else(tmp_path):
    keys = {step.stage.name: step.key for step in plan(CFG, Cache(tmp_path))}
    for change, moved in (
        ({"one": {"a": 2, "b": 2.0}}, {"one", "two"}),
        ({"one": {"a": 1, "b": 2.5}}, {"one", "two"}),
        ({"two": {"c": "y"}}, {"two"}),
        ({"seed": 1}, set()),
        ({"runtime": {"n": 8}}, set()),
    ):
        new = {step.stage.name: step.key for step in plan({**CFG, **change}, Cache(tmp_path))}
        assert {name for name in keys if keys[name] != new[name]} == moved, change


def test_the_order_of_keys_does_not_matter(tmp_path):
    turned = {**CFG, "one": {"b": 2.0, "a": 1}}
    assert [s.key for s in plan(CFG, Cache(tmp_path))] == [s.key for s in plan(turned, Cache(tmp_path))]


def test_an_undeclared_read_is_a_key_error(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "STAGES", stages(first="reads_too_much"))
    with pytest.raises(KeyError, match="seed"):
        go(tmp_path)


@pytest.mark.parametrize("damage", ["flip", "lose"])
def test_a_damaged_artifact_is_set_aside_and_made_again(tmp_path, damage):
    _, done = go(tmp_path)
    file = done["one"].path / "one.txt"
    file.write_text(file.read_text().replace("1", "7")) if damage == "flip" else file.unlink()
    _, again = go(tmp_path)
    assert MADE == ["one", "two", "one"]
    assert (again["one"].path / "one.txt").read_text() == '{"one": {"a": 1, "b": 2.0}}'
    assert len(list((tmp_path / "one").glob(".bad-*"))) == 1


def test_a_folder_without_a_manifest_is_no_artifact_and_does_not_stay_in_the_way(tmp_path):
    _, done = go(tmp_path)
    (done["one"].path / "manifest.json").unlink()
    go(tmp_path)
    assert MADE == ["one", "two", "one"]
    go(tmp_path)
    assert MADE == ["one", "two", "one"]


def test_an_attempt_that_failed_leaves_no_artifact(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "STAGES", stages(second="reads_too_much"))
    with pytest.raises(KeyError):
        go(tmp_path)
    assert [step.status for step in plan(CFG, Cache(tmp_path))] == ["cached", "run"]


def test_the_plan_says_why(tmp_path):
    steps = plan(CFG, Cache(tmp_path))
    assert [step.why for step in steps] == ["never made before"] * 2
    go(tmp_path)
    steps = plan({**CFG, "one": {"a": 1, "b": 3.0}}, Cache(tmp_path))
    assert [step.why for step in steps] == ["one.b=3.0 (cached: 2.0)", "new one"]


def test_an_artifact_of_other_code_is_made_again_when_cheap(tmp_path, monkeypatch):
    go(tmp_path)
    monkeypatch.setattr(Stage, "code", lambda self, cfg: "newer")
    steps, _ = go(tmp_path)
    assert all(step.status == "run" for step in steps)
    assert steps[0].why.startswith("its code has changed since")
    assert MADE == ["one", "two"] * 2


def aged(root: Path, seconds: float) -> None:
    for path in root.glob("*/*/manifest.json"):
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps({**manifest, "seconds": seconds}))


def test_a_costly_artifact_of_other_code_is_neither_used_nor_replaced_unasked(tmp_path, monkeypatch):
    go(tmp_path)
    aged(tmp_path, 601)
    monkeypatch.setattr(Stage, "code", lambda self, cfg: "newer")
    with pytest.raises(ArtifactError, match=r"runtime\.stale=reuse.*runtime\.stale=remake"):
        plan(CFG, Cache(tmp_path))
    steps, _ = go(tmp_path, stale="reuse")
    assert [step.status for step in steps] == ["cached", "cached"]
    assert MADE == ["one", "two"]
    steps, _ = go(tmp_path, stale="remake")
    assert MADE == ["one", "two"] * 2


def test_a_stage_whose_need_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="two needs one"):
        chosen(["two"])


def _job(root, ready):
    ready.wait()
    monkey = pytest.MonkeyPatch()
    monkey.setattr(study, "STAGES", (Stage("one", HERE + "make_slowly", reads=("one",)),))
    cfg = {**CFG, "stages": ["one"]}
    cache = Cache(Path(root))
    run(plan(cfg, cache), cfg, cache, Runtime())


@pytest.mark.parametrize("kills", [0, 2])
def test_four_jobs_make_a_stage_once_even_when_some_are_killed(tmp_path, kills):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    jobs = [fork.Process(target=_job, args=(tmp_path, ready)) for _ in range(4)]
    for job in jobs:
        job.start()
    ready.set()
    time.sleep(0.45)
    for job in jobs[:kills]:
        os.kill(job.pid, signal.SIGKILL)
    for job in jobs:
        job.join(30)
    assert [job.exitcode for job in jobs] == [-9] * kills + [0] * (4 - kills)
    assert (tmp_path / "ends").read_text() == "x"
    (artifact,) = (tmp_path / "one").glob("[!.]*")
    assert {p.name for p in artifact.iterdir()} == {"one.txt", "manifest.json"}


def _hold(root, ready, done):
    with Cache(Path(root)).lock("one", "key", print):
        ready.set()
        done.wait(30)


def test_a_lock_is_waited_for_only_so_long_and_names_its_holder(tmp_path):
    fork = multiprocessing.get_context("fork")
    ready, done = fork.Event(), fork.Event()
    holder = fork.Process(target=_hold, args=(tmp_path, ready, done))
    holder.start()
    ready.wait()
    said = []
    with (
        pytest.raises(EnvironmentFault, match=f"still held by {holder.pid}@"),
        Cache(tmp_path, lock_timeout=0.2).lock("one", "key", lambda text, *args: said.append(text % args)),
    ):
        pass
    assert f"waiting for {holder.pid}@" in said[0]
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    start = time.monotonic()
    with Cache(tmp_path).lock("one", "key", print):  # the dead owner's lock is free
        assert time.monotonic() - start < 2


def test_a_manifest_names_the_commit_it_was_made_by():
    here = Path(__file__).parent
    there = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=here, text=True)
    assert commit() == there.strip()[:12]


def test_a_large_file_that_another_artifact_has_is_not_kept_twice(tmp_path):
    """And stays whole where the other is damaged or removed."""
    cache, same, made = Cache(tmp_path), {"weights": b"w" * 2**20, "small": b"s"}, {}
    for key in ("a", "b", "c"):
        (work := cache.work("one", key)).mkdir(parents=True)
        for name, content in same.items():
            (work / name).write_bytes(content)
        made[key] = cache.publish("one", key, {"recipe": key}).path
        if key == "b":
            assert os.path.samefile(made["a"] / "weights", made["b"] / "weights")
            assert not os.path.samefile(made["a"] / "small", made["b"] / "small")
            (made["a"] / "weights").write_bytes(b"damaged")  # of both, as they are one
    assert [cache.find("one", key, lambda *_: None) is not None for key in made] == [False, False, True]
    assert {path.name for path in made["c"].iterdir()} == {*same, MANIFEST}
    (cache.work("one", "d")).mkdir()
    (cache.work("one", "d") / "weights").write_bytes(same["weights"])
    last = cache.publish("one", "d", {"recipe": "d"}).path
    (made["c"] / "weights").unlink()
    assert (last / "weights").read_bytes() == same["weights"]
