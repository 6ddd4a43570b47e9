"""From a validated config to a run folder."""

import importlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from condiff.config.build import build
from condiff.config.kinds import objects
from condiff.config.needed_stages import JUDGED, WITHOUT_LABELS
from condiff.config.nodes import attribute, class_of
from condiff.config.origins import draws
from condiff.config.text_rules import classes_are_known, reads_label, reads_text
from condiff.data.source import DataInfo
from condiff.errors import ConfigError, DataError
from condiff.files import digest, write_json, written_whole
from condiff.interrupts import Interrupted, Interrupts
from condiff.reports.comparison_page import PAGE
from condiff.reports.html import render
from condiff.reports.redact import redact
from condiff.reports.tables import metrics_table, palette_for, stage_tree
from condiff.stages.cache import Cache
from condiff.stages.drawn import drawn_report, leave
from condiff.stages.environment import commit
from condiff.stages.failures import Failures
from condiff.stages.given import first_stage_fits, hints_are_there
from condiff.stages.left import leave_of_tasks
from condiff.stages.loggers.choose import chosen_loggers
from condiff.stages.loggers.logger import Loggers, Outcome, Told, Training
from condiff.stages.obedience import drawn_as_watched, rows_of, since
from condiff.stages.outside import DATA
from condiff.stages.ranks import check_devices, where
from condiff.stages.report import log_rows, metrics_in, report, row, samples_grid
from condiff.stages.run_folders import artifacts_of, find_runs
from condiff.stages.run_log import log_failure, open_log
from condiff.stages.stage import LOG, MADE, Artifact, Runtime
from condiff.stages.study import Step, plan, run
from condiff.stages.taken import taken

Config = Mapping[str, Any]
MEASURING = ("metrics", "evaluation", "statistics")
PLACE = (  # keys of ``runtime`` that a stage is told
    *("accelerator", "attention", "devices", "strategy", "rank_timeout", "rank_pause"),
    *("num_workers", "sample_batch", "sample_compile", "checkpoint_seconds"),
)
NETWORKS = (*JUDGED, "clip", "distance", "sentence_encoder")  # what a metric may be given to look through


def run_study(
    cfg: Config,
    folder: Path,
    interrupts: Interrupts,
    overrides: Sequence[str] = (),
    command: str = "",
    failures: Path | None = None,
) -> None:
    """Run the stages of a study and leave ``folder`` as a run leaves it.

    ``overrides`` are what the command line said of this run and ``command`` runs it alone, for those who
    read it later; ``failures`` is where a sweep remembers the stages that failed. Whatever goes wrong stands
    in its run.log, also what is found before the first stage.
    """
    open_log(folder)
    try:
        _run(cfg, folder, interrupts, overrides, command, Failures(failures, folder.name))
    except Interrupted:
        raise
    except BaseException as error:
        log_failure(error)
        raise


def _run(
    cfg: Config,
    folder: Path,
    interrupts: Interrupts,
    overrides: Sequence[str],
    command: str,
    failures: Failures,
) -> None:
    check_devices(cfg["runtime"])
    cache, steps = _planned(cfg)
    with written_whole(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(redact(dict(cfg)), sort_keys=False, allow_unicode=True))
    write_json(folder / "overrides.json", redact(list(overrides)))
    print(stage_tree(cfg["name"], [row(step, None) for step in steps], palette_for(sys.stdout)), flush=True)
    devices = where(cfg["runtime"])
    if devices and any(step.stage.is_shared and step.status != "cached" for step in steps):
        print(devices, flush=True)
    loggers = chosen_loggers(cfg["logger"])
    keys = {step.stage.name: step.key for step in steps}
    loggers.start(Told(cfg["name"], _job(cfg["stages"]), folder, redact(dict(cfg)), keys, commit()))
    done: dict[str, Artifact] = {}
    try:
        runtime = replace(_runtime(cfg, cache, interrupts, loggers, steps, done), failures=failures)
        run(steps, cfg, cache, runtime, done)
        metrics = _leave(folder, cfg, steps, done, command)
        loggers.result(_outcome(folder, cfg, metrics, done))
    except BaseException:
        loggers.finish(exit_code=1)
        raise
    loggers.finish(exit_code=0)


