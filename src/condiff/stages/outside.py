"""What a config names that lies outside the project, by its content; asked for before anything runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from condiff.config.kinds import objects
from condiff.data.memo import shared
from condiff.files import digest, file_digest
from condiff.hub import revision_file
from condiff.reports.comparison_page import script
from condiff.stages.run_folders import files_of, find_runs, per_sample_of, read_run, samples_of, unfinished
from condiff.stages.stage import Config

_GIVEN = ("path", "statistics")  # arguments of a metric, or of what it looks through, that name files
DATA = "data"  # a reference that is the study's own data


def of_metrics(cfg: Config, cache: Path) -> str | None:
    """The weights and statistics that metrics are given."""
    nodes = [node for _, node in objects(cfg["metrics"], "metrics")]
    named = [node.get(key) for node in nodes for key in _GIVEN]
    named += [
        str(revision_file(node["model"])) for node in nodes if node.get("model") and not node.get("path")
    ]
    return content([name for name in named if isinstance(name, str)], cache)


def of_statistics(cfg: Config, cache: Path) -> str:
    """The pictures whose statistics are taken, too; the study's own data have a key of their own."""
    named = [] if cfg["reference"] == DATA else [cfg["reference"]]
    return digest([content(named, cache), of_metrics(cfg, cache)])


def of_evaluation(cfg: Config, cache: Path) -> str:
    """The pictures to be measured and those they are compared with, too."""
    return digest([content([cfg["images"]], cache), of_statistics(cfg, cache)])


def of_runs(cfg: Config, cache: Path) -> str:
    """What the runs to be compared have left, whether their samples are still there, and the script."""
    folders = find_runs(cfg["runs"])
    runs = [read_run(folder) for folder in folders]
    samples = [path for run in runs for path in (samples_of(run), per_sample_of(run))]
    there = [None if path is None else path.is_file() for path in samples]
    left = content([file for folder in folders for file in files_of(folder)], cache)
    return digest([[str(folder) for folder in folders], left, there, unfinished(folders), script()])


def of_run(cfg: Config, cache: Path) -> str | None:
    """What a run has left in its folder."""
    return content(files_of(Path(cfg["from"]).expanduser()), cache)


def content(names: list[Any], cache: Path) -> str | None:
    """A hash of all files that are named, or lie in a folder that is; None without any."""
    if not names:
        return None
    files = [file for name in sorted({*names}) for file in _files(Path(name).expanduser())]
    memo, folder = shared("outside 1"), cache / "fingerprints"
    found = memo.look(files, _digest, "reading", folder)
    if any(found):  # what is not there leaves nothing behind
        memo.save(folder)
    return digest([[str(file), found_there] for file, found_there in zip(files, found, strict=True)])


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or every file of a folder that is not hidden."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    hidden = (any(part.startswith(".") for part in file.relative_to(path).parts) for file in inside)
    yield from (file for file, is_hidden in zip(inside, hidden, strict=True) if not is_hidden)


def _digest(path: Path) -> str:
    """Empty for what cannot be read: whoever reads it next tells."""
    try:
        return file_digest(path)
    except OSError:
        return ""
