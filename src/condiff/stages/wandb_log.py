"""The same numbers in wandb: offline unless the user is logged in, never asking, never in the way."""

import logging
import netrc
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

log = logging.getLogger(__name__)
PATIENCE = 10  # seconds to reach a server before the run goes on offline
Mode = Literal["auto", "offline", "online", "off"]


class WandbLog:
    """One wandb run; what wandb cannot do is told once, and the study goes on without it."""

    def __init__(self, mode: Mode, project: str, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        self.run: Any = None
        if mode == "off":
            return
        online = mode == "online" or (mode == "auto" and logged_in())
        try:
            wandb = import_module("wandb")  # a second to import, and not every run wants it
            self.run = self._start(wandb, "online" if online else "offline", project, name, folder, config)
        except Exception as error:  # whatever is wrong with wandb, a study does not end for it
            log.warning("wandb is off for this run: %s", str(error).splitlines()[0] if str(error) else error)

    def _start(
        self, wandb: Any, mode: str, project: str, name: str, folder: Path, config: Mapping[str, Any]
    ) -> Any:
        def start(mode: str) -> Any:
            settings = wandb.Settings(
                init_timeout=PATIENCE,
                login_timeout=PATIENCE,
                finish_timeout=60,
                console="off",
                silent=True,
                disable_git=True,
            )
            return wandb.init(
                mode=mode,
                project=project,
                name=name,
                dir=str(folder),
                config=dict(config),
                settings=settings,
                reinit="create_new",
            )

        try:
            return start(mode)
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            log.warning(
                "wandb cannot be reached (%s); this run is logged offline", str(error).splitlines()[0]
            )
            return start("offline")

    def _try(self, do: Callable[[Any], None]) -> None:
        """What fails is told once, and nothing more is sent."""
        if self.run is None:
            return
        try:
            do(self.run)
        except Exception as error:  # whatever is wrong with wandb, a study does not end for it
            log.warning("wandb stopped: %s", error)
            self.run = None

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Each stage counts its own steps."""
        row = {f"{stage}/step": step, **{f"{stage}/{key}": value for key, value in values.items()}}
        self._try(lambda run: run.log(row))

    def stage(self, name: str) -> None:
        self._try(lambda run: run.define_metric(f"{name}/*", step_metric=f"{name}/step"))

    def result(self, metrics: Mapping[str, Mapping[str, Any]], samples: Path) -> None:
        values = {name: metric["value"] for name, metric in metrics.items()}
        self._try(lambda run: run.summary.update(values))
        if samples.is_file():
            self._try(lambda run: run.log({"samples": import_module("wandb").Image(str(samples))}))

    def finish(self, exit_code: int = 0) -> None:
        self._try(lambda run: run.finish(exit_code=exit_code))


def logged_in() -> bool:
    """Whether wandb has a key for its server, without asking it to look."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
