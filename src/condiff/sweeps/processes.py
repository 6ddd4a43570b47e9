"""Jobs of a sweep as processes: how they begin, what of the machine they have, and how they end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module

from condiff.sweeps.job import Job, leave_dead

GRACE = 30.0  # seconds in which a job that is asked to stop saves what it has


def watched(job: Job) -> int:
    """Run it in a process of its own and say how that ended, as whoever else starts this one may not tell."""
    process = begun(job, {})
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    finally:
        stop([process])
    if code != 0:
        leave_dead(job, *death(code))
    return code


def begun(job: Job, share: Mapping[str, str]) -> subprocess.Popen[str]:
    """Its process, with ``share`` in the environment."""
    path = os.pathsep.join(filter(None, sys.path))
    # a session of its own: Ctrl-C reaches it through the sweep, and it can be killed with all it started
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "condiff.sweeps.job"],  # the working folder is no place to import from
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, **share},
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has died already, which its exit status tells
        process.stdin.write(json.dumps(asdict(job)) + "\n")
        process.stdin.flush()
    return process


def share(slot: int, parallel: int, job: Job) -> dict[str, str]:
    """What of the machine a job in that slot may use, as environment variables."""
    found = {} if "OMP_NUM_THREADS" in os.environ else threads(parallel, os.cpu_count() or 1)
    runtime = job.cfg["runtime"]
    if runtime["accelerator"] != "cpu" and parallel > 1:
        found |= gpus_of(slot, parallel, runtime.get("devices", 1), _gpus())
    return found


def threads(parallel: int, cores: int) -> dict[str, str]:
    """Jobs at once share the cores."""
    return {"OMP_NUM_THREADS": str(max(1, cores // parallel))} if parallel > 1 else {}


def gpus_of(slot: int, parallel: int, devices: int, gpus: Sequence[str]) -> dict[str, str]:
    """GPUs for a job in that slot that no other slot has; nothing where there are too few for all."""
    if len(gpus) < parallel * devices:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[slot * devices : (slot + 1) * devices])}


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [str(k) for k in range(import_module("torch").cuda.device_count())]


def death(code: int) -> tuple[str, int]:
    """How a process ended that left no outcome, and its exit code as a shell tells it."""
    if code < 0:
        return f"the job was killed by {signal.Signals(-code).name}", 128 - code
    return f"the job ended with exit code {code} and left no outcome", code or 1


def stop(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Ask them to save and end, and end those that do not."""
    try:
        for process in processes:
            process.terminate()
        end = time.monotonic() + GRACE
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
