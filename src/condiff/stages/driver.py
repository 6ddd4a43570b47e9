"""From a validated config to a run folder."""

import importlib
import json
import logging
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from condiff.config.build import build
from condiff.config.kinds import objects
from condiff.config.needed_stages import JUDGED
from condiff.config.nodes import attribute, class_of
from condiff.data.source import DataInfo
from condiff.errors import CondiffError, ConfigError, DataError, EnvironmentFault, fault
from condiff.files import digest, write_json, written_whole
from condiff.interrupts import Interrupts
from condiff.reports.html import render
from condiff.reports.redact import redact
from condiff.reports.tables import metrics_table, palette_for, stage_tree
from condiff.stages.cache import Cache
from condiff.stages.outside import DATA
from condiff.stages.ranks import where
from condiff.stages.report import log_rows, metrics_in, report, row, samples_grid
from condiff.stages.stage import Artifact, Runtime
from condiff.stages.study import Step, plan, run
from condiff.stages.wandb_log import WandbLog

log = logging.getLogger("condiff")
Config = Mapping[str, Any]
MEASURING = ("metrics", "evaluation", "statistics")
NETWORKS = (*JUDGED, "clip", "distance")  # what a metric may be given to look through


def run_study(
    cfg: Config, folder: Path, interrupts: Interrupts, overrides: Sequence[str] = ()
) -> dict[str, float]:
    """Run the stages of a study and leave ``folder`` as a run leaves it; the values of its metrics.

    ``overrides`` are what the command line said of this run, for those who read it later.
    """
    settings = cfg["runtime"]
    cache, steps = _planned(cfg)
    _open(folder)
    with written_whole(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(redact(dict(cfg)), sort_keys=False, allow_unicode=True))
    write_json(folder / "overrides.json", redact(list(overrides)))
    print(stage_tree(cfg["name"], [row(step, None) for step in steps], palette_for(sys.stdout)), flush=True)
    if any(step.stage.is_shared and step.status != "cached" for step in steps) and where(settings):
        print(where(settings), flush=True)
    wandb = WandbLog(cfg["logger"]["wandb"], cfg["logger"]["project"], cfg["name"], folder, redact(dict(cfg)))
    for step in steps:
        wandb.stage(step.stage.name)
    live = folder / "log.jsonl"
    live.write_text("", encoding="utf-8")

    def tell(stage: str, step: int, values: dict[str, float]) -> None:
        with live.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")
        wandb.scalars(stage, step, values)

    runtime = Runtime(
        accelerator=settings["accelerator"],
        devices=settings["devices"],
        rank_timeout=settings["rank_timeout"],
        num_workers=settings["num_workers"],
        checkpoint_seconds=settings["checkpoint_seconds"],
        log=tell,
        interrupts=interrupts,
        statistics=cache.root / "moments",
    )
    done: dict[str, Artifact] = {}
    trains = any(step.stage.name == "denoiser" and step.status != "cached" for step in steps)
    if trains and (cfg["metrics"] or {}).get("every"):
        watch = importlib.import_module("condiff.stages.watch")
        runtime = replace(runtime, watch=watch.Watch(cfg, done, runtime))
    try:
        run(steps, cfg, cache, runtime, done)
        metrics = _leave(folder, cfg, steps, done)
    except BaseException as error:
        unknown = not isinstance(error, CondiffError) or hasattr(error, "__notes__")  # from another process
        if isinstance(error, Exception) and unknown:
            _in_file_only("the run failed", error)
        wandb.finish(exit_code=1)
        raise
    wandb.result(metrics, folder / "samples.png")
    wandb.finish()
    return {name: metric["value"] for name, metric in metrics.items()}


def rehearse_if_new(cfg: Config, info: DataInfo) -> None:
    """Find what cannot be sampled before any job starts; torch is imported if there is something to draw."""
    _, steps = _planned(cfg)
    if any(step.stage.name == "samples" and step.status != "cached" for step in steps):
        importlib.import_module("condiff.stages.rehearsal").rehearse(cfg, info)


def _planned(cfg: Config) -> tuple[Cache, list[Step]]:
    settings = cfg["runtime"]
    cache = Cache(Path(settings["cache"]).absolute(), settings["lock_timeout"])
    return cache, plan(cfg, cache, settings["stale"])


