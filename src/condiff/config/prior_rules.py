"""What the pictures that a base draws for its adapter ask of the study around them."""

from collections.abc import Iterator

from condiff.config.guidance_rules import (
    guidance_fits_the_study,
    guidance_has_its_null,
    guidance_is_given_its_settings,
    learned_variance_is_learned,
    sampler_can_follow,
)
from condiff.config.kinds import objects
from condiff.config.nodes import Config, argument, at, attribute, class_of, words
from condiff.config.text_rules import reads_text, what_is_asked_is_heard

_AS_SAMPLES = (
    guidance_fits_the_study,
    guidance_has_its_null,
    guidance_is_given_its_settings,
    learned_variance_is_learned,
    sampler_can_follow,
    what_is_asked_is_heard,
)
_OWN = ("guidance", "sampler", "text", "label")  # what a prior calls as a study does its samples'


def prior_is_used(cfg: Config) -> Iterator[str]:
    """A prior is of an adapter's training, and takes every other place of its batches."""
    if cfg.get("prior") is None:
        return
    if cfg.get("adapter") is None or "adapter" not in words(cfg.get("stages")):
        yield (
            "prior: has no effect without an adapter; choose one with adapter=full or linear, or prior=none"
        )
        return
    size = argument(at(cfg, "adapter", "trainer"), "batch_size")
    if size == 1:
        yield (
            "adapter.trainer.batch_size: must be at least 2 with a prior, which has every other place, got 1"
        )


def prior_can_be_drawn(cfg: Config) -> Iterator[str]:
    """It is drawn as samples are, of what it is asked for by itself: no held-out picture shows that."""
    own = at(cfg, "prior")
    if not own:
        return
    study = {**cfg, **{key: own.get(key) for key in _OWN}}
    lines = (line for rule in _AS_SAMPLES for line in rule(study))
    yield from (_under_prior(line) for line in lines if line.startswith(_OWN))
    for path, node in objects(at(own, "guidance"), "prior.guidance"):
        if attribute(node, "needs_stage"):
            yield (
                f"{path}: {class_of(node)} needs a second model, which a prior is not given;"
                " use guidance@prior.guidance=cfg"
            )
    mirrored = [bool(argument(at(cfg, part), "mirror")) for part in ("data", "base_data")]
    if cfg.get("base_data") is not None and mirrored[0] != mirrored[1]:
        yield f"data.mirror: must be as that of base_data with a prior, got {mirrored[0]} and {mirrored[1]}"
    conditioner = at(cfg, "conditioner")
    if attribute(conditioner, "needs_source"):
        yield (
            f"prior: {class_of(conditioner)} asks for a picture to edit, which a prior has none of;"
            " use prior=none"
        )
    if reads_text(cfg) and own.get("text") is None and own.get("label") is None:
        yield (
            f"prior.text: is null, and conditioner {class_of(conditioner)} reads one; say what the base is to"
            " draw, prior.text=..."
        )


def _under_prior(line: str) -> str:
    """A line about samples as one about those of a prior, and what it says to use as well."""
    for key in ("guidance", "sampler"):
        line = line.replace(f" {key}=", f" {key}@prior.{key}=")
    return f"prior.{line}"
