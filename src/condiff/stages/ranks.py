"""A stage on several devices: processes, one a device, each given the stage's config as JSON.

Hydra and the command line stay with the process that starts them, which follows them to their end: it passes
on what the first one logs, asks them to stop where it is asked to, and ends them all where one fails or none
gets any further. They speak through files in a folder of their own, so nothing is left in the environment.
"""

import json
import logging
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from condiff import errors
from condiff.errors import CondiffError, ConfigError, EnvironmentFault
from condiff.files import read_json, write_json
from condiff.interrupts import EXIT_CODES, Interrupted
from condiff.stages.beats import Beats, Silence
from condiff.stages.launched import launched
from condiff.stages.processes import JOB, num_gpus, started
from condiff.stages.stage import HANDED, Artifact, Config, Runtime, Stage

log = logging.getLogger(__name__)
MESSAGES = "messages.jsonl"  # what the first rank says meanwhile
OUTCOME, STACK = "outcome", "stack"  # of each rank: how it failed, and where it stood
PERIOD = 0.1  # seconds between two looks
GRACE = 20.0  # seconds to finish a step, when asked to stop; a save has ``runtime.rank_pause``
SETTLE = 1.0  # seconds for other ranks to say how they failed, after the first of them


def check_devices(settings: Config) -> None:
    """ConfigError where more machines or GPUs are asked for than there are."""
    launch, nodes = launched(), settings.get("nodes", 1)
    has = 1 if launch is None else launch.nodes
    if nodes not in (1, has):
        raise ConfigError(
            f"runtime.nodes: must be {has}, the machines that this run has, got {nodes}; start a process for"
            " each device of each by srun or torchrun, and leave it out"
        )
    if launch is not None:
        return
    asked, num = settings["devices"], 0 if settings["devices"] == 1 else num_gpus(settings["accelerator"])
    if asked > 1 and num < asked and (num or settings["accelerator"] == "gpu"):
        raise ConfigError(
            f"runtime.devices: must be at most {num}, the number of GPUs that torch sees, got {asked};"
            " use fewer, or runtime.accelerator=cpu"
        )


def where(settings: Config) -> str | None:
    """What is said before a run whose devices are not what one might think."""
    if settings["devices"] == 1 or settings["accelerator"] != "auto" or num_gpus("auto"):
        return None
    return f"devices: {settings['devices']} processes on the CPU, as torch sees no GPU"


