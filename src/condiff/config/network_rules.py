"""Shapes of networks that cannot work."""

import math
from collections.abc import Collection, Iterator, Sequence

from condiff.config.kinds import objects
from condiff.config.nodes import Config, argument, at, class_of, fitting, words
from condiff.config.signatures import TargetError, kinds_of

_BESIDE = ("weaker", "classifier")  # networks that see what the denoiser sees
_COMPARING = ("metrics", "judge", "classifier", "evaluation", "statistics")  # stages with one size of picture


def size_can_be_halved(cfg: Config) -> Iterator[str]:
    """Every level of an autoencoder or U-Net halves the picture; it must come out even each time."""
    data, stages = at(cfg, "data"), words(cfg.get("stages"))
    autoencoder = at(cfg, "autoencoder", "network") or at(cfg, "autoencoder")
    in_pixels = stages and not {"autoencoder", "latents"} & {*stages}
    halved = [at(cfg, "network")] if {"denoiser", "samples"} & {*stages} or not stages else []
    halved += [at(cfg, part, "network") for part in _BESIDE if part in stages]
    latent = 1 if in_pixels else _downsampling(autoencoder)
    network = math.lcm(*map(_downsampling, halved))
    size = "multiple_of" if argument(data, "size") is None else "size"  # one read from the data is a multiple
    for key in (size, "buckets"):
        value = fitting(data, key)
        if type(value) is int and value % (latent * network):
            why = f"autoencoder {latent} x network {network}" if halved else f"autoencoder {latent}"
            yield f"data.{key}: must be a multiple of {latent * network} ({why}), got {value}"


def what_is_compared_has_one_shape(cfg: Config) -> Iterator[str]:
    """Metrics, and what they look through, see training pictures at one size."""
    stages, buckets = words(cfg.get("stages")), argument(at(cfg, "data"), "buckets")
    found = [stage for stage in _COMPARING if stage in stages]
    if buckets is not None and found:
        yield (
            f"data.buckets: gives pictures of many shapes, and stage {found[0]} wants one; use null, or leave"
            f" that stage out, got {buckets}"
        )


def adversary_begins(cfg: Config) -> Iterator[str]:
    """One that would never begin is told of; with a weight of 0 it is meant not to be there."""
    start, steps = argument(_adversary(cfg), "start"), argument(at(cfg, "autoencoder", "trainer"), "steps")
    if type(start) is type(steps) is int and start >= steps:
        yield (
            f"autoencoder.method.adversary.start: must be below autoencoder.trainer.steps={steps}, got"
            f" {start}; autoencoder.method.adversary.weight=0 trains without it"
        )


def adversary_has_no_scaled_loss(cfg: Config) -> Iterator[str]:
    """Its gradients are its own, and no loss scale is kept for them; codes follow what overflows."""
    precision = argument(at(cfg, "autoencoder", "trainer"), "precision")
    if "autoencoder" not in words(cfg.get("stages")) or precision != "16-mixed":
        return
    if "Quantising" in _kinds(at(cfg, "autoencoder", "network")):
        yield "autoencoder.trainer.precision: 16-mixed does not go with a codebook; use bf16-mixed"
    if _adversary(cfg):
        yield (
            "autoencoder.trainer.precision: 16-mixed does not go with autoencoder.method.adversary, whose"
            " losses are not scaled; use bf16-mixed, or autoencoder.method.adversary.weight=0"
        )


def codebooks_are_trained(cfg: Config) -> Iterator[str]:
    """A network with a codebook has a training of its own, and that training no other network."""
    if "autoencoder" not in words(cfg.get("stages")):
        return
    network, method = (_kinds(at(cfg, "autoencoder", part)) for part in ("network", "method"))
    if network and method and ("Quantising" in network) != ("AutoencoderVQ" in method):
        own = class_of(at(cfg, "autoencoder", "network"))
        has = "a codebook" if "Quantising" in network else "no codebook"
        wanted = "AutoencoderVQ" if "Quantising" in network else "AutoencoderKL"
        yield f"autoencoder.method: must be {wanted} where the network, {own}, has {has}"


def without_restarts(settings: Sequence[tuple[str, str]], studies: Collection[Config]) -> Iterator[str]:
    """A line for each setting, its key and how it was written, of the end of restarts that no study has."""
    ways = [at(cfg, "autoencoder", "method") for cfg in studies]
    rates = [argument(way, "restart") for way in ways if argument(way, "restart_until") is not None]
    for key, text in settings:
        if key == "autoencoder.method.restart_until" and rates and not any(rates):
            yield (
                f"{text}: has no effect with autoencoder.method.restart=0, which restarts no code; leave it"
                " out, or give autoencoder.method.restart=0.1"
            )


def discriminator_sees_something(cfg: Config) -> Iterator[str]:
    """A discriminator of patches has no logit for a picture that its halvings leave nothing of."""
    halvings, size = argument(_adversary(cfg), "halvings"), fitting(at(cfg, "data"), "size")
    is_even = not any(size_can_be_halved(cfg))  # else another size is asked for already
    if is_even and type(halvings) is type(size) is int:
        least = 3 * 2**halvings  # PatchDiscriminator.smallest
        if size < least:
            yield (
                f"autoencoder.method.adversary.halvings: {halvings} needs pictures of at least {least} pixels"
                f" a side, and data.size is {size}; use fewer, or autoencoder.method.adversary=null"
            )


def levels_fit(cfg: Config) -> Iterator[str]:
    """A U-Net says of each of its widths whether it attends, and normalizes each in equal groups."""
    for path, node in objects(cfg, ""):
        widths, attention, groups = (argument(node, name) for name in ("widths", "attention", "norm_groups"))
        if not isinstance(widths, list) or not all(type(width) is int for width in widths):
            continue
        if not widths or min(widths) < 1:
            yield f"{path}.widths: must be integers >= 1, one for each level, got {widths}"
        if isinstance(attention, list) and len(attention) != len(widths):
            yield f"{path}.attention: must say true or false for each of the widths {widths}, got {attention}"
        if type(groups) is int and groups > 0 and any(width % groups for width in widths):
            yield f"{path}.widths: must be multiples of {path}.norm_groups={groups}, got {widths}"
        head = argument(node, "head_width")
        said = attention if isinstance(attention, list) else []
        attended = [w for w, attends in zip(widths, said, strict=False) if attends] + widths[-1:]
        if type(head) is int and attended and min(attended) < head:
            yield f"{path}.head_width: must be at most {min(attended)}, a width that attends, got {head}"


def _adversary(cfg: Config) -> Config:
    """What an autoencoder is trained against; nothing where none is trained or where it has no weight."""
    node = at(cfg, "autoencoder", "method", "adversary")
    return node if "autoencoder" in words(cfg.get("stages")) and argument(node, "weight") != 0 else {}


def _kinds(node: Config) -> set[str]:
    try:
        return kinds_of(str(node["_target_"])) if "_target_" in node else set()
    except (TargetError, ValueError):
        return set()  # has its own line


def _downsampling(network: Config) -> int:
    """By how much a network shrinks its input: said outright, or by its patches and between its levels."""
    said, widths, patch = (fitting(network, name) for name in ("downsampling", "widths", "patch"))
    widths = argument(network, "multipliers") if widths is None else widths
    if type(said) is int and said > 0:
        return said
    levels = len(widths) if isinstance(widths, list | tuple) and 0 < len(widths) < 32 else 1
    return (patch if type(patch) is int and patch > 0 else 1) * 2 ** (levels - 1)
