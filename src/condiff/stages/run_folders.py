"""What finished runs have left in their folders, read without torch."""

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from condiff.errors import DataError
from condiff.files import read_json
from condiff.reports.redact import redact
from condiff.reports.runs import Run, metric_names
from condiff.stages.stage import LOG, MADE, PER_SAMPLE, PICTURES_MADE, Artifact

METRICS, LEDGER, MANIFEST = "metrics.json", "sweep.json", "manifest.json"
PIPELINE = "pipeline"  # of an export: a folder of diffusers
EXPORTED_ADAPTER = "adapter"  # of an export: a folder with a file or folder for each format
SHARDS = "shards"  # of pictures that were prepared: a folder


def find_runs(given: str | Sequence[str]) -> list[Path]:
    """The run folders that ``runs`` names: themselves, the finished jobs of a sweep, what a pattern matches.

    DataError with a line for each entry that has none, for fewer than two, and for runs without a metric
    in common.
    """
    entries = {"runs": given} if isinstance(given, str) else {f"runs[{k}]": e for k, e in enumerate(given)}
    found: dict[Path, str] = {}
    mistakes = []
    for key, entry in entries.items():
        folders = _finished(entry)
        if not folders:
            mistakes.append(f"{key}: {_why_none(entry)}")
        for folder in folders:
            found.setdefault(folder.resolve(), key)
    if not mistakes and len(found) < 2:
        there = f", got {next(iter(found))} alone" if found else ", got none"
        mistakes.append(f"runs: must name at least two finished runs{there}; give runs=[FOLDER,FOLDER]")
    if mistakes:
        raise DataError(*mistakes)
    _want_common(found)
    return [*found]


def read_run(folder: Path) -> Run:
    """A finished run; DataError where its files cannot be read."""
    try:
        overrides = folder / "overrides.json"
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        run = Run(
            config=redact(config),
            metrics=read_json(folder / METRICS),
            stages=read_json(folder / "stages.json"),
            overrides=redact(read_json(overrides)) if overrides.is_file() else [],
            folder=str(folder),
        )
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = str(error).splitlines()[0]
        raise DataError(f"{folder}: is not the folder of a finished run ({said}); run it again") from error
    if not all(isinstance(part, dict) for part in (run.config, run.metrics, run.stages)):
        raise DataError(f"{folder}: is not the folder of a finished run; run it again")
    return run


def artifacts_of(given: str, key: str) -> dict[str, Artifact]:
    """What the stages of a finished run have made, by their names; DataError where it is there no more."""
    folder, found = Path(given).expanduser(), {}
    if not (folder / "stages.json").is_file():
        raise DataError(
            f"{key}: {_why_none(given) if not folder.is_dir() else f'{given} has no stages.json'};"
            " give the folder of a finished run"
        )
    for name, stage in read_run(folder).stages.items():
        path = Path(str(stage["path"]))
        if not (path / MANIFEST).is_file():
            raise DataError(f"{key}: {path}, the {name} of {given}, is there no more; run the study again")
        found[name] = Artifact(str(stage["key"]), path, read_json(path / MANIFEST))
    return found


def read_log(folder: Path) -> list[dict[str, Any]]:
    """What a run logged, line by line; a line that was cut off is left out."""
    path = folder / LOG
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in rows if isinstance(row, dict)]


def files_of(folder: Path) -> list[str]:
    """Everything of a run that a comparison reads, but for its samples."""
    return [str(folder / name) for name in (METRICS, "config.yaml", "stages.json", "overrides.json", LOG)]


def samples_of(run: Run) -> Path | None:
    """Where the samples of a run are, if it has drawn any and they were not removed."""
    stage = next((run.stages[name] for name in MADE if name in run.stages), None)
    return Path(str(stage["path"])) / PICTURES_MADE if stage else None


def unfinished(folders: Sequence[Path]) -> tuple[list[tuple[str, str]], int]:
    """Of the sweeps that these runs are jobs of: what failed and why, and how many are still to be run."""
    failed, rest = [], 0
    for sweep in dict.fromkeys(folder.parent for folder in folders):
        if not (sweep / LEDGER).is_file():
            continue
        for job in read_json(sweep / LEDGER)["jobs"]:
            if job["status"] == "failed":
                failed.append((" ".join(job["overrides"]), job["error"]))
            rest += job["status"] in ("waiting", "running")
    return failed, rest


def per_sample_of(run: Run) -> Path | None:
    """Where the values per sample of a run are, if it has measured its samples; older ones have none."""
    stage = run.stages.get("metrics")
    return Path(str(stage["path"])) / PER_SAMPLE if stage else None


def _matching(entry: str) -> list[Path]:
    """The folder itself, or those that a pattern matches."""
    path = Path(entry).expanduser()
    return [path] if path.exists() else sorted(map(Path, glob.glob(str(path))), key=_in_run_order)


def _finished(entry: str) -> list[Path]:
    """The run itself; or of a sweep or a pattern those that have measured something, in their order."""
    if not entry.strip():
        return []  # rather than the current folder
    path = Path(entry).expanduser()
    if (path / METRICS).is_file():
        return [path]
    inside = [file for place in _matching(entry) for file in (place / METRICS, *place.glob(f"*/{METRICS}"))]
    runs = (file for file in inside if file.is_file() and (file.parent / "config.yaml").is_file())
    measured = (file for file in runs if file.read_bytes().strip() != b"{}")
    return sorted((file.parent for file in measured), key=_in_run_order)


def _in_run_order(folder: Path) -> tuple[str, int, str]:
    """Job 10 comes after job 9."""
    return str(folder.parent), len(folder.name), folder.name


def _why_none(entry: str) -> str:
    if not entry.strip():
        return "names nothing; give the folder of a finished run, or of a sweep"
    if _matching(entry):
        return f"{entry} has no {METRICS}, nor has a folder in it; give that of a finished run, or of a sweep"
    what = f"nothing matches {entry}" if glob.has_magic(entry) else f"{entry} does not exist"
    return f"{what}; give the folder of a finished run, or of a sweep"


def _want_common(found: dict[Path, str]) -> None:
    """DataError for a run that shares no metric with any other."""
    names = {folder: {*metric_names([read_run(folder)])} for folder in found}
    for folder, own in names.items():
        others = set().union(*(named for other, named in names.items() if other != folder))
        if not own & others:
            measured = ", ".join(sorted(own)) or "no metric"
            raise DataError(
                f"{found[folder]}: {folder} has {measured} and the other runs"
                f" {', '.join(sorted(others)) or 'none'}; give runs that were measured alike"
            )