def fits(cfg: Config, info: DataInfo) -> None:
    """Refuse data that the stages of a study cannot work with; DataError or ConfigError."""
    if not info.num_classes and {"judge", "denoiser"} & {*cfg["stages"]}:
        raise DataError(f"data: has no labels, which this study needs; {info.source}")
    if info.num_held_out < 2:
        raise DataError(
            f"data: {info.num_held_out} held-out pictures are too few to compare with; hold out at least 2"
        )
    if "metrics" in cfg["stages"] and cfg["num_samples"] < 2:
        raise ConfigError(f"num_samples: must be at least 2 to be measured, got {cfg['num_samples']}")
    if cfg["conditioner"] and attribute(cfg["conditioner"], "needs_source") and not info.has_source:
        raise ConfigError(
            f"conditioner: {class_of(cfg['conditioner'])} needs pictures that were made from others, and data"
            f" is {class_of(cfg['data'])}; use data=edits, or conditioner=label"
        )
    _asks_for_known_classes(cfg, info.num_classes)


def can_be_measured(cfg: Config, seen: set[str]) -> None:
    """Find what a metric lacks before anything is trained: weights, statistics or pictures; else ConfigError.

    ``seen`` are the networks that other runs of the sweep have built.
    """
    measuring = [step for step in _planned(cfg)[1] if step.stage.name in MEASURING]
    if all(step.status == "cached" for step in measuring):
        return
    for key in ("images", "reference"):
        given = cfg[key]
        if given is not None and given != DATA and not Path(given).expanduser().exists():
            raise DataError(
                f"{key}: {given} does not exist; give a folder of pictures, an .npz, or a finished run"
            )
        if given is not None:
            importlib.import_module("condiff.stages.reference").find(given, key)
    for name, metric in cfg["metrics"].items():
        for path, node in objects(metric, f"metrics.{name}"):
            if path.rpartition(".")[2] in NETWORKS and digest(node) not in seen:
                build(node, path)
                seen.add(digest(node))
            if node.get("statistics") is not None:
                importlib.import_module("condiff.stages.statistics").find(node["statistics"], path)


def _asks_for_known_classes(cfg: Config, num_classes: int) -> None:
    """A guidance by other classes than a sample's own names classes that the data has."""
    wrong = [
        f"{path}.{key}: must be in 0..{num_classes - 1}, the classes of the data, got {label}"
        for path, node in objects(cfg["guidance"], "guidance")
        for key in ("label", "labels")
        for label in (node[key] if isinstance(node.get(key), list) else [node.get(key)])
        if label is not None and label >= num_classes
    ]
    if wrong:
        raise ConfigError(*wrong)


def failed(error: BaseException) -> tuple[int, str]:
    """Exit code and the lines for stderr."""
    told = fault(error)
    return told.exit_code, str(told)


def command_line(argv: Sequence[str]) -> str:
    """The command that was given, without secrets, to be shown and to be given again."""
    return shlex.join(redact(["python", *argv]))


def _open(folder: Path) -> None:
    """The run folder, and a log file in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(folder / "run.log", encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"hydra.run.dir: {folder} cannot be written to ({error.strerror})") from error
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for old in log.handlers[:]:
        log.removeHandler(old)
        old.close()
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [file, console]
    log.setLevel(logging.INFO)
    log.propagate = False


def _in_file_only(what: str, error: Exception) -> None:
    """A traceback for run.log; the terminal gets a line of its own."""
    for handler in log.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(
                log.makeRecord(
                    log.name, logging.ERROR, "", 0, what, (), (type(error), error, error.__traceback__)
                )
            )


def _leave(
    folder: Path, cfg: Config, steps: Sequence[Step], done: Mapping[str, Artifact]
) -> dict[str, dict[str, Any]]:
    """Everything a run folder holds, each file whole."""
    stages = {
        step.stage.name: {
            "key": step.key,
            "path": str(done[step.stage.name].path),
            "status": step.status,
            "seconds": round(step.seconds, 2),
        }
        for step in steps
    }
    write_json(folder / "stages.json", stages)
    with written_whole(folder / "log.jsonl") as temporary:  # with what cached stages logged when they ran
        temporary.write_text("".join(json.dumps(line) + "\n" for line in log_rows(done)), encoding="utf-8")
    metrics = metrics_in(done)
    write_json(folder / "metrics.json", metrics)
    if "samples" in done:
        with written_whole(folder / "samples.png") as temporary:
            samples_grid(done).save(temporary, format="PNG")
    for file in sorted(done["statistics"].path.glob("*.npz")) if "statistics" in done else ():
        shutil.copyfile(file, folder / file.name)
        print(f"statistics: {folder / file.name}")
    page = render(report(cfg, command_line(sys.argv), steps, done))
    with written_whole(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"\n{metrics_table(metrics, palette_for(sys.stdout))}\n" if metrics else "")
    print(f"report: {folder / 'report.html'}", flush=True)
    return metrics
