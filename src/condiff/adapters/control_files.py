"""Files of ControlNets: those made here, folders of diffusers, and files as their authors have them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from condiff.adapters import control_original
from condiff.adapters.branch import Branch
from condiff.adapters.tensor_files import read_header, read_names, read_tensors, write_tensors
from condiff.files import read_json
from condiff.single_file import is_of_base

_CONFIG, _BASE, _TRIGGER = "condiff_controlnet", "condiff_base", "condiff_trigger"  # in the header
_DECODER = "decoder."  # before what of the base was trained, too
_NAME, _CLASS = "config.json", "ControlNetModel"  # of a folder, and the class that it names
ORIGINAL = "control_model.safetensors"  # in an exported folder
_COPIED = ("conv_in.", "time_embedding.", "class_embedding.", "add_embedding.", "down_blocks.", "mid_block.")
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")


def is_control(path: Path) -> bool:
    """Whether there is a ControlNet, of which nothing but words is read."""
    if path.is_dir():
        return (path / _NAME).is_file() and read_json(path / _NAME).get("_class_name") == _CLASS
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    return _CONFIG in read_header(path) or control_original.is_original(read_names(path))


def write(
    path: Path, branch: Branch, base: str, trigger: list[str], decoder: Mapping[str, Tensor] | None = None
) -> None:
    """base: the digest of what it was trained on. trigger: words of a text that call it up.

    decoder: of its base what was trained with it, by the names of the U-Net.
    """
    config = {name: value for name, value in branch.net.config.items() if not name.startswith("_")}
    header = {_CONFIG: json.dumps(config), _BASE: base, _TRIGGER: json.dumps(trigger)}
    trained = {f"{_DECODER}{name}": weight for name, weight in (decoder or {}).items()}
    write_tensors(path, {**branch.net.state_dict(), **trained}, header)


def read_decoder(path: Path) -> dict[str, Tensor]:
    """What of the base was trained with it, by the names of the U-Net; nothing in others' files."""
    there = not path.is_dir() and any(_is_of_base(name) for name in read_names(path))
    tensors = read_tensors(path)[0] if there else {}  # of most there is nothing, and these are large
    return {name.removeprefix(_DECODER): value for name, value in tensors.items() if _is_of_base(name)}


def export(branch: Branch, folder: Path) -> None:
    """What diffusers' ControlNetModel.from_pretrained reads, and a file in the authors' layout in it.

    Both are for hints in colours, as which others give grey ones. ValueError, after the first, where the
    authors have no names for what it consists of.
    """
    coloured = branch.in_colours()
    coloured.net.save_pretrained(folder, safe_serialization=True)
    write_tensors(folder / ORIGINAL, control_original.written(coloured), {})


def read(path: Path, unet: UNet2DConditionModel, digest: str, channels: int | None = None) -> Branch:
    """Beside a U-Net with this digest; ValueError in one line where it is another's, or not whole.

    channels: of the hints, where those are known; of one that was made for grey ones it is that again.
    """
    branch = _read(path, unet, digest)
    return (branch.in_grey() if channels == 1 else branch).eval().requires_grad_(False)


def _read(path: Path, unet: UNet2DConditionModel, digest: str) -> Branch:
    if path.is_file() and control_original.is_original(read_names(path)):
        return _of_authors(path, unet)
    config, tensors, base = _of_folder(path) if path.is_dir() else _of_file(path)
    if base is not None and base != digest:
        raise ValueError(f"{path}: was trained on another base; give the one that it was trained on")
    net = cast(ControlNetModel, ControlNetModel.from_config({**config}))
    try:
        net.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path}: its tensors are not those of its settings ({said})") from error
    _check(path, net, unet)
    return Branch(net)


def _of_authors(path: Path, unet: UNet2DConditionModel) -> Branch:
    """Of a file that holds a whole base as well, such as control_sd15_canny, the ControlNet alone."""
    own = [name for name in read_names(path) if not is_of_base(name)]
    try:
        return control_original.taken(read_tensors(path, own)[0], unet)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _of_file(path: Path) -> tuple[Mapping[str, Any], dict[str, Tensor], str | None]:
    tensors, header = read_tensors(path)
    if _CONFIG not in header:
        raise ValueError(f"{path}: its header does not say that it is a ControlNet; give a file made here")
    own = {name: value for name, value in tensors.items() if not _is_of_base(name)}
    return json.loads(header[_CONFIG]), own, header.get(_BASE)


def _of_folder(path: Path) -> tuple[Mapping[str, Any], dict[str, Tensor], str | None]:
    """Of an unknown base."""
    file = next((path / name for name in _WEIGHTS if (path / name).is_file()), path / _WEIGHTS[0])
    return read_json(path / _NAME), read_tensors(file)[0], None


def _is_of_base(name: str) -> bool:
    return name.startswith(_DECODER)


def _check(path: Path, net: ControlNetModel, unet: UNet2DConditionModel) -> None:
    """Whether it is a copy of such an encoder, whatever it has learned since."""
    own, theirs = unet.state_dict(), net.state_dict()
    wanted = {name: value.shape for name, value in own.items() if name.startswith(_COPIED)}
    wrong = [name for name, shape in wanted.items() if name not in theirs or theirs[name].shape != shape]
    if wrong or any(name.startswith(_COPIED) and name not in wanted for name in theirs):
        what = f"{wrong[0]} for one" if wrong else "as it has more layers"
        raise ValueError(f"{path}: is no copy of the base's encoder, {what}; give the base that it is for")
