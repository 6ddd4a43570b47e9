"""Where the jobs of a sweep run: here, in processes of their own, on SLURM, on Ray.

Jobs that need the same stage at the same time make it once: the cache's locks see to that.
"""

import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from condiff.errors import ConfigError, EnvironmentFault
from condiff.interrupts import Interrupts
from condiff.ranges import Count, Natural, checked
from condiff.sweeps.job import Job, Outcome, outcome_of, run_job
from condiff.sweeps.processes import begun, death, share, stop, watched

LOOK = 0.05  # seconds between looks at whether a job has ended
# States of a job that SLURM ends with all its processes, by SIGKILL at last, and submitit's of a killed one.
KILLED = ("OUT_OF_ME", "TIMEOUT", "CANCELLED", "PREEMPTED", "NODE_FAIL", "DEADLINE", "INTERRUPTED")
Death = tuple[str, int]  # how a job ended that left no outcome, and its exit code as a shell tells it


class Watcher(Protocol):
    """Is told how the jobs fare, by their places."""

    def started(self, place: int) -> None: ...

    def ended(self, place: int, outcome: Outcome) -> None: ...


class Launcher(Protocol):
    parallel: int  # jobs at once
    is_apart: bool  # whether what they print goes to files

    def check(self) -> None:
        """Find before anything is made that no job can be started; ConfigError or EnvironmentFault."""
        ...

    def __call__(self, jobs: Sequence[Job], watcher: Watcher, interrupts: Interrupts) -> None:
        """Run every job; Interrupted stops them all."""
        ...


class InProcess:
    """One after another in this process: loaded models stay for the next job."""

    parallel = 1
    is_apart = False

    def check(self) -> None:
        """This process runs."""

    def __call__(self, jobs: Sequence[Job], watcher: Watcher, interrupts: Interrupts) -> None:
        for place, job in enumerate(jobs):
            watcher.started(place)
            watcher.ended(place, run_job(job, interrupts))


class Processes:
    """Each in a process of its own, ``parallel`` at once; each with its own GPUs if there are enough."""

    is_apart = True

    @checked
    def __init__(self, parallel: Count = 1) -> None:
        self.parallel = parallel

    def check(self) -> None:
        """A process can be started."""

    def __call__(self, jobs: Sequence[Job], watcher: Watcher, interrupts: Interrupts) -> None:
        waiting, free = deque(enumerate(jobs)), list(range(self.parallel))
        running: dict[int, tuple[subprocess.Popen[str], int]] = {}
        try:
            while waiting or running:
                while waiting and free:
                    place, job = waiting.popleft()
                    slot = free.pop(0)
                    watcher.started(place)
                    running[place] = (begun(job, share(slot, self.parallel, job)), slot)
                for place, (process, slot) in [*running.items()]:
                    if process.poll() is not None:
                        del running[place]
                        free.append(slot)
                        watcher.ended(place, outcome_of(jobs[place], *death(process.returncode)))
                time.sleep(LOOK)
        finally:
            stop([process for process, _ in running.values()])


class Slurm:
    """Each as a job of SLURM, through submitit; ``cluster=local`` runs them on this machine instead.

    minutes: wall-clock limit of a job. gpus, cpus, memory_gb: of a job. parallel: jobs at once.
    """

    is_apart = True

    @checked
    def __init__(
        self,
        cluster: Literal["slurm", "local"] = "slurm",
        parallel: Count = 32,
        partition: str | None = None,
        minutes: Count = 240,
        gpus: Natural = 1,
        cpus: Count = 8,
        memory_gb: Count = 32,
    ) -> None:
        self.cluster, self.parallel, self.partition = cluster, parallel, partition
        self.settings = {
            "timeout_min": minutes,
            "gpus_per_node": gpus,
            "cpus_per_task": cpus,
            "mem_gb": memory_gb,
            "tasks_per_node": 1,
            "nodes": 1,
        }

    def check(self) -> None:
        _want_installed("submitit", "slurm")
        lacking = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
        if self.cluster == "slurm" and lacking:
            raise ConfigError(
                f"hydra/launcher=slurm: {' and '.join(lacking)} were not found on this machine;"
                " use hydra/launcher=processes, or submitit's own processes, hydra.launcher.cluster=local"
            )

    def __call__(self, jobs: Sequence[Job], watcher: Watcher, interrupts: Interrupts) -> None:
        self.check()
        submitit = import_module("submitit")
        logs = Path(jobs[0].folder).parent / ".submitit"
        executor = submitit.AutoExecutor(logs, cluster=self.cluster)
        executor.update_parameters(name="condiff", **self.settings)
        if self.cluster == "slurm":
            executor.update_parameters(slurm_partition=self.partition, slurm_array_parallelism=self.parallel)
        at_once = self.parallel if self.cluster == "local" else len(jobs)

        def begin(job: Job) -> Any:
            return executor.submit(watched, job)

        def ending(handle: Any) -> Death | None:
            if not handle.done():
                return None
            code = 137 if handle.state.startswith(KILLED) else 1
            return f"the job {handle.job_id} ended as {handle.state}", code

        _followed(jobs, watcher, at_once, begin, ending, lambda handle: handle.cancel(check=False))


class Ray:
    """Each as a task of Ray, ``parallel`` at once if it has room for them; cpus and gpus are a job's."""

    is_apart = True

    @checked
    def __init__(
        self, address: str | None = None, parallel: Count = 8, cpus: Count = 1, gpus: Natural = 0
    ) -> None:
        self.address, self.parallel, self.cpus, self.gpus = address, parallel, cpus, gpus

    def check(self) -> None:
        _want_installed("ray", "ray")

    def __call__(self, jobs: Sequence[Job], watcher: Watcher, interrupts: Interrupts) -> None:
        self.check()
        ray = import_module("ray")
        ray.init(address=self.address, include_dashboard=False, log_to_driver=False)
        # a worker a task: what a job has allocated goes with it, and no task is tried twice in silence
        how = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": 0, "max_calls": 1}
        task = ray.remote(**how)(watched)

        def ending(handle: Any) -> Death | None:
            if not ray.wait([handle], timeout=0)[0]:
                return None
            try:
                ray.get(handle)
            except Exception as error:  # whatever Ray calls the death of a worker
                code = 137 if isinstance(error, ray.exceptions.OutOfMemoryError) else 1  # Ray killed it
                return f"Ray says: {str(error).splitlines()[0]}", code
            return "the task ended", 1

        try:
            _followed(jobs, watcher, self.parallel, task.remote, ending, ray.cancel)
        finally:
            ray.shutdown()


def _followed(
    jobs: Sequence[Job],
    watcher: Watcher,
    at_once: int,
    begin: Callable[[Job], Any],
    ending: Callable[[Any], Death | None],  # None while it runs
    cancel: Callable[[Any], object],
) -> None:
    """Hand the jobs to a scheduler and look after them until the last has ended."""
    waiting, running = deque(enumerate(jobs)), dict[int, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                place, job = waiting.popleft()
                watcher.started(place)
                running[place] = begin(job)
            for place, handle in [*running.items()]:
                end = ending(handle)
                if end is not None:
                    del running[place]
                    watcher.ended(place, outcome_of(jobs[place], *end))
            time.sleep(LOOK)
    finally:
        for handle in running.values():
            with suppress(Exception):  # a scheduler that cannot be asked is no reason to hide the first fault
                cancel(handle)


def _want_installed(library: str, launcher: str) -> None:
    if find_spec(library) is None:
        raise EnvironmentFault(
            f'hydra/launcher={launcher}: {library} is not installed; pip install -e ".[{launcher}]"'
        )
