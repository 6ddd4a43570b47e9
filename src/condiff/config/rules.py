"""Choices that do not fit together, found before anything is built.

A rule takes a config, which may have other mistakes, and gives a line for each misfit; the line
names both keys. Facts about a class come from its source, so no rule imports torch.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from condiff.config.hints import nearest
from condiff.config.kinds import objects, wrong_kinds
from condiff.config.signatures import TargetError, class_attribute, signature_of

Config = Mapping[str, Any]
Rule = Callable[[Config], Iterator[str]]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", re.ASCII)
_DENOISER = ("process", "objective", "network")
_TRAINED = ("method", "optimizer", "trainer")
# The parts without which a stage cannot run; a pixel study has no autoencoder.
_NEEDS = {
    "data": ("data",),
    "judge": ("judge",),
    "autoencoder": ("autoencoder",),
    "latents": ("autoencoder",),
    "denoiser": ("data", "conditioner", *_DENOISER, *_TRAINED),
    "weaker": ("data", "conditioner", "process", "objective", "weaker", "method", "optimizer"),
    "classifier": ("data", "process", "classifier"),
    "samples": ("conditioner", *_DENOISER, "guidance", "sampler"),
    "metrics": ("metrics",),
}
_ORDERED = (
    ("beta_start", "beta_end"),
    ("sigma_min", "sigma_max"),
    ("low", "high"),
    ("s_min", "s_max"),
    ("start", "stop"),
)
_FOLLOWED_BY = {"renoise": "sampler=ddim, ddpm, euler or dpmpp_2m", "pull": "sampler=ancestral"}


def unknown_stages(cfg: Config, known: Collection[str]) -> Iterator[str]:
    names = _words(cfg.get("stages"))
    if cfg.get("stages") == []:
        yield f"stages: must name at least one of {', '.join(known)}, got []"
    for place, name in enumerate(names):
        if name not in known:
            yield f"stages[{place}]: must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}"
        elif name in names[:place]:
            yield f"stages[{place}]: {name} is named twice"


def with_needed_stages(cfg: Config) -> Any:
    """The stages of a study, with those that train a second model for its guidance."""
    stages = cfg.get("stages")
    if "samples" not in _words(stages):
        return stages
    needed = (_attribute(node, "needs_stage") for _, node in objects(_at(cfg, "guidance"), "guidance"))
    return list(dict.fromkeys([*_words(stages), *filter(None, needed)]))


def stages_have_their_parts(cfg: Config) -> Iterator[str]:
    stages = [name for name in _words(cfg.get("stages")) if name in _NEEDS]
    first = {part: stage for stage in reversed(stages) for part in _NEEDS[stage]}
    for part, stage in first.items():
        if cfg.get(part) is None:
            yield f"{part}: is null, and stage {stage} needs it; choose one, {part}=NAME"


def name_is_a_file_name(cfg: Config) -> Iterator[str]:
    """The name becomes a folder's, so it must not lead anywhere else."""
    name = cfg.get("name")
    if isinstance(name, str) and name != "???" and not _NAME.fullmatch(name):
        shown = name if len(name) <= 80 else f"{name[:77]}..."
        yield (
            "name: must be 1 to 80 of the characters A-Z a-z 0-9 . _ - and start with none of . and -,"
            f" got {shown!r}"
        )


def target_can_be_read_back(cfg: Config) -> Iterator[str]:
    """At zero signal x_t is pure noise: a network that names the noise has said nothing of x0."""
    asked, process = _at(cfg, "objective", "parameterization"), _at(cfg, "process")
    if _attribute(asked, "needs_signal") and _attribute(process, "reaches_zero_snr"):
        yield (
            f"objective.parameterization: {_class(asked)} cannot be read back where process"
            f" {_class(process)} has no signal left; use objective=velocity or v"
        )


def guidance_has_its_null(cfg: Config) -> Iterator[str]:
    """A guidance away from the null condition needs a model that was trained with it."""
    drop = _argument(_at(cfg, "method"), "drop_condition")
    for path, node in objects(_at(cfg, "guidance"), "guidance"):
        never_plain = _attribute(node, "asks") or _attribute(node, "needs_flow")  # still differs at scale 1
        if not _attribute(node, "needs_null") or (_argument(node, "scale") == 1 and not never_plain):
            continue
        key = f"{path}.scale" if "scale" in node else path
        if cfg.get("conditioner") is None:
            yield f"{key}: {_class(node)} needs a condition, and conditioner is null; use guidance=none"
        elif drop == 0 and isinstance(drop, int | float):
            yield (
                f"{key}: {_class(node)} needs a model trained with dropped conditions, and"
                " method.drop_condition is 0; use method.drop_condition=0.1 or guidance=none"
            )


