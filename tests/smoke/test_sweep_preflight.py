"""What the check of a sweep costs: what its runs share is looked at once."""

from unittest.mock import Mock

import run
from condiff.config.compose import read_command, register
from condiff.data.digits import Digits
from condiff.stages.study import STAGES
from tests.smoke.conftest import LATENT, ROOT, TINY


def checked(tmp_path, *words):
    """The preflight of a tiny sweep."""
    register()
    argv = ["-m", *(word for word in TINY if not word.startswith("data.size")), *LATENT, *words]
    command = read_command([*argv, f"runtime.cache={tmp_path}"], ROOT / "conf", [s.name for s in STAGES])
    assert command is not None
    run.preflight(command)
    return len(command.runs)


def test_data_that_runs_share_are_looked_at_once(tmp_path, monkeypatch):
    looked = {name: Mock(side_effect=getattr(Digits, name), name=name) for name in ("check", "info")}
    for name, mock in looked.items():
        monkeypatch.setattr(Digits, name, lambda self, *given, mock=mock: mock(self, *given))
    monkeypatch.setattr(run, "rehearse_if_new", lambda *_: None)
    assert checked(tmp_path, "guidance.scale=1,2,3", "data.size=16,32") == 6
    assert [mock.call_count for mock in looked.values()] == [2, 2]


def test_sampling_is_rehearsed_once_for_what_it_depends_on(tmp_path, monkeypatch):
    rehearsed = []
    monkeypatch.setattr(run, "rehearse_if_new", lambda cfg, _: rehearsed.append(cfg["guidance"]["scale"]))
    assert checked(tmp_path, "guidance.scale=1,2", "seed=0,1,2", "num_samples=20,30", "data.size=16") == 12
    assert rehearsed == [1.0, 2.0]
