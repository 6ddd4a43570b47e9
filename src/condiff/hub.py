"""Models of the Hugging Face hub: in its local cache, or downloaded where asked for by name; no torch."""

import importlib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

SECONDS = 10.0  # of silence after which the hub is taken not to answer
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def is_name(text: str) -> bool:
    """Whether it is written as a model of the hub is: owner/name."""
    return _NAME.fullmatch(text) is not None


def cached(name: str) -> Path | None:
    """Where the hub's library keeps its newest revision that was fetched; None where there is none."""
    file = revision_file(name)
    try:
        revision = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    folder = file.parents[1] / "snapshots" / revision
    return folder if revision and folder.is_dir() else None


def revision_file(name: str) -> Path:
    """What names that revision, where there is one."""
    return _cache() / f"models--{name.replace('/', '--')}" / "refs" / "main"


def download(name: str, chosen: Callable[[Collection[str], str], list[str]]) -> None:
    """Fetch those files of a model that are ``chosen`` of the names of all; ValueError where it fails."""
    hub = importlib.import_module("huggingface_hub")
    try:
        files = [file.rfilename for file in hub.HfApi().model_info(name, timeout=SECONDS).siblings or []]
    except Exception as error:  # of whichever HTTP library this version of the hub's uses
        raise ValueError(_unreachable(name, error)) from error
    wanted = chosen(files, name)
    try:
        hub.snapshot_download(name, allow_patterns=wanted, cache_dir=_cache(), etag_timeout=SECONDS)
    except Exception as error:
        raise ValueError(_unreachable(name, error)) from error


def _unreachable(name: str, error: Exception) -> str:
    said = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    return (
        f"{name} is no folder, not in the hub's local cache ({_cache()}), and cannot be downloaded"
        f" ({said}); copy the model to this machine and give its folder, or try again with the hub in reach"
    )


def _cache() -> Path:
    home = Path(os.environ.get("HF_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
