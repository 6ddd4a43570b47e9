"""Runs in wandb: one for the study and one for each training; offline where there is no server.

The study's run is what one compares: config, keys of the stages, metrics with their counts and intervals,
samples. A training's is named by its stage and key, so that one that was interrupted goes on with its own
curve, and a study that finds it in the cache points to it.
"""

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from condiff.errors import CondiffError, EnvironmentFault
from condiff.files import digest
from condiff.reports.redact import redact
from condiff.stages.loggers.directions import better
from condiff.stages.loggers.logger import Outcome, Told, Training
from condiff.stages.loggers.wandb_server import PATIENCE, Server, why_offline

log = logging.getLogger(__name__)
FINISH = 15  # seconds for what is not yet uploaded at the end of a run
UPLOAD = 600  # the same where artifacts are uploaded
SYNC = "wandb sync --include-online"  # without it a run that was begun online is skipped
SUMMARIES = {"images_per_second": "mean", "memory_mib": "max", "grad_norm": "max,last"}


class Wandb:
    """Logs to wandb; a server that is not there costs a line and less than 10 seconds, once a process."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        self.settings = redact(dict(settings))
        self.study: Any = None
        self.training: Any = None
        self.metrics: set[str] = set()  # of this training, made known to wandb
        self.said = False  # that it is offline

    def start(self, told: Told) -> None:
        self.told, self.id = told, study_id(told, self.settings["group"])
        config = {**told.config, "commit": told.commit, "stage_keys": dict(told.keys)}
        with self._lost_where():
            self.study = self.open(self.id, told.name, told.job, config)

    def begin(self, training: Training) -> None:
        self.metrics = set()
        own = {"stage": training.stage, "key": training.key, "commit": self.told.commit}
        config = {**training.config, **own, "model": dict(training.model)}
        name = f"{self.told.name}: {training.stage}"
        key = training_id(training.stage, training.key)
        with self._lost_where():
            self.training = self.open(key, name, training.stage, config, training.resumed)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        with self._lost_where():
            for name in [name for name in values if name not in self.metrics]:
                direction = better(name)
                summary = SUMMARIES.get(name) or (direction and f"{direction},last")
                if summary:
                    self.training.define_metric(name, summary=summary)
                self.metrics.add(name)
            self.training.log(dict(values), step=step)

    def picture(self, step: int, path: Path) -> None:
        with self._lost_where():
            self.training.log({"pictures": import_module("wandb").Image(str(path))}, step=step)

    def end(self) -> None:
        self._close("training", 0)

    def result(self, outcome: Outcome) -> None:
        image = import_module("wandb").Image
        with self._lost_where():
            trainings = {stage: training_id(stage, path.name) for stage, path in outcome.trained.items()}
            self.study.config.update({"trainings": trainings})
            self.study.summary.update({**flat(outcome.metrics), **outcome.since})
            if outcome.samples.is_file():
                self.study.log({"samples": image(str(outcome.samples))})
            if self.settings["artifacts"]:
                self._upload(outcome)

    def finish(self, exit_code: int) -> None:
        self._close("training", exit_code)
        self._close("study", exit_code)

    def _upload(self, outcome: Outcome) -> None:
        artifact = import_module("wandb").Artifact
        for stage, folder in outcome.trained.items():
            weights = artifact(training_id(stage, folder.name), type="model")
            weights.add_dir(str(folder))
            self.study.log_artifact(weights)
        page = artifact(f"run-{self.id}", type="run")
        for path in (outcome.report, outcome.samples):
            if path.is_file():
                page.add_file(str(path))
        self.study.log_artifact(page)

    def _close(self, which: str, exit_code: int) -> None:
        """What is not uploaded in time is on the disk, and told."""
        run = getattr(self, which)
        setattr(self, which, None)
        if run is None:
            return
        with self._lost_where():
            try:
                run.finish(exit_code=exit_code)
                if _cut_off(run):
                    log.warning("wandb could not write all of %s; its rows are in log.jsonl", run.name)
            except TimeoutError:
                Server.lost = "wandb no longer answers"
                folder = shlex.quote(str(Path(run.settings.sync_dir).absolute()))
                log.warning("wandb did not take all of %s in time; later: %s %s", run.name, SYNC, folder)

    @contextmanager
    def _lost_where(self) -> Iterator[None]:
        """What wandb does not survive says how to upload what it has written."""
        try:
            yield
        except CondiffError:
            raise
        except Exception as error:
            with suppress(Exception):  # it was found dead, and would be again when the program ends
                import_module("wandb").teardown(exit_code=1)
            what = (str(error).splitlines() or [type(error).__name__])[0]
            raise RuntimeError(f"{what}; what it has, later: {SYNC} {self._runs()}/*run-*") from error

    def _runs(self) -> str:
        return f"{shlex.quote(str(self.told.folder.absolute()))}/wandb"

    def open(self, key: str, name: str, job: str, config: Mapping[str, Any], resumed: bool = False) -> Any:
        """A run under this id, online if that is asked for and can be had."""
        wandb, settings = import_module("wandb"), self.settings  # half a second, and not every run wants it

        def start(mode: str) -> Any:
            return wandb.init(
                mode=mode,
                id=key,
                resume="allow" if resumed and mode == "online" else None,  # else its old curve is replaced
                project=settings["project"],
                entity=settings["entity"],
                group=settings["group"] or self.told.name,
                tags=settings["tags"],
                name=name,
                job_type=job,
                dir=str(self.told.folder),
                config=dict(config),
                settings=_settings(wandb, UPLOAD if settings["artifacts"] else FINISH),
                reinit="create_new",
            )

        why = why_offline(settings["wandb"])
        if why is None:
            try:
                return start("online")
            except wandb.errors.Error as error:
                Server.lost = why = f"wandb takes no run ({(str(error).splitlines() or ['no answer'])[0]})"
                if self.study is not None:
                    raise
                wandb.teardown(exit_code=1)  # it holds the id of the run that was not taken
        if settings["required"] and self.study is None:
            raise EnvironmentFault(f"logger.required: {why}; wandb login, or logger.required=false")
        if settings["wandb"] == "online" or Server.lost:
            self._tell(why)
        return start("offline")

    def _tell(self, why: str) -> None:
        if not self.said:
            log.warning("%s; logged offline, later: wandb sync %s/offline-run-*", why, self._runs())
        self.said = True


def study_id(told: Told, group: str | None) -> str:
    """The same for a study that is run again to the same end; another one in another group."""
    return f"{told.job}-{digest([told.name, group, dict(told.keys)])[:12]}"


def training_id(stage: str, key: str) -> str:
    return f"{stage}-{key}"


def flat(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Each metric's value, count and interval under names of their own."""
    found: dict[str, float] = {}
    for name, metric in metrics.items():
        found |= {name: metric["value"], f"{name}/n": metric["n"]}
        if metric["interval"] is not None:
            found |= {f"{name}/low": metric["interval"][0], f"{name}/high": metric["interval"][1]}
    return found


def _cut_off(run: Any) -> bool:
    """Whether its log tells of records that were not saved, as on a full disk."""
    inside = Path(run.settings.sync_dir) / "logs" / "debug-internal.log"
    return inside.is_file() and "failed to save record" in inside.read_text(errors="replace")


def _settings(wandb: Any, seconds: float) -> Any:
    return wandb.Settings(
        init_timeout=PATIENCE,
        login_timeout=PATIENCE,
        finish_timeout=seconds,
        finish_timeout_raises=True,
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,  # the command line and the machine's paths
    )
