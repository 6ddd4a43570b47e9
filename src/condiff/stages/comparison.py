"""One page over finished runs: of a sweep once its jobs have ended, or of any that are named."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from condiff.config.nodes import attribute
from condiff.files import written_whole
from condiff.reports.comparison import Comparison, Losses
from condiff.reports.comparison_losses import loss_plots
from condiff.reports.comparison_maps import maps
from condiff.reports.comparison_page import PAGE, render
from condiff.reports.comparison_plots import metric_plots
from condiff.reports.comparison_results import results
from condiff.reports.comparison_trade_offs import trade_off_plots
from condiff.reports.runs import Run, metric_names
from condiff.stages.choices import with_choices
from condiff.stages.paired_samples import pairs_of
from condiff.stages.run_folders import METRICS, find_runs, read_log, read_run, unfinished
from condiff.stages.same_noise import pictures_of
from condiff.stages.stage import Artifact, Config, Runtime

FIGURES, TABLE = "figures", "results.csv"
_SAFE = r"[\w./*?@%+-]*"
_PLAIN = re.compile(rf"(?!(?:null|true|false|nan|inf)$)(?:[A-Z]|{_SAFE}/){_SAFE}", re.ASCII | re.IGNORECASE)


def compare(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """The work of ``task=compare``."""
    given = [cfg["runs"]] if isinstance(cfg["runs"], str) else cfg["runs"]
    words = ",".join(map(_word, given))
    command = shlex.join(["python", "run.py", "task=compare", f"runs=[{words}]"])
    folders = find_runs(given)
    failed, rest = unfinished(folders)
    notes = [f"{rest} jobs of the sweeps here had not ended; they are left out."] if rest else []
    write_comparison(folders, out, cfg["name"], cfg["question"], command, failed, notes)


def write_comparison(
    folders: Sequence[Path],
    out: Path,
    title: str,
    question: str,
    command: str,
    failed: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> Path | None:
    """``comparison.html``, ``results.csv`` and ``figures/`` in ``out``; the page, or None without two runs.

    folders: of runs, in the order of a reader; those that have not finished are left out.
    failed: the overrides of jobs that failed, and the first line of what was wrong.
    notes: what else there is to tell of the runs, a sentence each.
    """
    runs, again = once([with_choices(read_run(folder)) for folder in folders if (folder / METRICS).is_file()])
    if len(runs) < 2 or not metric_names(runs):
        return None
    comparison = comparison_of(runs, title, question, command, failed)
    if again:
        what = "1 run has" if again == 1 else f"{again} runs have"
        notes = [*notes, f"{what} the very samples and metrics of another one here, and counts once with it."]
    comparison = replace(comparison, notes=[*comparison.notes, *notes])
    curves = [*maps(comparison), *metric_plots(comparison)]
    plots = [trade_off_plots(comparison), curves, loss_plots(comparison)]
    out.mkdir(parents=True, exist_ok=True)
    (out / FIGURES).mkdir(exist_ok=True)
    for plot in (plot for some in plots for plot in some):
        _write(out / FIGURES / f"{plot.name}.png", plot.png)
        _write(out / FIGURES / f"{plot.name}.svg", plot.svg.encode())
    _write(out / TABLE, results(comparison).encode())
    _write(out / PAGE, render(comparison, *plots).encode())
    return out / PAGE


def once(runs: Sequence[Run]) -> tuple[list[Run], int]:
    """The runs without those that found another's metrics in the cache, and how many of these there are.

    Two folders of one result are no two seeds, and have no spread.
    """
    kept: dict[str, Run] = {}
    for place, run in enumerate(runs):
        measured = run.stages.get("metrics") or run.stages.get("evaluation") or {}
        kept.setdefault(str(measured.get("key", place)), run)
    return [*kept.values()], len(runs) - len(kept)


def comparison_of(
    runs: Sequence[Run], title: str, question: str, command: str, failed: Sequence[tuple[str, str]] = ()
) -> Comparison:
    """The runs with all that their folders and artifacts have to show."""
    plain = Comparison(title, question, command, runs, directions(runs))
    pictures, notes = pictures_of(plain)
    return replace(
        plain,
        pictures=pictures,
        losses=losses_of(runs),
        failed=failed,
        notes=notes,
        pairs=pairs_of(plain),
    )


def directions(runs: Sequence[Run]) -> dict[str, bool | None]:
    """Of each metric whether more is better, as its class says; None where that is not known."""
    found: dict[str, bool | None] = {}
    for run in runs:
        nodes = run.config.get("metrics") or {}
        for name in metric_names([run]):
            keys = [key for key, node in nodes.items() if isinstance(node, Mapping) and name.startswith(key)]
            if keys and found.get(name) is None:
                key = max(keys, key=len)
                found[name] = _direction(nodes[key], name[len(key) :])
    return found


def losses_of(runs: Sequence[Run]) -> list[Losses]:
    """What each training logged, once for all runs that have it."""
    sharing: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        for stage, own in run.stages.items():
            sharing.setdefault((stage, str(own.get("key"))), []).append(run)
    logs: dict[str, dict[str, list]] = {}
    trainings = []
    for (stage, _), own in sharing.items():
        folder = own[0].folder
        if folder not in logs:
            logs[folder] = {}
            for row in read_log(Path(folder)):
                logs[folder].setdefault(str(row.get("stage")), []).append(row)
        rows = logs[folder].get(stage, [])
        if any("loss" in name for row in rows for name in row):
            trainings.append(Losses(stage, rows, own))
    return trainings


def _direction(node: Mapping[str, object], part: str) -> bool | None:
    """A control, which is no measure of the samples, has none; a part may have one of its own."""
    if node.get("fake", "samples") != "samples":
        return None
    own = attribute(node, "higher_of_parts") or {}
    return own[part] if part in own else attribute(node, "higher_is_better")


def _word(text: str) -> str:
    """An element of a list on the command line, in quotes where Hydra would read it as something else."""
    if _PLAIN.fullmatch(text):
        return text
    # a quote has a backslash before it, and backslashes before a quote are doubled
    inside = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{inside}'"


def _write(path: Path, content: bytes) -> None:
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
