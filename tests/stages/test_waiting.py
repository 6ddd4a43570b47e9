"""A training that waits for a worker that never answers can be stopped, and loses no step."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from condiff.interrupts import EXIT_CODES, Interrupted, Interrupts
from condiff.stages.stage import CHECKPOINTS, LOG, Runtime
from condiff.stages.training import fit
from tests.stages import small
from tests.stages.hanging import STEPS, Hanging


@pytest.fixture
def interrupts():
    before = {signum: signal.getsignal(signum) for signum in EXIT_CODES}
    found = Interrupts()
    found.install()
    yield found
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_whose_workers_hang_saves_and_stops(tmp_path, interrupts, signum, code):
    (tmp_path / "data").mkdir()
    data = Hanging(small.digits(tmp_path / "data").path, "train", held_bytes=0)
    log, sent = tmp_path / LOG, []

    def send():
        while not log.is_file() or len(log.read_text().splitlines()) < STEPS:
            time.sleep(0.05)
        time.sleep(2)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signum)

    threading.Thread(target=send, daemon=True).start()
    place = Runtime(accelerator="cpu", num_workers=2, checkpoint_seconds=1e9, interrupts=interrupts)
    with pytest.raises(Interrupted) as stopped:
        fit("denoiser", small.method(20), data, place, tmp_path)
    assert stopped.value.exit_code == code
    assert [path.name for path in (tmp_path / CHECKPOINTS).iterdir()] == [f"step={STEPS:08d}.safetensors"]
    stopped.value.__traceback__ = None
    del stopped
    assert not multiprocessing.active_children()
    assert time.monotonic() - sent[0] < 30
