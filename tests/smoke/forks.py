"""Commands without the seconds that their imports take: forks of a process that has done the importing.

As a program it reads what is asked of it, a line of JSON each, and answers in a line; a fork that it makes
goes on as ``run.py`` with the words, the folder and the environment that are asked for.
"""

import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

RUN = Path(__file__).parents[2] / "run.py"
NO_TORCH = ("torch",)
LIGHT = ("run",)
HEAVY = (*LIGHT, "wandb", "condiff.stages.training", "condiff.stages.samples", "condiff.stages.metrics")


class Command:
    """One that has been started; as ``subprocess.Popen``, as far as it goes.

    ``without`` are packages that it does not find; torch it would, but ends with code 99 if it imports it.
    """

    def __init__(self, folder: Path, argv: tuple[str, ...], without: tuple[str, ...] = ()) -> None:
        self.parent = _parent(LIGHT if "torch" in without else HEAVY)
        self.said = [Path(tempfile.mkstemp()[1]) for _ in range(2)]
        self.returncode: int | None = None
        self.pid: int = self.parent.ask(
            argv=argv,
            cwd=str(folder),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            said=[*map(str, self.said)],
            without=without,
        )

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.parent.ask(ended=self.pid)
        return self.returncode

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        out, err = (path.read_text() for path in self.said)
        return out, err


class _Parent:
    """The process that has imported some modules."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **asked: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@functools.cache
def _parent(modules: tuple[str, ...]) -> _Parent:
    return _Parent(modules)  # ends with this process, when its input does


def main() -> None:
    sys.path.insert(0, str(RUN.parent))
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()
    started: dict[int | None, BaseProcess] = {}
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if "ended" in asked:
            answer = started[asked["ended"]].exitcode
        else:
            fork = get_context("fork").Process(target=_go_on_as, args=(asked,))
            fork.start()
            answer = fork.pid
            started[answer] = fork
        print(json.dumps(answer), flush=True)


def _go_on_as(asked: dict[str, Any]) -> None:
    for stream, path in enumerate((os.devnull, *asked["said"])):
        os.dup2(os.open(path, os.O_RDWR), stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv[1:] = asked["argv"]
    sys.modules.update({name: None for name in asked["without"] if name != "torch"})  # their import fails
    try:
        runpy.run_path(str(RUN), run_name="__main__")
    finally:
        if "torch" in asked["without"] and "torch" in sys.modules:
            print("torch was imported", file=sys.stderr, flush=True)
            os._exit(99)


if __name__ == "__main__":
    main()