def run(stage: Stage, cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Make a stage in ``out`` by ``runtime.devices`` processes.

    Raises what the first of them to fail raised; Interrupted where they, or this process, were told to stop.
    """
    on_gpu = num_gpus(runtime.accelerator) > 0
    launch = launched()
    beside = None if launch is None else launch.folder
    with tempfile.TemporaryDirectory(prefix="condiff-", dir=beside) as name, runtime.interrupts.deferred():
        folder = Path(name)
        write_json(folder / JOB, _job(stage, cfg, inputs, runtime, out, on_gpu))
        start = started(folder, runtime.devices, on_gpu) if launch is None else launch.started(folder, on_gpu)
        with start as processes:
            _Ranks(processes, stage.name, runtime, folder).follow()


def share_of(index: int, count: int, total: int) -> range:
    """One of ``count`` parts of 0..total - 1, of sizes that differ by at most one."""
    return range(total * index // count, total * (index + 1) // count)


class _Ranks:
    """The processes of a stage, seen from outside."""

    def __init__(self, processes: list[Any], stage: str, runtime: Runtime, folder: Path) -> None:
        self.processes, self.stage, self.runtime, self.folder = processes, stage, runtime, folder
        self.messages = _Tail(folder / MESSAGES)
        self.beats = Beats(folder, len(processes), runtime.rank_timeout, runtime.rank_pause)
        self.stopping: int | None = None  # by which signal
        self.stopped = 0.0  # since when
        self.told = False  # whether all have been told to stop
        self.deadline = 0.0
        self.waits = False  # for a save, which has been said

    def follow(self) -> None:
        """Wait for the end of all of them."""
        while True:
            codes = [process.poll() for process in self.processes]
            running = [index for index, code in enumerate(codes) if code is None]
            self.beats.look()
            self._pass_on()
            if all(code == 0 for code in codes):
                return
            self._see_to_signals(codes)
            if self.stopping is None and any(codes):
                self._fail()
            if self.stopping is not None and (not running or self._is_late(running)):
                raise Interrupted(self.stopping)
            if self.stopping is None and (silence := self.beats.silence(running)):
                self._give_up(silence)
            time.sleep(PERIOD)

    def _pass_on(self) -> None:
        for message in self.messages.lines():
            match message:
                case {"began": [stage, model]}:
                    self.runtime.began(stage, model)
                case {"row": [stage, step, values]}:
                    self.runtime.log(stage, step, values)
                case {"shown": [stage, step, path]}:
                    self.runtime.shown(stage, step, Path(path))
                case {"ended": [stage]}:
                    self.runtime.ended(stage)
                case {"level": level, "said": said}:
                    log.log(level, "%s", said)

    def _see_to_signals(self, codes: list[int | None]) -> None:
        """A signal to this process goes to all; one to a rank stops all at one step, or else soon."""
        if self.stopping is None:
            self.stopping = self.runtime.interrupts.pending or self._interrupted(codes)
            self.stopped = time.monotonic()
            self.deadline = self.stopped + GRACE
        late = time.monotonic() - self.stopped
        if self.stopping and not self.told and (self.runtime.interrupts.pending or late > 3 * SETTLE):
            self.told = True
            for process in self.processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)

    def _is_late(self, running: list[int]) -> bool:
        """Those that are to stop have had their time; a save has more, as what it saves would be lost."""
        now, most = time.monotonic(), self.runtime.rank_pause
        saving = self.beats.saving(running) if now - self.stopped < most else []
        if saving:
            self.deadline = now + GRACE  # to end, or to take its last step
        if saving and not self.waits and now - self.stopped > GRACE:
            self.waits = True
            log.warning(
                "%s: rank %s still saves, which may take runtime.rank_pause=%g s; a second signal ends it"
                " at once",
                *(self.stage, ", ".join(map(str, saving)), most),
            )
        return now > self.deadline

    def _interrupted(self, codes: list[int | None]) -> int | None:
        for index, code in enumerate(codes):
            if code is not None and -code in EXIT_CODES:
                return -code  # before it could say so itself
            if code and "interrupted" in self._outcome(index):
                return self._outcome(index)["interrupted"]
        return None

    def _give_up(self, silence: Silence) -> None:
        for process in self.processes:
            if hasattr(signal, "SIGUSR1") and process.poll() is None:
                process.send_signal(signal.SIGUSR1)  # each writes where it stands
        time.sleep(SETTLE / 2)
        error = EnvironmentFault(f"runtime.{silence.key}: {self.stage}: {silence}")
        for index in range(len(self.processes)):
            error.add_note(f"rank {index}:\n{_text(self.folder / f'{STACK}{index}')}")
        raise error

    def _fail(self) -> None:
        """Raise what the first rank to fail raised; the others fail because of it."""
        end = time.monotonic() + SETTLE
        while time.monotonic() < end and any(process.poll() is None for process in self.processes):
            time.sleep(PERIOD)
        self._pass_on()
        codes = [process.poll() for process in self.processes]
        signum = self._interrupted(codes)
        if signum is not None:  # the others only noticed that one was told to stop
            raise Interrupted(signum)
        told = {index: self._outcome(index) for index, code in enumerate(codes) if code}
        own = {i: said for i, said in told.items() if said.get("kind") and not said["of_another"]}
        gone = [index for index, said in told.items() if not said]
        if own or not gone:
            said = own or told
            self._raise(said, min(said, key=lambda index: said[index]["time"]))
        code = codes[gone[0]] or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        error = EnvironmentFault(
            f"runtime.devices: {self.stage}: rank {gone[0]} of {len(codes)} {how}; the same command goes on"
            " from the last checkpoint, with fewer devices where memory ran out"
        )
        error.add_note("\n".join(_text(path) for path in sorted(self.folder.rglob("stderr*.log"))))
        raise error

    def _raise(self, told: Mapping[int, Mapping[str, Any]], index: int) -> None:
        said = told[index]
        error: CondiffError = getattr(errors, said["kind"])(*said["lines"])
        if said["traceback"]:
            error.add_note(f"rank {index} of {len(self.processes)}:\n{said['traceback']}")
        raise error

    def _outcome(self, index: int) -> dict[str, Any]:
        path = self.folder / f"{OUTCOME}{index}"
        return read_json(path) if path.is_file() else {}


class _Tail:
    """Whole lines of a growing file, each once."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen = path, 0

    def lines(self) -> Iterator[Any]:
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            file.seek(self.seen)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.seen += len(line)
                yield json.loads(line)


def _job(
    stage: Stage, cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path, on_gpu: bool
) -> dict[str, Any]:
    """All that a rank needs, as plain values."""
    watch, pictures = runtime.watch, runtime.pictures
    return {
        "work": stage.work,
        "config": stage.seen(cfg),
        "inputs": _places(inputs),
        "out": str(out),
        "count": runtime.devices,
        "on_gpu": on_gpu,
        "strategy": runtime.strategy,
        "watch": watch and {"cfg": watch.cfg, "done": _places(watch.done)},
        "pictures": pictures
        and {"cfg": pictures.cfg, "done": _places(pictures.done), "every": pictures.every},
        "runtime": {
            **{name: getattr(runtime, name) for name in HANDED},
            "statistics": runtime.statistics and str(runtime.statistics),
        },
    }


def _places(artifacts: Mapping[str, Artifact]) -> dict[str, list[str]]:
    return {name: [artifact.key, str(artifact.path)] for name, artifact in artifacts.items()}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
