"""With what and on what a stage runs, as its manifest tells it."""

import platform
from functools import cache as once
from importlib.metadata import version
from pathlib import Path
from typing import Any


@once
def environment() -> dict[str, Any]:
    """Versions and hardware, as they stand in every manifest."""
    names = ("condiff", "torch", "lightning", "diffusers", "torchmetrics")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "commit": commit(),
        "hardware": f"{platform.machine()}, {_cpu()}",
    }


def commit() -> str | None:
    """The git commit of the working tree the package runs from, read without starting git."""
    git = Path(__file__).parents[3] / ".git"
    try:
        if git.is_file():  # a linked working tree
            git = Path(git.read_text().partition("gitdir: ")[2].strip())
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head[:12]
        common = git / (git / "commondir").read_text().strip() if (git / "commondir").is_file() else git
        return (common / head[5:]).read_text().strip()[:12]
    except OSError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
