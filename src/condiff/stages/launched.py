"""Processes that torchrun or srun has started already, one a device, on one machine or on several.

The first of them runs the command. The others wait, and take part in each stage that is shared, by a process
of their own that ends with it. They speak through a folder under ``outputs/`` that all of them must see, so
that a stage is followed just as where its processes were started here.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from condiff.errors import ConfigError, EnvironmentFault
from condiff.files import read_json, write_json
from condiff.interrupts import Interrupts
from condiff.stages.processes import JOB, environment, program

READY, OVER, PULSE = "ready", "over.json", "pulse"  # a job's; the run's, with its exit code; the first one's
CODE, SIGNAL = "code", "signal"  # of each of the others in a job: how it ended, and what it is sent
PERIOD = 0.1  # seconds between two looks
LEFT = 10.0  # seconds for all of the others to say that they have ended
BEAT, LOST = 2.0, 120.0  # seconds between the first one's beats, and without one until it is gone
# What libraries would otherwise take as theirs: each process of a stage is told its place by condiff.
_HIDDEN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
_OF_SRUN = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_NODES")
_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE")


@dataclass(frozen=True)
class Launch:
    """One of the ``count`` processes of a launcher, the ``local``-th of ``here`` on one of ``nodes``."""

    by: str
    rank: int
    count: int
    local: int
    here: int
    nodes: int
    folder: Path

    def lead(self, command: Callable[[], int]) -> int:
        """The first process's part: to run the command, at whose end the others end with its exit code."""
        self.folder.mkdir(parents=True, exist_ok=True)
        code, done = 1, threading.Event()
        threading.Thread(target=self._beat, args=(done,), daemon=True).start()
        try:
            code = command()
            return code
        except BaseException as error:
            code = getattr(error, "exit_code", 1)
            raise
        finally:
            done.set()
            write_json(self.folder / OVER, code)

    def follow(self, interrupts: Interrupts) -> int:
        """Every other process's part: to take part in what there is. The exit code is the first one's.

        Told to stop, it waits for the first one, which is told as well and ends what both are at.
        """
        seen: set[Path] = set()
        pulse, last = "", time.monotonic()
        with interrupts.deferred():
            while not (self.folder / OVER).is_file():
                for job in {path.parent for path in self.folder.glob(f"*/{READY}")} - seen:
                    seen.add(job)
                    self._take_part(job)
                    last = time.monotonic()
                now = _text(self.folder / PULSE)
                pulse, last = (now, time.monotonic()) if now != pulse else (pulse, last)
                self._heard(time.monotonic() - last)
                time.sleep(PERIOD)
            return int(read_json(self.folder / OVER))

    @contextmanager
    def started(self, job: Path, on_gpu: bool) -> Iterator[list[Any]]:
        """Processes of a job in a folder, here and where the others are; none of them is left at the end."""
        own = self._process(job, on_gpu)
        others = [_Elsewhere(job, rank) for rank in range(1, self.count)]
        (job / READY).touch()
        try:
            yield [own, *others]
        finally:
            own.kill()
            for other in others:
                other.kill()
            own.wait()
            end = time.monotonic() + LEFT
            while time.monotonic() < end and any(other.poll() is None for other in others):
                time.sleep(PERIOD)

    def _process(self, job: Path, on_gpu: bool) -> "subprocess.Popen[bytes]":
        added = environment(self.local, self.here, on_gpu)
        log = (job / f"stderr{self.rank}.log").open("wb")
        words = [sys.executable, *program(job, self.rank)]
        return subprocess.Popen(words, env={**os.environ, **added}, stderr=None if self.rank == 0 else log)

    def _take_part(self, job: Path) -> None:
        with suppress(FileNotFoundError):  # as soon as the first one is done with the job
            own = self._process(job, read_json(job / JOB)["on_gpu"])
            sent = ""
            while own.poll() is None and job.is_dir():
                now = _text(job / f"{SIGNAL}{self.rank}")
                if now and now != sent:
                    sent = now
                    own.send_signal(int(now))
                time.sleep(PERIOD)
            own.kill()
            write_json(job / f"{CODE}{self.rank}", own.wait())

    def _heard(self, silence: float) -> None:
        """EnvironmentFault where the first process has said nothing for too many seconds."""
        if silence > LOST:
            raise EnvironmentFault(
                f"{self.by}: process {self.rank} has heard nothing of the first one for {LOST:g} s in"
                f" {self.folder}, a folder that all of them must see"
            )

    def _beat(self, done: threading.Event) -> None:
        count = 0
        while not done.wait(BEAT if count else 0):
            count += 1
            (self.folder / PULSE).write_text(str(count))


class _Elsewhere:
    """A process of a job that another of the launcher has started, as one of this machine is."""

    def __init__(self, job: Path, rank: int) -> None:
        self.code, self.signal = job / f"{CODE}{rank}", job / f"{SIGNAL}{rank}"

    def poll(self) -> int | None:
        return int(read_json(self.code)) if self.code.is_file() else None

    def send_signal(self, signum: int) -> None:
        self.signal.write_text(str(int(signum)))

    def kill(self) -> None:
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)


@cache
def launched() -> Launch | None:
    """This process's place among those of a launcher; None where it was started by itself, or alone."""
    found = read_launch(os.environ)
    if found is not None:
        for name in _HIDDEN:
            os.environ.pop(name, None)
    return found


def read_launch(said: MutableMapping[str, str]) -> Launch | None:
    """What torchrun or srun says of a process; in the script of a SLURM job outside srun it is alone."""
    if "TORCHELASTIC_RUN_ID" in said and int(said.get("WORLD_SIZE", 1)) > 1:
        rank, count, local, here, nodes = (int(said[name]) for name in _OF_TORCHRUN)
        return Launch("torchrun", rank, count, local, here, nodes, _outputs(_meeting(said, rank)))
    count = int(said.get("SLURM_STEP_NUM_TASKS", 1))
    if count > 1:
        here = int(re.split(r"[(,]", said.get("SLURM_STEP_TASKS_PER_NODE", str(count)))[0])
        parts = [said.get(part, "0") for part in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")]
        folder = _outputs("-".join(["slurm", *parts]))
        rank, local, nodes = (int(said[name]) for name in _OF_SRUN)
        return Launch("srun", rank, count, local, here, nodes, folder)
    return None


def with_all_devices(words: list[str], launch: Launch) -> list[str]:
    """The words of a command with the number of devices that there are; ConfigError where it says another."""
    for word in words:
        key, _, value = word.partition("=")
        if key == "runtime.devices" and value != str(launch.count):
            raise ConfigError(
                f"runtime.devices: must be {launch.count}, the processes that {launch.by} has started, or be"
                f" left out, got {value}"
            )
    rest = [word for word in words if not word.startswith("runtime.devices=")]
    return [*rest, f"runtime.devices={launch.count}"]


def _outputs(name: str) -> Path:
    return Path("outputs", ".launches", name).absolute()


def _meeting(said: MutableMapping[str, str], rank: int) -> str:
    """A name that the first process makes up, told to the others by the store that torchrun keeps."""
    from torch.distributed import TCPStore  # noqa: PLC0415  # pyright: ignore[reportPrivateImportUsage]

    store = TCPStore(said["MASTER_ADDR"], int(said["MASTER_PORT"]), is_master=False)
    key = f"condiff-{said.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if rank == 0:
        store.set(key, f"torchrun-{time.time_ns()}-{os.getpid()}")
    return store.get(key).decode()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
