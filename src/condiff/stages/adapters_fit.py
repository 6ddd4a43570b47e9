"""Whether finished adapters that a config names are of its base, told before a stage has made anything.

Their files are read, and of the base the names and shapes of its layers; its weights only to be compared with
the hash in a file that has one.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn

from condiff.adapters.base import Base, digest_of
from condiff.adapters.control_files import is_control
from condiff.adapters.control_files import read as read_control
from condiff.adapters.controlnet import encoder_of
from condiff.adapters.formats import has_text, read
from condiff.adapters.tuning import inside, part_of
from condiff.adapters.whole import base_said, is_whole, refuse_other
from condiff.conditioners.conditioner import Conditioner
from condiff.data.memo import shared
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError, ConfigError
from condiff.files import digest, read_json
from condiff.stages.denoiser import SHAPE, as_left, build_conditioner, built_network
from condiff.stages.finished_adapters import finished, text_beside
from condiff.stages.given import of_denoiser
from condiff.stages.stage import Artifact, Config
from condiff.stages.untrained import fill, is_given
from condiff.stages.weights import load_chosen

META = torch.device("meta")
Digest = Callable[[], str]  # of a base's network
_FINGERPRINTS = "fingerprints"  # in the cache


def of_run(cfg: Config, made: Mapping[str, Artifact]) -> None:
    """The same of a finished run that is drawn from; ``made``: what its stages have left."""
    denoiser, info = made["denoiser"], DataInfo.read(made["data"].path)
    left, shape = as_left(denoiser), read_json(denoiser.path / SHAPE)
    conditioner = build_conditioner(left, info, made.get("texts"))
    make = partial(built_network, left, conditioner, shape)
    with META:
        network = make()
    adapters_fit(cfg, info, network, conditioner, digest_of_base(cfg, make, denoiser))


def digest_of_base(cfg: Config, make: Callable[[], nn.Module], made: Artifact | None) -> Digest | None:
    """Of the denoiser that is given or ``made``, remembered; None where it is still to be trained.

    make: gives its network, its weights at random.
    """
    if made is None and not is_given(cfg["network"]):
        return None

    def look(_: str) -> str:
        with META:
            network = make()
        network = network.to_empty(device="cpu")
        if made is None:
            fill(network, cfg["network"], "network")
        else:
            load_chosen(network, made.path, cfg["checkpoint"], cfg["average"])
        return digest_of(inside(network))

    def remembered() -> str:
        cache = Path(cfg["runtime"]["cache"]).absolute()
        own = [cfg["checkpoint"], cfg["average"], cfg["network"] if made is None else made.key]
        content = of_denoiser(cfg, cache) if made is None else made.key
        memo, name = shared("digest of a base 1"), digest(own)
        (found,) = memo.look([name], look, "hashing the base", cache / _FINGERPRINTS, {name: content})
        memo.save(cache / _FINGERPRINTS)
        return found

    return remembered


def adapters_fit(
    cfg: Config, info: DataInfo, network: nn.Module, conditioner: Conditioner, digest: Digest | None
) -> None:
    """ArtifactError with a line for each that is damaged, or another base's.

    network: the base's, with or without values. digest: of its values, asked for where a file says its own;
    None where they are not there yet.
    """
    wrong = []
    for own in finished(cfg):
        try:
            if is_control(own.path):
                _control_fits(own.path, info, network, digest)
            else:
                own.is_no_control()
                _fits(own.path, network, conditioner, digest)
        except ConfigError:
            raise
        except ValueError as error:
            wrong.append(f"adapters: {error}")
    if wrong:
        raise ArtifactError(*wrong)


def _fits(path: Path, network: nn.Module, conditioner: Conditioner, digest: Digest | None) -> None:
    beside = text_beside(path)
    if beside is not None:
        refuse_other(beside, nn.ModuleDict(_encoders(conditioner)), None)
    if is_whole(path):
        refuse_other(path, network, digest)
        return
    part, text = part_of(network), _encoders(conditioner) if has_text(path) else {}
    base = Base.of({part: inside(network), **text})
    adapter = read(path, base)
    if digest is not None and part in adapter.base:
        Base(base.shapes, {part: digest()}).check(adapter, str(path))


def _control_fits(path: Path, info: DataInfo, network: nn.Module, digest: Digest | None) -> None:
    unet, said = encoder_of(network), base_said(path)
    own = said if said is None or digest is None else digest()
    with _shapes_alone():
        read_control(path, unet, own or "", info.control or info.channels)


@contextmanager
def _shapes_alone() -> Iterator[None]:
    """Networks are made without values."""
    with META, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")
        yield


def _encoders(conditioner: Conditioner) -> dict[str, nn.Module]:
    """Of text, by the names that a pipeline has for them, without values."""
    encoder = getattr(conditioner, "encoder", None)
    with META:
        return {} if encoder is None else {name: part.outline() for name, part in encoder.named().items()}
