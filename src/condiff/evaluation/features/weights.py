"""Weights of feature networks: from a path, a package or the user's cache, and never from the network."""

import hashlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

PLACES = ("~/.cache/condiff/weights", "~/.cache/torch/hub/checkpoints")


@dataclass(frozen=True)
class WeightFile:
    """A file that is known by its content.

    names: what it is called; published under two names, it may lie under either.
    package: an importable package that brings it, in ``folder``, and ``extra`` what to install for it.
    """

    names: tuple[str, ...]
    sha256: str
    package: str = ""
    folder: str = "models"
    extra: str = ""

    def find(self, path: str | None = None) -> Path:
        """Where it is: at a given path, or in the first of the places that has it."""
        if path is not None:
            return Path(path).expanduser()
        folders = [Path(place).expanduser() for place in PLACES]
        spec = importlib.util.find_spec(self.package) if self.package else None
        if spec is not None and spec.origin is not None:
            folders.insert(0, Path(spec.origin).parent / self.folder)
        found = (folder / name for folder in folders for name in self.names if (folder / name).is_file())
        file = next(found, None)
        if file is None:
            raise ValueError(self._missing())
        return file

    def load(self, path: str | None = None) -> dict[str, Tensor]:
        """Its tensors by name, on the CPU; the content is checked before any of it is read as such."""
        file = self.find(path)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ValueError(f"{file} cannot be read ({error.strerror}); {self._missing()}") from error
        seen = hashlib.sha256(content).hexdigest()
        if seen != self.sha256:
            raise ValueError(
                f"{file} is damaged or another file: its sha256 is {seen[:12]}.., {self.names[0]} has"
                f" {self.sha256}"
            )
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    def _missing(self) -> str:
        install = f"pip install '{self.extra}', or " if self.extra else ""
        return (
            f"needs {' or '.join(self.names)} (sha256 {self.sha256}), and nothing is downloaded here;"
            f" {install}put it into {' or '.join(PLACES)}, or give path=FILE"
        )
