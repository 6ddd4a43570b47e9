"""Whether a study can serve its guidance, and what it must train for it."""

from collections.abc import Iterator
from typing import Any

from condiff.config.kinds import objects
from condiff.config.nodes import Config, argument, at, attribute, class_of, module_constant, words

# The parts that a study has for its guidance alone, each trained by the stage of its name.
SECOND_MODELS = {"weaker": "guidance=autoguidance", "classifier": "guidance=classifier"}


def guidance_has_its_null(cfg: Config) -> Iterator[str]:
    """A guidance away from the null condition needs a model that was trained with it."""
    drop = argument(at(cfg, "method"), "drop_condition")
    for path, node in objects(at(cfg, "guidance"), "guidance"):
        if not attribute(node, "needs_null") or is_plain(node):
            continue
        key = f"{path}.scale" if "scale" in node else path
        if cfg.get("conditioner") is None:
            yield f"{key}: {class_of(node)} needs a condition, and conditioner is null; use guidance=none"
        elif attribute(at(cfg, "conditioner"), "most_dropped") == 0:
            yield (
                f"{key}: {class_of(node)} needs a denoiser that is told its condition, and conditioner is"
                f" {class_of(at(cfg, 'conditioner'))}; use conditioner=label method.drop_condition=0.1, or"
                " guidance=classifier"
            )
        elif drop == 0 and isinstance(drop, int | float):
            yield (
                f"{key}: {class_of(node)} needs a model trained with dropped conditions, and"
                " method.drop_condition is 0; use method.drop_condition=0.1 or guidance=none"
            )


def is_plain(guidance: Config) -> bool:
    """Whether a guidance by the null is the conditional model as it is; some are another at scale 1, too."""
    never = attribute(guidance, "asks") or attribute(guidance, "needs_flow")
    return argument(guidance, "scale") == 1 and not never


def nothing_is_asked_of_the_untold(cfg: Config) -> Iterator[str]:
    """A denoiser that is told nothing has no condition to be dropped, and no other to be led away from."""
    conditioner, drop = at(cfg, "conditioner"), argument(at(cfg, "method"), "drop_condition")
    if attribute(conditioner, "most_dropped") != 0:
        return
    told, names = f"where conditioner is {class_of(conditioner)}", ("names_classes", "needs_null")
    instead = "use guidance=classifier, or conditioner=label"
    if isinstance(drop, int | float) and drop > 0:
        yield f"method.drop_condition: must be 0 {told}, which tells the denoiser nothing, got {drop:g}"
    for path, node in objects(at(cfg, "guidance"), "guidance"):
        if argument(node, "base") == "condition":
            yield f"{path}.base: condition has no effect {told}; use {path}.base=free, or conditioner=label"
        if [bool(attribute(node, name)) for name in names] == [True, False]:
            yield f"{path}: {class_of(node)} has no effect {told}; {instead}"
    if attribute(at(cfg, "network"), "needs_condition"):
        yield f"network: {class_of(at(cfg, 'network'))} has nothing to attend to {told}; use network=unet"


def guidance_fits_the_study(cfg: Config) -> Iterator[str]:
    """Some guidances are made for straight processes, for pixels, or for a picture to edit."""
    process, giver, stages = at(cfg, "process"), at(cfg, "conditioner"), words(cfg.get("stages"))
    for path, node in objects(at(cfg, "guidance"), "guidance"):
        if attribute(node, "needs_flow") and "_target_" in process and not attribute(process, "straight"):
            yield (
                f"{path}: {class_of(node)} needs a flow, and process is {class_of(process)};"
                " use process=rectified_flow, or guidance=cfg"
            )
        asked, given = (attribute(node, "needs_condition") or ()), (attribute(giver, "gives") or ())
        missing = {*asked} - {*given}
        if missing and "_target_" in giver:
            yield (
                f"{path}: {class_of(node)} needs the condition {', '.join(sorted(missing))}, which"
                f" conditioner {class_of(giver)} does not give; use guidance=cfg"
            )
        if attribute(node, "needs_pixels") and "latents" in stages:
            yield (
                f"{path}: {class_of(node)} works on pixels, and this study has a stage latents;"
                " use guidance=cfg_rescale, or leave the stages autoencoder and latents out"
            )


def sampler_can_follow(cfg: Config) -> Iterator[str]:
    """Some guidances ask for more of a step than x0 and eps."""
    sampler, asides = at(cfg, "sampler"), module_constant("condiff.diffusion.samplers", "ASIDES")
    for path, node in objects(at(cfg, "guidance"), "guidance"):
        asked = attribute(node, "asks")
        if asked in asides and "_target_" in sampler and asked not in (attribute(sampler, "reads") or ()):
            yield f"{path}: {class_of(node)} cannot be followed by {class_of(sampler)}: it {asides[asked]}"


def learned_variance_is_learned(cfg: Config) -> Iterator[str]:
    """A variance between the two bounds is the network's to say, and it was trained to or not."""
    sampler, network = at(cfg, "sampler"), at(cfg, "network")
    if not attribute(sampler, "needs_variance") or "_target_" not in network:
        return
    learned = argument(network, "learned_variance")
    if learned is None:
        yield (
            f"sampler: {class_of(sampler)} needs a network that learns a variance, and network is"
            f" {class_of(network)}, which cannot; use network=unet network.learned_variance=true, or"
            " sampler=ancestral"
        )
    elif learned is False:
        yield (
            f"sampler: {class_of(sampler)} needs a network that learns a variance, and"
            " network.learned_variance is false; use network.learned_variance=true, or sampler=ancestral"
        )


def guidance_is_given_its_settings(cfg: Config) -> Iterator[str]:
    """Which other classes, how many of them, and scales in an order: what its class would refuse later."""
    for path, node in objects(at(cfg, "guidance"), "guidance"):
        asked = attribute(node, "names_classes")
        if asked is not None and argument(node, asked) is None:
            yield f"{path}.{asked}: is null; say which classes, e.g. {path}.{asked}={_EXAMPLE[asked]}"
        for name, what in _AT_LEAST_ONE.items():
            if argument(node, name) == [] and not attribute(node, "one_way"):
                yield f"{path}.{name}: must name at least one {what}"
        scales, labels = argument(node, "scales"), argument(node, "labels")
        if isinstance(scales, list) and isinstance(labels, list) and len(scales) != len(labels):
            yield f"{path}.labels: must be as many as {path}.scales={scales}, got {labels}"
        if attribute(node, "one_way") and isinstance(scales, list) and not _one_way(scales):
            yield f"{path}.scales: must be two or more that only rise or only fall, got {scales}"


_EXAMPLE = {"label": "0", "labels": "[0]"}
_AT_LEAST_ONE = {
    "links": "guidance, got []; for no guidance use guidance=none",
    "layers": "part of the name of a layer, got []; for the middle of the U-Net use [mid]",
    "scales": "scale of another class, got []; for the sample's own class alone use guidance=cfg",
}


def _one_way(values: list[Any]) -> bool:
    numbers = [value for value in values if isinstance(value, int | float)]
    return len(numbers) >= 2 and sorted(numbers) in (numbers, numbers[::-1])
