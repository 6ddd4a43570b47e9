"""Weights of trained networks on disk; no lightning, so that sampling need not wait for it."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from condiff.averages import reconstructed
from condiff.errors import ArtifactError
from condiff.files import written_whole
from condiff.stages.stage import STEPS

LAST, RAW = "weights.safetensors", "raw"


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    with written_whole(path) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in weights.items()}, temporary)


def kept_weights(artifact: Path, step: int) -> Path:
    """The file of the weights that a training kept at a step."""
    return artifact / STEPS / f"step={step:08d}.safetensors"


def load_weights(module: nn.Module, folder: Path) -> None:
    """The averaged weights of a finished training if it kept an average, else its last ones; strictly."""
    path = folder / "ema.safetensors"
    load_file_into(module, path if path.is_file() else folder / LAST)


def load_chosen(module: nn.Module, folder: Path, step: int | None, average: float | str | None) -> None:
    """Those kept at a step, the last ones (``raw``), an average of a length, or those of ``load_weights``."""
    if step is not None:
        load_file_into(module, kept_weights(folder, step))
    elif average is None:
        load_weights(module, folder)
    else:
        load_file_into(module, folder / LAST)
        if average != RAW:
            module.load_state_dict(
                {**module.state_dict(), **reconstructed(folder, float(average))}, strict=True
            )


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The last weights of a finished training that left an average of them as well; else nothing."""
    both = (folder / "ema.safetensors").is_file() and (folder / LAST).is_file()
    return load_file(folder / LAST) if both else {}


def load_file_into(module: nn.Module, path: Path) -> None:
    """Exactly the weights of a module; ArtifactError otherwise."""
    try:
        module.load_state_dict(load_file(path), strict=True)
    except (RuntimeError, OSError) as error:
        raise ArtifactError(f"{path}: does not fit the network it was saved for ({error})") from error