def _runtime(
    cfg: Config,
    cache: Cache,
    interrupts: Interrupts,
    loggers: Loggers,
    steps: Sequence[Step],
    done: Mapping[str, Artifact],
) -> Runtime:
    """What a stage is run with: where, who hears of it, and what is looked at meanwhile."""
    settings = cfg["runtime"]
    plain = Runtime(
        **{name: settings[name] for name in PLACE},
        began=lambda stage, model: loggers.begin(_training(steps, stage, model)),
        log=lambda _, step, values: loggers.scalars(step, values),
        shown=lambda _, step, path: loggers.picture(step, path),
        ended=lambda _: loggers.end(),
        interrupts=interrupts,
        fetch=(cfg["data"] or {}).get("fetch") or (cfg["base_data"] or {}).get("fetch"),
        statistics=cache.root / "moments",
    )
    new = {step.stage.name for step in steps if step.status != "cached"}
    watched = plain
    if {"denoiser", "adapter"} & new and (cfg["metrics"] or {}).get("every"):
        watched = replace(plain, watch=_watch().Watch(cfg, done, plain))
    every = cfg["logger"]["pictures_every"]
    if {"denoiser", "autoencoder", "adapter"} & new and every != 0:
        watched = replace(watched, pictures=_watch().Pictures(cfg, done, plain, every))
    return watched


def _watch() -> Any:
    return importlib.import_module("condiff.stages.watch")  # torch, which a cached run does without


def _training(steps: Sequence[Step], stage: str, model: Mapping[str, Any]) -> Training:
    (step,) = (step for step in steps if step.stage.name == stage)
    return Training(stage, step.key, step.status == "resumed", redact(step.identity["config"]), model)


def _outcome(folder: Path, cfg: Config, metrics: Mapping[str, Any], done: Mapping[str, Artifact]) -> Outcome:
    trained = {
        name: item.path for name, item in done.items() if (item.path / "weights.safetensors").is_file()
    }
    watched = "adapter" in done and drawn_as_watched(cfg["adapter"])
    obeyed = since(rows_of(done["adapter"].path / LOG)) if watched else {}
    return Outcome(metrics, folder / "samples.png", folder / "report.html", trained, obeyed)


def _job(stages: Sequence[str]) -> str:
    """What kind of run it is: a study, or a task with pictures that are there already."""
    return next((task for task in ("evaluation", "statistics") if task in stages), "study")


def rehearse_if_new(cfg: Config, info: DataInfo | None) -> None:
    """Find what cannot be sampled before any job starts, or which adapters do not fit a finished run, whose
    info is None; torch is imported if there is something to draw.
    """
    _, steps = _planned(cfg)
    is_new = any(step.stage.name == "samples" and step.status != "cached" for step in steps)
    made = {step.stage.name: step.artifact for step in steps if step.artifact is not None}
    if is_new and info is not None:
        importlib.import_module("condiff.stages.rehearsal").rehearse(cfg, info, made.get("denoiser"))
    elif is_new and cfg["adapters"]:
        importlib.import_module("condiff.stages.adapters_fit").of_run(cfg, made)


def planned_keys(cfg: Config) -> dict[str, str]:
    """The key of each stage's artifact, whether it is there or not."""
    return {step.stage.name: step.key for step in _planned(cfg)[1]}


def _planned(cfg: Config) -> tuple[Cache, list[Step]]:
    settings = cfg["runtime"]
    cache = Cache(Path(settings["cache"]).absolute(), settings["lock_timeout"])
    return cache, plan(cfg, cache, settings["stale"], taken(cfg, cache))


