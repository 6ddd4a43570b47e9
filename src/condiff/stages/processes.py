"""Processes of this machine that make a stage together, one a device."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from condiff.interrupts import Interrupted

JOB = "job.json"  # what is to be done


@contextmanager
def started(folder: Path, count: int, on_gpu: bool) -> Iterator[list[Any]]:
    """Processes of the job in a folder; none of them is left at the end."""
    from torch.distributed.elastic.multiprocessing import (  # noqa: PLC0415
        DefaultLogsSpecs,
        SignalException,
        Std,
        start_processes,
    )

    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    try:
        with _own_handlers():
            context: Any = start_processes(
                "ranks",
                sys.executable,
                {index: program(folder, index) for index in range(count)},
                {index: environment(index, count, on_gpu) for index in range(count)},
                DefaultLogsSpecs(str(folder), {index: Std.ALL for index in range(1, count)}),
            )
    except SignalException as stop:
        raise Interrupted(stop.sigval) from None
    try:
        yield [context.subprocess_handlers[index].proc for index in range(count)]
    finally:
        context.close(signal.SIGKILL, timeout=10)


@contextmanager
def _own_handlers() -> Iterator[None]:
    """torchrun's handlers of signals are set back: this process has its own."""
    names = [name for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)


def program(folder: Path, index: int) -> tuple[str, ...]:
    """What Python is given to be a rank that ends with this process; its job lies in the folder."""
    # -P: the working directory is no place to import from
    return ("-P", "-m", "condiff.stages.ranks_worker", str(folder), str(index), str(os.getpid()))


def environment(index: int, count: int, on_gpu: bool) -> dict[str, str]:
    """What is added for one of ``count`` ranks of a machine: one GPU is all it sees, and cores are shared."""
    added = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if "OMP_NUM_THREADS" not in os.environ:
        added["OMP_NUM_THREADS"] = str(max(1, _num_cores() // count))
    if on_gpu:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(num_gpus("gpu"))))
        seen = visible.split(",")
        added["CUDA_VISIBLE_DEVICES"] = seen[index % len(seen)]  # a scheduler may show each its own alone
    return added


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_gpus(accelerator: str) -> int:
    if accelerator == "cpu":
        return 0
    import torch  # noqa: PLC0415  where one device is enough, a run may need none

    return torch.cuda.device_count()