def guidance_fits_the_study(cfg: Config) -> Iterator[str]:
    """Some guidances are made for straight processes, for pixels, or for a picture to edit."""
    process, giver, stages = _at(cfg, "process"), _at(cfg, "conditioner"), _words(cfg.get("stages"))
    for path, node in objects(_at(cfg, "guidance"), "guidance"):
        if _attribute(node, "needs_flow") and "_target_" in process and not _attribute(process, "straight"):
            yield (
                f"{path}: {_class(node)} needs a flow, and process is {_class(process)};"
                " use process=rectified_flow, or guidance=cfg"
            )
        asked, given = (_attribute(node, "needs_condition") or ()), (_attribute(giver, "gives") or ())
        missing = {*asked} - {*given}
        if missing and "_target_" in giver:
            yield (
                f"{path}: {_class(node)} needs the condition {', '.join(sorted(missing))}, which conditioner"
                f" {_class(giver)} does not give; use guidance=cfg"
            )
        if _attribute(node, "needs_pixels") and "latents" in stages:
            yield (
                f"{path}: {_class(node)} works on pixels, and this study has a stage latents;"
                " use guidance=cfg_rescale, or leave the stages autoencoder and latents out"
            )


def sampler_can_follow(cfg: Config) -> Iterator[str]:
    """Some guidances ask for more of a step than x0 and eps."""
    sampler = _at(cfg, "sampler")
    for path, node in objects(_at(cfg, "guidance"), "guidance"):
        asked = _attribute(node, "asks")
        if (
            asked in _FOLLOWED_BY
            and "_target_" in sampler
            and asked not in (_attribute(sampler, "reads") or ())
        ):
            yield f"{path}: {_class(node)} cannot be followed by {_class(sampler)}; use {_FOLLOWED_BY[asked]}"


def learned_variance_is_learned(cfg: Config) -> Iterator[str]:
    """A variance between the two bounds is the network's to say, and it was trained to or not."""
    sampler, network = _at(cfg, "sampler"), _at(cfg, "network")
    if not _attribute(sampler, "needs_variance") or "_target_" not in network:
        return
    learned = _argument(network, "learned_variance")
    if learned is None:
        yield (
            f"sampler: {_class(sampler)} needs a network that learns a variance, and network is"
            f" {_class(network)}, which cannot; use network=unet network.learned_variance=true, or"
            " sampler=ancestral"
        )
    elif learned is False:
        yield (
            f"sampler: {_class(sampler)} needs a network that learns a variance, and"
            " network.learned_variance is false; use network.learned_variance=true, or sampler=ancestral"
        )


def metrics_are_objects(cfg: Config) -> Iterator[str]:
    """The one number among the metrics is how often they are taken while the denoiser trains."""
    metrics = _at(cfg, "metrics")
    for name, node in metrics.items():
        if type(node) is int and name != "every":
            yield f"metrics.{name}: must be an object with a _target_, got {node}; a number is metrics.every"
    for _, node in objects(_at(cfg, "guidance"), "guidance"):
        second = _attribute(node, "needs_stage")
        if metrics.get("every") and second:
            yield (
                f"metrics.every: {_class(node)} needs stage {second}, which is trained after the denoiser;"
                " use metrics.every=0, or guidance=cfg"
            )


def size_can_be_halved(cfg: Config) -> Iterator[str]:
    """Every level of an autoencoder or U-Net halves the picture; it must come out even each time."""
    size = _argument(_at(cfg, "data"), "size")
    autoencoder = _at(cfg, "autoencoder", "network") or _at(cfg, "autoencoder")
    beside = [part for part in ("weaker", "classifier") if part in _words(cfg.get("stages"))]
    halved = [_at(cfg, "network"), *(_at(cfg, part, "network") for part in beside)]
    latent, network = _downsampling(autoencoder), max(map(_downsampling, halved))
    key = "size" if type(size) is int else "multiple_of"  # a size read from the data is a multiple of it
    value = _argument(_at(cfg, "data"), key)
    if type(value) is int and value % (latent * network):
        yield (
            f"data.{key}: must be a multiple of {latent * network}"
            f" (autoencoder {latent} x network {network}), got {value}"
        )


