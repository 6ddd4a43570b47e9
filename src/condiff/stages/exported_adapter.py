"""The adapter of a run in each format that others read."""

import logging
from collections.abc import Mapping
from pathlib import Path

from condiff.adapters.base import digest_of
from condiff.adapters.control_files import export as export_control
from condiff.adapters.control_files import is_control, read_decoder
from condiff.adapters.control_files import read as read_control
from condiff.adapters.controlnet import encoder_of
from condiff.adapters.formats import export, load
from condiff.adapters.tuning import inside
from condiff.adapters.whole import is_whole
from condiff.errors import ConfigError
from condiff.stages.adapted import base_for
from condiff.stages.denoiser import load_denoiser
from condiff.stages.finished_adapters import ADAPTER, CONTROL, FILE, PLACES
from condiff.stages.stage import Artifact

log = logging.getLogger(__name__)


def leave_adapter(given: str, made: Mapping[str, Artifact], out: Path) -> bool:
    """Files in ``out``; whether there are any, as of a denoiser that was trained as a whole. given: the run.

    A format that has no names for a base's layers, as kohya's for SD3, is left out with a line.
    """
    trained = load_denoiser(made["denoiser"], made["data"], made.get("texts"))
    network, file = trained[0].network, made[ADAPTER].path / FILE
    if is_control(file):
        branch = read_control(file, encoder_of(network), digest_of(inside(network)))
        try:
            export_control(branch, out / CONTROL)
        except ValueError as error:
            log.warning("controlnet: %s; it is written for diffusers alone", error)
        if read_decoder(file):
            log.warning(
                "controlnet: its base's decoder was trained with it, which its folder has no place for; only"
                " adapters=[%s] draws with both",
                given,
            )
        return True
    if is_whole(file):
        return False
    base = base_for([file], trained)
    try:
        adapter = load(file, base)
    except ValueError as error:
        raise ConfigError(f"from: the adapter of {given} cannot be exported: {error}") from error
    for name, place in PLACES.items():
        try:
            export(adapter, out / place, base, name)
        except ValueError as error:
            log.warning("adapter: is not written as %s has it: %s", name, error)
    return True
