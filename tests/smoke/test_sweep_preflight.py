"""What the check of a sweep costs: what its runs share is looked at once."""

from unittest.mock import Mock

import run
from condiff.config.compose import read_command, register
from condiff.data.digits import Digits
from condiff.stages.study import STAGES
from tests.smoke.conftest import LATENT, ROOT, TINY


def test_data_that_runs_share_are_looked_at_once(tmp_path, monkeypatch):
    register()
    looked = {name: Mock(side_effect=getattr(Digits, name), name=name) for name in ("check", "info")}
    for name, mock in looked.items():
        monkeypatch.setattr(Digits, name, lambda self, *given, mock=mock: mock(self, *given))
    monkeypatch.setattr(run, "rehearse_if_new", lambda *_: None)
    words = ("guidance.scale=1,2,3", "data.size=16,32", f"runtime.cache={tmp_path}")
    argv = ["-m", *(word for word in TINY if not word.startswith("data.size")), *LATENT, *words]
    command = read_command(argv, ROOT / "conf", [stage.name for stage in STAGES])
    assert command is not None
    assert len(command.runs) == 6
    run.preflight(command)
    assert [mock.call_count for mock in looked.values()] == [2, 2]