def ends_are_in_order(cfg: Config) -> Iterator[str]:
    for path, node in objects(cfg, ""):
        for low, high in _ORDERED:
            first, last = _argument(node, low), _argument(node, high)
            if isinstance(first, int | float) and isinstance(last, int | float) and not first < last:
                yield f"{path}.{low}: must be below {path}.{high}={last:g}, got {first:g}"


def levels_fit(cfg: Config) -> Iterator[str]:
    """A U-Net says of each of its widths whether it attends, and normalizes each in equal groups."""
    for path, node in objects(cfg, ""):
        widths, attention, groups = (_argument(node, name) for name in ("widths", "attention", "norm_groups"))
        if not isinstance(widths, list) or not all(type(width) is int for width in widths):
            continue
        if not widths or min(widths) < 1:
            yield f"{path}.widths: must be integers >= 1, one for each level, got {widths}"
        if isinstance(attention, list) and len(attention) != len(widths):
            yield f"{path}.attention: must say true or false for each of the widths {widths}, got {attention}"
        if type(groups) is int and groups > 0 and any(width % groups for width in widths):
            yield f"{path}.widths: must be multiples of {path}.norm_groups={groups}, got {widths}"
        head = _argument(node, "head_width")
        said = attention if isinstance(attention, list) else []
        attended = [w for w, attends in zip(widths, said, strict=False) if attends] + widths[-1:]
        if type(head) is int and attended and min(attended) < head:
            yield f"{path}.head_width: must be at most {min(attended)}, a width that attends, got {head}"


def sampler_has_no_more_steps_than_the_process(cfg: Config) -> Iterator[str]:
    steps, total = _argument(_at(cfg, "sampler"), "steps"), _argument(_at(cfg, "process"), "num_steps")
    if type(steps) is int and type(total) is int and steps > total:
        yield f"sampler.steps: must be at most process.num_steps={total}, got {steps}"


def grid_fits_the_process(cfg: Config) -> Iterator[str]:
    grid, process = _at(cfg, "sampler", "grid"), _at(cfg, "process")
    if _attribute(grid, "needs_chain") and "_target_" in process and _argument(process, "num_steps") is None:
        yield (
            f"sampler.grid: {_class(grid)} needs a process of discrete steps, and process is"
            f" {_class(process)}; use process=linear or scaled_linear, or the grid UniformTime"
        )


def samples_are_enough(cfg: Config) -> Iterator[str]:
    """A metric of the samples that needs a number of them is not started with fewer."""
    given = cfg.get("num_samples")
    for path, node in objects(_at(cfg, "metrics"), "metrics"):
        for name in ("least", "subset_size", "splits"):
            least = _argument(node, name)
            if _argument(node, "fake") not in ("samples", None) or not type(least) is type(given) is int:
                continue
            if given < least:
                yield f"num_samples: must be at least {path}.{name}={least}, got {given}"


RULES: tuple[Rule, ...] = (
    stages_have_their_parts,
    name_is_a_file_name,
    target_can_be_read_back,
    guidance_has_its_null,
    guidance_fits_the_study,
    sampler_can_follow,
    learned_variance_is_learned,
    metrics_are_objects,
    size_can_be_halved,
    ends_are_in_order,
    levels_fit,
    wrong_kinds,
    sampler_has_no_more_steps_than_the_process,
    grid_fits_the_process,
    samples_are_enough,
)


def _at(cfg: Config, *keys: str) -> Config:
    """The mapping below some keys; an empty one where there is none."""
    node: Any = cfg
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def _words(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _class(node: Config) -> str:
    return str(node.get("_target_")).rpartition(".")[2]


def _argument(node: Config, name: str) -> Any:
    """An argument's value, given or by default; None where the class has no such argument."""
    if name in node or "_target_" not in node:
        return node.get(name)
    try:
        parameter = signature_of(str(node["_target_"])).parameters.get(name)
    except TargetError:
        return None
    return parameter.default if parameter is not None else None


def _attribute(node: Config, name: str) -> Any:
    """A constant of the node's class; None where there is none."""
    try:
        return class_attribute(str(node.get("_target_")), name)
    except ValueError:
        return None


def _downsampling(network: Config) -> int:
    """By how much a network halves its input in all: said outright, or once between its widths."""
    said, widths = _argument(network, "downsampling"), _argument(network, "widths")
    if type(said) is int and said > 0:
        return said
    return 2 ** (len(widths) - 1) if isinstance(widths, list | tuple) and 0 < len(widths) < 32 else 1
