"""A server that refuses, hangs, fails or dies costs a line and a few seconds, never a study."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from condiff.errors import EnvironmentFault
from condiff.stages.loggers import wandb_runs
from condiff.stages.loggers.logger import Loggers
from condiff.stages.loggers.wandb_runs import SYNC, Wandb, study_id
from condiff.stages.loggers.wandb_server import Server as Known
from condiff.stages.loggers.wandb_server import logged_in, why_offline
from tests.stages.loggers.conftest import lines, records, run_of
from tests.stages.loggers.server import Server
from tests.stages.loggers.test_wandb_runs import ROWS, whole


@pytest.fixture
def server(monkeypatch):
    """A server and a login for it."""
    begun = []

    def start(mode="good"):
        begun.append(Server(mode))
        monkeypatch.setenv("WANDB_BASE_URL", begun[0].url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        import_module_anew()
        return begun[0]

    yield start
    import_module_anew()
    for one in begun:
        one.stop()


def import_module_anew():
    """wandb reads its environment once; after this it does so again."""
    wandb = __import__("wandb")
    wandb.teardown(exit_code=0)


def test_a_server_that_answers_is_told_everything(server, settings, told, training, outcome, caplog):
    good = server()
    whole(Loggers([Wandb(settings)]), told, training, outcome, ROWS)
    assert lines(caplog) == []
    buckets = [body["variables"] for body in good.sent("UpsertBucket")]
    groups = {(bucket["name"], bucket["groupName"], bucket["jobType"]) for bucket in buckets}
    assert {("denoiser-k1", "small", "denoiser"), (study_id(told, None), "small", "study")} <= groups
    streamed = "".join(str(body) for body in good.sent("file_stream"))
    assert '"loss":1.5' in streamed.replace(" ", "")
    assert "fd_judge/low" in streamed


@pytest.mark.parametrize(("mode", "said"), [("refuses", "refused"), ("hangs", "no answer"), ("fails", "500")])
def test_who_is_not_reached_is_waited_for_once_and_then_the_runs_are_offline(
    server, settings, told, training, outcome, caplog, mode, said
):
    server(mode)
    start = time.monotonic()
    whole(Loggers([Wandb(settings)]), told, training, outcome, ROWS)
    assert time.monotonic() - start < 10
    (line,) = lines(caplog)
    assert said in line
    assert line.endswith(f"wandb sync {told.folder}/wandb/offline-run-*")
    folder = run_of(told.folder, "denoiser-k1")
    assert folder.name.startswith("offline-run-")
    assert len([row for row in records(folder, "history") if "loss" in row["item"]]) == 3
    assert why_offline("auto") == Known.lost  # the next run of this process does not even ask


def test_a_server_that_takes_no_run_is_left_alone(server, settings, told, training, outcome, caplog):
    server("rejects")
    start = time.monotonic()
    whole(Loggers([Wandb(settings)]), told, training, outcome, ROWS)
    assert time.monotonic() - start < 10
    (line,) = lines(caplog)
    assert line.startswith("wandb takes no run")
    (offline,) = (told.folder / "wandb").glob(f"offline-run-*-{study_id(told, None)}")
    assert records(offline, "run")


@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_a_server_that_is_lost_meanwhile_is_told_with_how_to_upload_the_rest(
    server, settings, told, training, outcome, caplog, monkeypatch, how
):
    monkeypatch.setattr(wandb_runs, "FINISH", 2)
    good, loggers = server(), Loggers([Wandb(settings)])
    loggers.start(told)
    loggers.begin(training)
    loggers.scalars(1, {"loss": 2.0})
    if how == "dies":
        good.stop()
    good.mode = "hangs"
    start = time.monotonic()
    loggers.scalars(2, {"loss": 1.0})
    assert time.monotonic() - start < 0.5  # nothing that trains ever waits
    loggers.end()
    loggers.begin(type(training)("weaker", "k2", False, {}, {}))
    loggers.end()
    loggers.result(outcome)
    loggers.finish(0)
    assert time.monotonic() - start < 15
    told_of = lines(caplog)
    assert f"later: wandb sync --include-online {run_of(told.folder, 'denoiser-k1')}" in told_of[0]
    assert run_of(told.folder, "weaker-k2").name.startswith("offline-run-")
    assert len(records(run_of(told.folder, "denoiser-k1"), "history")) == 2


def test_wandbs_own_process_may_die(server, settings, told, training, caplog):
    server()
    loggers = Loggers([Wandb(settings)])
    loggers.start(told)
    loggers.begin(training)
    argv = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="]
    children = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    (core,) = [int(child.split()[0]) for child in children if "wandb-core" in child]
    os.kill(core, signal.SIGKILL)
    start = time.monotonic()
    for step in range(1, 200):
        loggers.scalars(step, {"loss": 1.0})
        time.sleep(0.01)
    loggers.finish(0)
    assert time.monotonic() - start < 10
    assert loggers.loggers == []
    (line,) = lines(caplog)
    assert f"wandb sync --include-online {told.folder}/wandb/*run-*" in line


def test_a_resumed_training_goes_on_under_its_own_name(server, settings, told, training):
    good = server()
    for resumed, step in ((False, 50), (True, 100)):
        loggers = Loggers([Wandb(settings)])
        loggers.start(told)
        loggers.begin(type(training)("denoiser", "k1", resumed, {}, {}))
        loggers.scalars(step, {"loss": 1.0})
        loggers.finish(1)
    asked = good.sent("RunResumeStatus")
    assert [body["variables"]["name"] for body in asked] == ["denoiser-k1"]


def test_required_and_not_reached_ends_before_anything_is_trained(server, settings, told):
    server("refuses")
    with pytest.raises(EnvironmentFault, match=r"logger\.required: wandb cannot be reached at 127\.0\.0\.1"):
        Loggers([Wandb({**settings, "required": True})]).start(told)


def test_a_login_is_a_key_or_an_entry_for_this_very_host(monkeypatch, tmp_path):
    assert not logged_in()
    (tmp_path / "netrc").write_text("machine wandb.example login user password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example/")
    assert logged_in()
    monkeypatch.delenv("WANDB_BASE_URL")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert logged_in()


def test_who_has_told_wandb_to_be_offline_is_not_asked_again(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert why_offline("auto") == "wandb is offline"


def test_what_the_lines_say_uploads_the_rest(server, settings, told, training, monkeypatch):
    """The very command, for a run that was begun online and lost its server."""
    monkeypatch.setattr(wandb_runs, "FINISH", 1)
    first, loggers = server(), Loggers([Wandb(settings)])
    loggers.start(told)
    loggers.begin(training)
    first.mode = "hangs"
    loggers.scalars(7, {"loss": 0.25})
    loggers.finish(0)
    good = Server()
    folder = run_of(told.folder, "denoiser-k1")
    argv = [sys.executable, "-m", *SYNC.split(), str(folder)]
    env = {**os.environ, "WANDB_BASE_URL": good.url, "WANDB_SILENT": "false"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env, check=False)
    good.stop()
    assert done.returncode == 0, done.stderr
    assert '"loss":0.25' in "".join(str(body) for body in good.sent("file_stream")).replace(" ", "")


FULL = """
import logging, signal, resource, sys
from pathlib import Path
from condiff.stages.loggers.logger import Loggers, Told, Training
from condiff.stages.loggers.wandb_runs import Wandb
logging.basicConfig(level=logging.WARNING, format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
settings = {"wandb": "offline", "project": "p", "tags": [], "required": False, "artifacts": False}
loggers = Loggers([Wandb({**settings, "entity": None, "group": None})])
loggers.start(Told("small", "study", Path(sys.argv[1]), {}, {}, None))
loggers.begin(Training("denoiser", "k1", False, {}, {}))
for step in range(1, 500):
    loggers.scalars(step, {"loss": 1.0})
loggers.end()
loggers.finish(0)
print("the study has ended")
"""


def test_files_that_cannot_grow_are_told_and_stop_nothing(tmp_path):
    """As on a full disk: writing fails inside wandb's own process, which says so in its log only."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env, check=False)
    assert (done.returncode, done.stdout) == (0, "the study has ended\n"), done.stderr
    (line,) = done.stderr.splitlines()
    assert line == "wandb could not write all of small: denoiser; its rows are in log.jsonl"
