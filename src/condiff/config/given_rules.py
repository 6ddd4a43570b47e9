"""What a network asks of the study around it, and what follows from weights that it is given."""

from collections.abc import Collection, Iterator, Sequence

from condiff.config.nodes import Config, argument, at, attribute, class_of, words
from condiff.config.origins import draws

# Where the config has the network of a stage, and the settings of its training.
PLACES = {
    "denoiser": ("network",),
    "weaker": ("weaker", "network"),
    "classifier": ("classifier", "network"),
    "autoencoder": ("autoencoder", "network"),
}
# Choices that are told the noise level instead, on any process.
_OTHER = {
    "denoiser": "network=unet",
    "weaker": "weaker=narrow",
    "classifier": "classifier=half_unet",
}
_ALWAYS = ("name", "question", "stages", "task", "runtime", "logger")
# Tasks that read what runs have left and nothing else of a config, by their only stage.
_READING = {"comparison": ("compare", ("runs", *_ALWAYS)), "export": ("export", ("from", *_ALWAYS))}
_TRAINED = {
    "denoiser": ("trainer", "optimizer", "objective.times", "objective.weight"),
    "weaker": ("weaker.trainer",),
    "classifier": ("classifier.trainer", "classifier.optimizer", "classifier.method"),
}


def network_is_told_its_step(cfg: Config) -> Iterator[str]:
    """Some networks are told which step of a chain they are at, by its number; others the time of a flow."""
    process = at(cfg, "process")
    if attribute(at(cfg, "network"), "needs_flow") and not attribute(process, "straight"):
        name = class_of(at(cfg, "network"))
        yield f"process: must be a flow for {name}, got {class_of(process)}; use process=rectified_flow"
    for stage, keys in PLACES.items():
        node, path = at(cfg, *keys), ".".join(keys)
        if stage not in words(cfg.get("stages")) or not attribute(node, "needs_chain"):
            continue
        steps, own = argument(process, "num_steps"), argument(node, "num_steps")
        if steps is None and "_target_" in process:
            yield (
                f"{path}: {class_of(node)} is told the step of a chain, and process is {class_of(process)};"
                f" use process=linear or cosine_ddpm, or {_OTHER[stage]}"
            )
        elif steps is not None and steps != own:
            yield f"{path}.num_steps: must be process.num_steps={steps}, got {own}"


def given_weights_are_not_trained(cfg: Config) -> Iterator[str]:
    """A network that is given its weights is used as it is: there is no way to them, and no weaker copy."""
    stages = words(cfg.get("stages"))
    if at(cfg, "network").get("weights") is None or "denoiser" not in stages:
        return
    kept = at(cfg, "trainer").get("keep")
    if kept:
        yield f"trainer.keep: has no effect with network.weights: nothing is trained; leave it out ({kept})"
    if "weaker" in stages and at(cfg, "weaker").get("network") is None:
        instead = "guidance=cfg" if draws(cfg) else "weaker=narrow, or guidance=cfg"
        yield (
            "weaker.network: is null, which is network itself with the weights it is given, and so no weaker;"
            f" use {instead}"
        )


def first_stage_is_trained_or_given(cfg: Config) -> Iterator[str]:
    """An autoencoder that is given its weights is not trained, and any other one is."""
    own, network = at(cfg, "autoencoder"), at(cfg, "autoencoder", "network")
    if "autoencoder" not in words(cfg.get("stages")) or "_target_" not in network:
        return
    for part in ("method", "optimizer", "trainer"):
        is_there, is_given = own.get(part) is not None, network.get("weights") is not None
        if is_there and is_given:
            yield (
                f"autoencoder.{part}: has no effect with autoencoder.network.weights: nothing is trained;"
                " leave it null, or use autoencoder=pretrained"
            )
        elif not is_there and not is_given:
            yield (
                f"autoencoder.{part}: is null, and {class_of(network)} is to be trained; give it, or use"
                " autoencoder=compact_kl"
            )
    if network.get("weights") is not None and at(cfg, "perceptual").get("distance") is not None:
        yield (
            "perceptual: has no effect with autoencoder.network.weights: nothing is trained;"
            " use perceptual=none"
        )


def what_weighs_a_distance_has_one(cfg: Config) -> Iterator[str]:
    """A perceptual distance counts as often as it is said to, where there is one; 1 is what a yaml leaves."""
    node = at(cfg, "autoencoder", "method", "reconstruction")
    weight = argument(node, "distance_weight")
    if "autoencoder" not in words(cfg.get("stages")) or argument(node, "distance") is not None:
        return
    if weight not in (None, 0, 1):
        yield (
            "autoencoder.method.reconstruction.distance_weight: has no effect without a distance, got"
            f" {weight}; leave it at 1, or use perceptual=efficientnet_lite0 or lpips_vgg"
        )


def latents_are_those_of_the_training(cfg: Config) -> Iterator[str]:
    """A denoiser that is given was trained on latents of a stated scale, not of one measured here."""
    network, first = at(cfg, "network"), at(cfg, "autoencoder", "network")
    if network.get("weights") is None or not {"denoiser", "latents"} <= {*words(cfg.get("stages"))}:
        return
    if argument(first, "scale") is None:
        yield (
            "autoencoder.network.scale: is null, which is as measured, and network.weights was trained on"
            " latents of a stated one; give it with autoencoder=pretrained autoencoder.network.scale=0.18215"
            " (Stable Diffusion 1) or 1 (LDM with a codebook)"
        )


def without_training(settings: Sequence[tuple[str, str]], studies: Collection[Config]) -> Iterator[str]:
    """A line for each setting, its key and how it was written, of a training that no study has."""
    for stage, parts in _TRAINED.items():
        networks = [at(cfg, *PLACES[stage]) for cfg in studies if stage in words(cfg.get("stages"))]
        if not networks or any(node.get("weights") is None for node in networks):
            continue
        for key, text in settings:
            if any(key == part or key.startswith(f"{part}.") for part in parts):
                where = ".".join(PLACES[stage])
                yield f"{text}: has no effect with {where}.weights: nothing is trained; leave it out"
    if studies and all(map(_watches_nothing, studies)):
        for text in (text for key, text in settings if key == "metrics.every"):
            yield f"{text}: has no effect with network.weights: nothing is trained; leave it out"


def _watches_nothing(cfg: Config) -> bool:
    """Whether ``metrics.every`` asks for measurings of a training that there is not: a mistake where said."""
    stages, given = words(cfg.get("stages")), at(cfg, "network").get("weights") is not None
    untrained = given and "denoiser" in stages and "adapter" not in stages
    return untrained and bool(at(cfg, "metrics").get("every"))


def not_compared(settings: Sequence[tuple[str, str]], studies: Collection[Config]) -> Iterator[str]:
    """A line for each setting, its key and how it was written, that a task over runs does not read."""
    stages = {" ".join(words(cfg.get("stages"))) for cfg in studies}
    only = stages.pop() if len(stages) == 1 else ""
    if only not in _READING:
        return
    task, read = _READING[only]
    for key, text in settings:
        if key.split(".")[0] not in read and not key.startswith("hydra"):
            yield (
                f"{text}: has no effect on task={task}, which reads {', '.join(read)}; leave it out,"
                " or give it to the runs"
            )
