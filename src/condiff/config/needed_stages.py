"""Stages that a study need not name: what it has chosen brings them."""

from typing import Any

from condiff.config.kinds import objects
from condiff.config.nodes import Config, at, attribute, words
from condiff.config.signatures import TargetError, signature_of
from condiff.config.text_rules import reads_text

_MEASURING = ("metrics", "evaluation", "statistics")
# For pictures without labels.
WITHOUT_LABELS = (
    "use metrics=efficientnet_lite0, or metrics=reconstructed_features in a study of an autoencoder"
)
JUDGED = ("judge", "extractor")  # what a metric looks through: its own, or the study's judge


def with_needed_stages(cfg: Config) -> Any:
    """The stages of a study, with captions, adapter, a guidance's second model, the judge of its metrics."""
    stages, named = cfg.get("stages"), words(cfg.get("stages"))
    needed = []
    if "samples" in named:
        needed += [attribute(node, "needs_stage") for _, node in objects(at(cfg, "guidance"), "guidance")]
        needed += ["adapter"] if cfg.get("adapter") is not None else []
    if "adapter" in needed and cfg.get("prior") is not None:
        needed += ["prior", *(["prior_latents"] if "latents" in named else [])]
    if "denoiser" in named and cfg.get("base_data") is not None:
        needed += ["base_data", *(["base_latents"] if "latents" in named else [])]
        needed += ["base_texts"] if reads_text(cfg) else []
    if "denoiser" in named and reads_text(cfg):
        needed += ["texts"]
    every = at(cfg, "metrics").get("every")
    looks_on_the_way = type(every) is int and every > 0 and not {"denoiser", "adapter"}.isdisjoint(named)
    if looks_on_the_way or any(stage in named for stage in _MEASURING):
        needed += ["data", "judge"] if any(map(is_judged, at(cfg, "metrics").values())) else []
    if {"evaluation", "statistics"} & {*named} and cfg.get("reference") == "data":
        needed += ["data"]
    return list(dict.fromkeys([*named, *filter(None, needed)])) if needed else stages


def is_judged(metric: Any) -> bool:
    """Whether a metric looks through a network that its config does not give it."""
    if not isinstance(metric, dict) or "_target_" not in metric:
        return False
    try:
        asked = signature_of(str(metric["_target_"])).parameters
    except TargetError:
        return False
    return any(name in asked and metric.get(name) is None for name in JUDGED)
