"""What tasks leave in a run folder beside the report."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condiff.data.source import DataInfo
from condiff.files import copy_whole, link_whole, read_json, write_json
from condiff.reports.checked import CHECKED, check_tables
from condiff.reports.comparison_page import PAGE
from condiff.reports.tables import palette_for
from condiff.stages.run_folders import EXPORTED_ADAPTER, MANIFEST, PIPELINE, SHARDS
from condiff.stages.stage import Artifact


def leave_of_tasks(folder: Path, done: Mapping[str, Artifact], runtime: Mapping[str, Any]) -> None:
    """Statistics, exports, comparisons, counts, and the shards of a run that makes nothing else."""
    for file in sorted(done["statistics"].path.glob("*.npz")) if "statistics" in done else ():
        shutil.copyfile(file, folder / file.name)
        print(f"statistics: {folder / file.name}")
    if "export" in done:
        left = [name for name in (PIPELINE, EXPORTED_ADAPTER) if (done["export"].path / name).is_dir()]
        copy_whole(done["export"].path, folder, left)
        print("\n".join(f"{name}: {folder / name}" for name in left))
    if "comparison" in done:
        copy_whole(done["comparison"].path, folder, ("figures", "results.csv", PAGE))
    if "check" in done:
        found = read_json(done["check"].path / CHECKED)
        write_json(folder / CHECKED, found)
        devices, strategy = runtime["devices"], runtime["strategy"]
        print(f"\n{check_tables(found, devices, palette_for(sys.stdout), strategy)}\n")
    if [*done] == ["data"]:
        _leave_shards(done["data"].path, folder / SHARDS)


def _leave_shards(made: Path, shards: Path) -> None:
    """Without a second copy, where they lie on one disk with the cache."""
    names = [path.name for path in made.iterdir() if path.name != MANIFEST]
    link_whole(made, shards, names)
    info = DataInfo.read(shards)
    print(f"shards: {shards}: {info.num_train:,} pictures to train on, {info.num_held_out:,} held out")
    print(f"read by: data=shards data.path={shards} data.size={info.size}")
