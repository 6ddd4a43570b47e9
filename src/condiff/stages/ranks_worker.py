"""The program of a rank: it is given a stage's job as JSON, and leaves what happened beside it.

Run by ``condiff.stages.ranks``, which says there what the files are.
"""

import faulthandler
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from condiff.callbacks.ranks import Ranks
from condiff.errors import fault
from condiff.files import read_json, write_json
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages.attention import attending
from condiff.stages.fetching import fetching
from condiff.stages.processes import JOB
from condiff.stages.ranks import MESSAGES, OUTCOME, STACK
from condiff.stages.stage import HANDED, Artifact, Runtime, load


def main(folder: Path, index: int, parent: int) -> int:
    """The exit code; why it is not 0 stands in the outcome."""
    interrupts = Interrupts()
    interrupts.install()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, (folder / f"{STACK}{index}").open("w"), all_threads=False)
    outcome: dict[str, Any]
    try:
        _work(read_json(folder / JOB), index, folder, interrupts)
        return 0
    except Interrupted as stop:
        code, outcome = stop.exit_code, {"interrupted": int(stop.signum)}
    except BaseException as error:
        told = fault(error)
        code, outcome = (
            told.exit_code,
            {
                "kind": type(told).__name__,
                "lines": told.lines,
                "traceback": "" if told is error else traceback.format_exc(),
                "of_another": _is_of_another(error),
            },
        )
    write_json(folder / f"{OUTCOME}{index}", {"time": time.monotonic(), **outcome})
    return code


def _work(job: Mapping[str, Any], index: int, folder: Path, interrupts: Interrupts) -> None:
    from condiff.stages.ranks_group import joined  # noqa: PLC0415  torch, which signals should not wait for

    warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)  # slower for some layouts
    tell = _Messages(folder / MESSAGES if index == 0 else Path(os.devnull))
    log = logging.getLogger("condiff")
    log.handlers, log.propagate = [tell], False
    inputs = _artifacts(job["inputs"])
    with joined(index, job["count"], folder, job["on_gpu"], job["strategy"]) as ranks:
        ranks.pause()  # what takes its libraries has them
        runtime = _runtime(job, ranks, interrupts, tell)
        with attending(runtime.attention, runtime.accelerator), fetching(runtime.fetch):
            load(job["work"])(job["config"], inputs, runtime, Path(job["out"]))


def _runtime(job: Mapping[str, Any], ranks: Ranks, interrupts: Interrupts, tell: "_Messages") -> Runtime:
    said = job["runtime"]
    runtime = Runtime(
        **{name: said[name] for name in HANDED},
        began=tell.began,
        log=tell.row,
        shown=tell.shown,
        ended=tell.ended,
        interrupts=interrupts,
        statistics=said["statistics"] and Path(said["statistics"]),
        ranks=ranks,
    )
    from condiff.stages.watch import Pictures, Watch  # noqa: PLC0415

    watched = runtime
    if job["watch"] is not None:
        cfg, done = job["watch"]["cfg"], _artifacts(job["watch"]["done"])
        watched = replace(watched, watch=Watch(cfg, done, runtime))
    if job["pictures"] is not None:
        cfg, done = job["pictures"]["cfg"], _artifacts(job["pictures"]["done"])
        watched = replace(watched, pictures=Pictures(cfg, done, runtime, job["pictures"]["every"]))
    return watched


def _artifacts(places: Mapping[str, list[str]]) -> dict[str, Artifact]:
    return {
        name: Artifact(key, Path(path), read_json(Path(path) / "manifest.json"))
        for name, (key, path) in places.items()
    }


class _Messages(logging.Handler):
    """What the leading rank logs, a line of JSON each, for the process that started it to say."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self.file = path.open("a", encoding="utf-8", buffering=1)

    def began(self, stage: str, model: Mapping[str, Any]) -> None:
        self._say({"began": [stage, model]})

    def row(self, stage: str, step: int, values: dict[str, float]) -> None:
        self._say({"row": [stage, step, values]})

    def shown(self, stage: str, step: int, path: Path) -> None:
        self._say({"shown": [stage, step, str(path)]})

    def ended(self, stage: str) -> None:
        self._say({"ended": [stage]})

    def _say(self, message: dict[str, Any]) -> None:
        self.file.write(json.dumps(message) + "\n")

    def emit(self, record: logging.LogRecord) -> None:
        self._say({"level": record.levelno, "said": record.getMessage()})


def _is_of_another(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone."""
    words = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def _end_with(parent: int) -> None:
    """No rank outlives the process that started it, however that ended."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    exit_code = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    # At once: after an error, what is open may wait for the others for ever; and after none, threads of the
    # process group that outlive the interpreter may abort a process whose work is done.
    sys.stdout.flush()
    sys.stderr.flush()
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(exit_code)
