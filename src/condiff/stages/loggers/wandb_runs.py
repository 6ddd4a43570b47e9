"""Runs in wandb: one for the study and one for each training; offline where there is no server.

The study's run is what one compares: config, keys of the stages, metrics with their counts and intervals,
samples. A training's is named by its stage and key, so that one that was interrupted goes on with its own
curve, and a study that finds it in the cache points to it.
"""

import logging
import netrc
import os
import shlex
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from condiff.errors import EnvironmentFault
from condiff.files import digest
from condiff.stages.loggers.directions import better
from condiff.stages.loggers.logger import Outcome, Told, Training

log = logging.getLogger(__name__)
PATIENCE = 7  # seconds to reach a server; with all that wandb does around it less than 10
FINISH = 20  # seconds for what is not yet uploaded at the end of a run
UPLOAD = 600  # the same where artifacts are uploaded
SUMMARIES = {"images_per_second": "mean", "memory_mib": "max", "grad_norm": "max,last"}


class Server:
    """Whether there is one, for the whole process: who did not reach it once does not try again."""

    lost: bool = False


class WandbRuns:
    """Logs to wandb; a server that is not there costs a line and ``PATIENCE`` seconds, once."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        self.settings = settings
        self.study: Any = None
        self.training: Any = None
        self.metrics: set[str] = set()  # of this training, made known to wandb

    def start(self, told: Told) -> None:
        self.told, self.id = told, study_id(told, self.settings["group"])
        trainings = {stage: training_id(stage, key) for stage, key in told.keys.items()}
        config = {**told.config, "commit": told.commit, "stage_keys": dict(told.keys), "runs": trainings}
        self.study = self.open(self.id, told.name, told.job, config)

    def begin(self, training: Training) -> None:
        self.metrics = set()
        own = {"stage": training.stage, "key": training.key, "commit": self.told.commit}
        config = {**training.config, **own, "model": dict(training.model)}
        name = f"{self.told.name}: {training.stage}"
        key = training_id(training.stage, training.key)
        self.training = self.open(key, name, training.stage, config, training.resumed)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name in values.keys() - self.metrics:
            direction = better(name)
            summary = SUMMARIES.get(name) or (direction and f"{direction},last")
            if summary:
                self.training.define_metric(name, summary=summary)
            self.metrics.add(name)
        self.training.log(dict(values), step=step)

    def picture(self, step: int, path: Path) -> None:
        self.training.log({"pictures": import_module("wandb").Image(str(path))}, step=step)

    def end(self, exit_code: int = 0) -> None:
        run, self.training = self.training, None
        close(run, exit_code)

    def result(self, outcome: Outcome) -> None:
        self.study.summary.update(flat(outcome.metrics))
        wandb = import_module("wandb")
        if outcome.samples.is_file():
            self.study.log({"samples": wandb.Image(str(outcome.samples))})
        if not self.settings["artifacts"]:
            return
        for stage, folder in outcome.trained.items():
            weights = wandb.Artifact(training_id(stage, folder.name), type="model")
            weights.add_dir(str(folder))
            self.study.log_artifact(weights)
        page = wandb.Artifact(f"run-{self.id}", type="run")
        for path in (outcome.report, outcome.samples):
            if path.is_file():
                page.add_file(str(path))
        self.study.log_artifact(page)

    def finish(self, exit_code: int) -> None:
        if self.training is not None:
            self.end(exit_code)
        run, self.study = self.study, None
        close(run, exit_code)

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
                Server.lost = True
                why = f"wandb cannot be reached ({(str(error).splitlines() or ['no answer'])[0]})"
        if settings["required"] and job == self.told.job:
            raise EnvironmentFault(
                f"logger.required: {why}; wandb login and try again, or logger.required=false"
            )
        if settings["wandb"] == "online" or Server.lost:
            self._tell(why)
        return start("offline")

    def _tell(self, why: str) -> None:
        if not getattr(self, "said", False):
            runs = Path(shlex.quote(str(self.told.folder.absolute()))) / "wandb"
            log.warning(
                "%s; logged offline, to be uploaded later with: wandb sync %s/offline-run-*", why, runs
            )
        self.said = True


def why_offline(mode: str) -> str | None:
    """Why a run is not to be online, or None."""
    asked = os.environ.get("WANDB_MODE") if mode == "auto" else mode
    if asked in ("offline", "disabled", "dryrun"):
        return f"wandb is {asked}"
    if Server.lost:
        return "wandb could not be reached before"
    return None if logged_in() else "wandb has no login"


def close(run: Any, exit_code: int) -> None:
    """The end of a run; what is not uploaded in time is on the disk, and told."""
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        Server.lost = True
        folder = shlex.quote(str(Path(run.settings.sync_dir).absolute()))
        log.warning("wandb did not take all of %s in time; later: wandb sync %s", run.name, folder)


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


def logged_in() -> bool:
    """Whether wandb has a key for its server, without asking it to look."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


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
