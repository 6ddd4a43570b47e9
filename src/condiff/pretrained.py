"""Models of the transformers library, from a folder or from what its hub has left in the local cache."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError

from condiff import hub
from condiff.files import file_digest

INSIDE = "text_encoder"  # where a pipeline's folder has its text encoder
_FILES = (".json", ".txt", ".safetensors")  # no pickle is ever read, nor code


def folder_of(model: str, path: str | None, download: bool) -> Path:
    """Where a model lies; ValueError where it is not.

    Without a ``path`` that is the hub's local cache. Nothing is fetched unless ``download`` is set, and
    nothing that is there.
    """
    if path is not None:
        folder = Path(path).expanduser()
        if missing := _missing(folder):
            raise ValueError(f"{folder} is no folder of a model: it has no {missing[0]}")
        return folder
    if download and _cached(model) is None:
        hub.download(model, lambda names, _: [name for name in names if name.endswith(_FILES)])
    folder = _cached(model)
    if folder is None:
        raise ValueError(
            f"{model} is not in the hub's local cache; give path=FOLDER with its config.json and"
            " model.safetensors, or download=true"
        )
    return folder


def loaded(model_class: str, folder: Path) -> Any:
    """A model of a class of transformers with the weights of a folder; ValueError where they do not fit."""
    transformers = library("transformers", "features")
    transformers.utils.logging.disable_progress_bar()
    make = getattr(transformers, model_class).from_pretrained
    options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    model, info = read(lambda: make(folder, **options), model_class, folder)
    lacking = sorted(str(key) for key in (*info["missing_keys"], *info["mismatched_keys"]))
    if lacking:  # the library would go on with random numbers
        raise ValueError(f"{folder} has no weights of {model_class}: {lacking[0]} is missing or another size")
    return model


def outlined(model_class: str, folder: Path) -> Any:
    """The same without its weights, on whatever device torch is told to make it."""
    kind = getattr(library("transformers", "features"), model_class)
    return read(lambda: kind(kind.config_class.from_pretrained(folder)), model_class, folder)


def read(make: Callable[[], Any], what: str, folder: Path) -> Any:
    """What ``make`` reads from a folder; ValueError in one line where it cannot."""
    try:
        return make()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{folder} cannot be read as {what} ({_first_line(error)})") from error


def content(folder: Path) -> str:
    """A hash of the weights of a folder."""
    return ".".join(file_digest(file)[:16] for file in sorted(folder.glob("*.safetensors")))


def tokenizer_of(folder: Path, extra: str) -> Any:
    """The tokenizer of a folder; ValueError in one line where there is none."""
    make = library("transformers", extra).AutoTokenizer.from_pretrained
    return read(lambda: make(folder, local_files_only=True), "a tokenizer", folder)


def alike(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """The places of texts of one number of tokens, at most so many at a time: none is padded to another's."""
    for length in sorted({*lengths}):
        same = [place for place, own in enumerate(lengths) if own == length]
        yield from (same[start : start + most] for start in range(0, len(same), most))


def library(name: str, extra: str) -> ModuleType:
    """An optional library, imported when something is built with it; ``extra`` is what installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(_lacks(name, extra)) from error


def model_folder(package: str | None, model: str, path: str | None, download: bool = False) -> Path:
    """Where a text encoder lies: in a folder, or in that of a pipeline; in a package; in the hub's cache.

    ValueError where it is in none of them.
    """
    if path is not None:
        inside = Path(path).expanduser() / INSIDE
        return folder_of(model, str(inside) if inside.is_dir() else path, download)
    if package is None:
        return folder_of(model, path, download)
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ValueError(_lacks(package, "text"))
    return Path(found.origin).parent / "model"


def _cached(model: str) -> Path | None:
    """In the hub's local cache, if all of it is there."""
    folder = hub.cached(model)
    return None if folder is None or _missing(folder) else folder


def _missing(folder: Path) -> list[str]:
    return [name for name in ("config.json", "*.safetensors") if not any(folder.glob(name))]


def _lacks(name: str, extra: str) -> str:
    return f"needs the package {name}; pip install 'condiff[{extra}]'"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
