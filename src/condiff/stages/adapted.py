"""A denoiser together with adapters, at any scales; no peft."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

from torch import Tensor, nn

from condiff.adapters.base import Base, Digests
from condiff.adapters.control_files import is_control
from condiff.adapters.control_files import read as read_control
from condiff.adapters.controlnet import decoder_changes, encoder_of
from condiff.adapters.formats import has_text, load
from condiff.adapters.low_rank import added
from condiff.adapters.tuning import inside, merged, part_of
from condiff.adapters.whole import Whole, is_whole
from condiff.config.origins import GUESSES
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError, ConfigError
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.finished_adapters import ADAPTER, FILE, finished, hints_named, text_beside
from condiff.stages.stage import KEPT, Artifact, Config
from condiff.stages.tunings import POOLED, built_control, built_tuning, controlled

Changes = dict[str, dict[str, Tensor]]  # by part of a pipeline, what is added to each of its parameters


@contextmanager
def adapted(cfg: Config, inputs: Mapping[str, Artifact], trained: Trained) -> Iterator[Trained]:
    """The denoiser with the study's adapter, if it has one, and with those it names; after it as it was.

    At scale 0 a ControlNet is not there, but what samples are asked for stays the same.
    """
    network, used, beside = trained[0].network, [], []
    if ADAPTER in inputs:
        made, scale = (inputs["denoiser"], inputs["data"], inputs.get("texts")), cfg["adapter"]["scale"]
        changes, branch = _trained(inputs[ADAPTER], *made)
        used += [(changes, scale)] if scale else []
        beside += [] if branch is None else [(branch, scale, built_control(cfg))]
    try:
        if files := [*finished(cfg)]:
            base = base_for([own.path for own in files if not is_control(own.path)], trained)
            for own in files:
                if is_control(own.path):
                    of_base = encoder_of(network), base.digests[part_of(network)], _channels(inputs["data"])
                    branch = read_control(own.path, *of_base)
                    _check_hints(cfg, own.key, branch.channels(getattr(network, "patch", 1)), inputs["data"])
                    use = POOLED if branch.pools else own.guess
                    beside.append((branch, own.scale, built_control(cfg, own.shares, use)))
                    used.append(({part_of(network): decoder_changes(own.path, network)}, own.scale))
                else:
                    own.is_no_control()
                    used.append((_changes(own.path, base, trained), own.scale))
    except ValueError as error:
        raise ArtifactError(f"adapters: {error}") from error
    count = _hints_for(cfg, len(beside))
    if len({control.in_null for *_, control in beside}) > 1:
        raise ConfigError(
            "adapters: nothing controls the null condition in guess mode, nor with a net that pools, so that"
            " all ControlNets are used so or none; give each with :guess, and the run's own with"
            f" adapter.control._target_={GUESSES['controlnet_guess']}, or none"
        )
    with _merged(trained, used):
        for number, (branch, scale, control) in enumerate(beside):
            trained = controlled(trained, branch, control, scale, (number % count, count))
        yield trained


def _channels(data: Artifact) -> int:
    """Of a hint."""
    info = DataInfo.read(data.path)
    return info.control or info.channels


def _check_hints(cfg: Config, key: str, wanted: int, data: Artifact) -> None:
    """ConfigError where hints that come with the data have other channels; given ones are made to fit."""
    has = DataInfo.read(data.path).control
    if not hints_named(cfg) and has not in (None, 1, wanted):
        raise ConfigError(
            f"{key}: is for hints of {_counted(wanted)}, and those of data have {_counted(has)}; give data"
            " with hints of its kind, or pictures of them with control="
        )


def _counted(channels: int) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''}"


def _hints_for(cfg: Config, controls: int) -> int:
    """How many hints each sample has: one, which all ControlNets look at, or one for each."""
    count = max(1, len(hints_named(cfg)))
    if count not in (1, controls):
        nets = "1 ControlNet" if controls == 1 else f"{controls} ControlNets"
        raise ConfigError(f"control: must be one for all, or one for each of {nets}, got {count}")
    return count


def base_for(files: Sequence[Path], trained: Trained) -> Base:
    """What adapters in some files stand on: encoders of text only if one asks.

    The weights are those of a finished run, so that a sweep that draws with one file after the other hashes
    them once, and not for a file that has no hash to compare.
    """
    network, text = trained[0].network, encoders(trained) if any(map(has_text, files)) else {}
    parts = {part_of(network): inside(network), **text}
    return Base.of(parts, Digests(parts))


def encoders(trained: Trained) -> dict[str, nn.Module]:
    """Of the text that a denoiser is told, those that a pipeline would have."""
    encoder = getattr(trained[1], "encoder", None)
    return {} if encoder is None else encoder.networks()


@contextmanager
def _merged(trained: Trained, used: Sequence[tuple[Changes, float]]) -> Iterator[None]:
    (denoiser, conditioner, _), of_network = trained, part_of(trained[0].network)
    text = {part for changes, scale in used if scale for part in changes} - {of_network}
    with ExitStack() as stack:
        for part, network in {of_network: denoiser.network, **(encoders(trained) if text else {})}.items():
            own = [(changes.get(part, {}), scale) for changes, scale in used]
            stack.enter_context(merged(network, own))
        if text:
            stack.enter_context(conditioner.anew())
        yield


def _changes(path: Path, base: Base, trained: Trained) -> Changes:
    if is_whole(path):
        return whole_changes(path, trained)
    adapter, network = load(path, base), trained[0].network
    found = {part_of(network): added(adapter, network)}
    if has_text(path):
        found |= {part: added(adapter, own, part) for part, own in encoders(trained).items()}
    return {**{part: changes for part, changes in found.items() if changes}, **_of_text(path, trained)}


def whole_changes(path: Path, trained: Trained) -> Changes:
    """Of the networks all of which was trained with an adapter, a denoiser or encoders of its text."""
    network = trained[0].network
    own = {part_of(network): Whole().changes(path, network)} if is_whole(path) else {}
    return {**own, **_of_text(path, trained)}


@contextmanager
def with_whole(
    cfg: Config, inputs: Mapping[str, Artifact], trained: Trained
) -> Iterator[dict[str, nn.Module]]:
    """The networks all of which the study has trained, at its scale, by part; after it as they were."""
    try:
        changes = whole_changes(inputs[ADAPTER].path / FILE, trained)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    parts = {part_of(trained[0].network): inside(trained[0].network), **encoders(trained)}
    with _merged(trained, [(changes, cfg["adapter"]["scale"])]):
        yield {part: parts[part] for part in changes}


def _of_text(path: Path, trained: Trained) -> Changes:
    """Of the encoders alone; nothing where none were trained as a whole."""
    beside, found = text_beside(path), {}
    changes = {} if beside is None else Whole().changes(beside, nn.ModuleDict(encoders(trained)))
    for name, change in changes.items():
        part, _, own = name.partition(".")
        found.setdefault(part, {})[own] = change
    return found


@lru_cache(KEPT)
def _trained(
    adapter: Artifact, denoiser: Artifact, data: Artifact, texts: Artifact | None
) -> tuple[Changes, nn.Module | None]:
    """What it changes, and what it puts beside the network."""
    trained, info = load_denoiser(denoiser, data, texts), DataInfo.read(data.path)
    network = trained[0].network
    tuning = built_tuning(adapter.manifest["config"]["adapter"]["tuning"], info, network, trained[2])
    path: Path = adapter.path / FILE
    try:
        if not is_control(path) and has_text(path):
            return _changes(path, base_for([path], trained), trained), None
        changes = {part_of(network): tuning.changes(path, network)}
        return {**changes, **_of_text(path, trained)}, tuning.beside(path, network)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