def fits(cfg: Config, info: DataInfo) -> None:
    """Refuse data that the stages of a study cannot work with; DataError or ConfigError."""
    if cfg["conditioner"] and reads_text(cfg) and not info.has_text:
        other = "one for all, data.caption='...'" if "caption" in cfg["data"] else "use data=shapes"
        raise ConfigError(
            f"conditioner: {class_of(cfg['conditioner'])} needs captions, and data is"
            f" {class_of(cfg['data'])}, which has none; give them, in metadata.jsonl or files .txt beside the"
            f" pictures, or {other}"
        )
    if not info.num_classes and "denoiser" in cfg["stages"] and reads_label(cfg):
        raise DataError(f"data: has no labels, which this study needs; {info.source}")
    if info.unseen and "denoiser" in cfg["stages"] and reads_label(cfg):
        raise ConfigError(
            f"conditioner: reads classes, and {len(info.unseen)} of {info.num_classes} are in no training"
            f" picture, {info.unseen[0]} for one; use data.unseen_kinds=0, or conditioner=text"
        )
    if not info.num_classes and "judge" in cfg["stages"]:
        raise DataError(f"data: has no labels, which the judge needs; {info.source}; {WITHOUT_LABELS}")
    least = 2 if {"judge", "metrics"} & {*cfg["stages"]} else 1
    if info.num_held_out < least:
        own = ", by a larger data.held_out" if "held_out" in cfg["data"] else ""
        raise DataError(f"data: pictures held out: {info.num_held_out}, at least {least} are needed{own}")
    if "metrics" in cfg["stages"] and cfg["num_samples"] < 2:
        raise ConfigError(f"num_samples: must be at least 2 to be measured, got {cfg['num_samples']}")
    if cfg["conditioner"] and attribute(cfg["conditioner"], "needs_source") and not info.has_source:
        raise ConfigError(
            f"conditioner: {class_of(cfg['conditioner'])} needs pictures that were made from others, and data"
            f" is {class_of(cfg['data'])}; use data=edits, or conditioner=label"
        )
    hints_are_there(cfg, cfg["stages"], info)
    first_stage_fits(cfg, info)
    unknown = [*classes_are_known(cfg, info.num_classes)]
    if unknown:
        raise ConfigError(*unknown)


def can_be_measured(cfg: Config, seen: set[str]) -> None:
    """Find what a metric or a loss lacks before anything is trained: weights, statistics, pictures.

    ``seen`` are the networks that other runs of the sweep have built.
    """
    if cfg["runs"] is not None:
        find_runs(cfg["runs"])
    if cfg["from"] is not None and not draws(cfg):
        artifacts_of(cfg["from"], "from")
    ahead = {step.stage.name for step in _planned(cfg)[1] if step.status != "cached"}
    looked: dict[str, Any] = {}
    if ahead & {*MEASURING}:
        _pictures_are_there(cfg)
        if cfg["adapters"] and "metrics" in ahead:
            importlib.import_module("condiff.stages.given_controls").can_be_compared(cfg)
        looked |= {f"metrics.{name}": metric for name, metric in cfg["metrics"].items()}
    if "autoencoder" in ahead:
        looked["autoencoder.method"] = cfg["autoencoder"]["method"]
    for place, given in looked.items():
        for path, node in objects(given, place):
            if path.rpartition(".")[2] in NETWORKS and digest(node) not in seen:
                build(node, path)
                seen.add(digest(node))
            if node.get("statistics") is not None:
                importlib.import_module("condiff.stages.statistics").find(node["statistics"], path)


def _pictures_are_there(cfg: Config) -> None:
    for key in ("images", "reference"):
        given = cfg[key]
        if given is not None and given != DATA and not Path(given).expanduser().exists():
            raise DataError(
                f"{key}: {given} does not exist; give a folder of pictures, an .npz, or a finished run"
            )
        if given is not None:
            importlib.import_module("condiff.stages.reference").find(given, key)


def command_line(argv: Sequence[str]) -> str:
    """The command that was given, without secrets, to be shown and to be given again."""
    return shlex.join(redact(["python", *argv]))


def _leave(
    folder: Path, cfg: Config, steps: Sequence[Step], done: Mapping[str, Artifact], command: str
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
    if draws(cfg):
        leave(cfg, done, folder)
    elif any(stage in done for stage in MADE):
        with written_whole(folder / "samples.png") as temporary:
            samples_grid(done).save(temporary, format="PNG")
    leave_of_tasks(folder, done, cfg["runtime"])
    told = drawn_report if draws(cfg) else report
    page = render(told(cfg, command, steps, done))
    with written_whole(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"\n{metrics_table(metrics, palette_for(sys.stdout))}\n" if metrics else "")
    made = f"comparison: {folder / PAGE}" if "comparison" in done else f"report: {folder / 'report.html'}"
    print(made, flush=True)
    return metrics
