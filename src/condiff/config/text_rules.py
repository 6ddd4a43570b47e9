"""Whether a study has what its condition, its guidance and its metrics read: captions, pictures."""

from collections.abc import Iterator, Mapping
from typing import Any

from condiff.config.control_rules import has_hints
from condiff.config.guidance_rules import is_plain
from condiff.config.kinds import objects
from condiff.config.nodes import Config, argument, at, attribute, class_of, words
from condiff.config.origins import FROM, draws, origin_of


def reads_text(cfg: Config) -> bool:
    """Whether the condition of a study, or a part of it, is made of captions."""
    return any(attribute(node, "needs_text") for _, node in objects(at(cfg, "conditioner"), ""))


def text_is_attended_to(cfg: Config) -> Iterator[str]:
    """Tokens of text need a network with attention to them."""
    for path in ("network", "weaker.network"):
        node = at(cfg, *path.split("."))
        if reads_text(cfg) and "_target_" in node and not attribute(node, "attends"):
            yield (
                f"{path}: {class_of(node)} cannot attend to text, which conditioner"
                f" {class_of(at(cfg, 'conditioner'))} gives; use network=unet_cross_attention, or"
                " conditioner=label"
            )


def captions_are_encoded_for_text(cfg: Config) -> Iterator[str]:
    """The stage that encodes captions comes by itself with a condition that reads them, and with no other."""
    if "texts" in words(cfg.get("stages")) and not reads_text(cfg):
        yield (
            "stages: texts has no captions to encode where conditioner is"
            f" {class_of(at(cfg, 'conditioner'))}; leave it out, or use conditioner=text"
        )


def several_are_dropped_in_turn(cfg: Config) -> Iterator[str]:
    """Where parts are dropped one at a time, all of those shares and one more must fit into the whole."""
    drop = argument(at(cfg, "method"), "drop_condition")
    for path, node in objects(at(cfg, "conditioner"), "conditioner"):
        parts = at(node, "parts")
        if argument(node, "dropout") != "exclusive" or not parts or not isinstance(drop, int | float):
            continue
        most = 1 / (len(parts) + 1)
        if drop > most:
            yield (
                f"method.drop_condition: must be at most {most:.3g} with {path}.dropout=exclusive and"
                f" {len(parts)} parts, got {drop:g}"
            )


def negative_leads_away(cfg: Config) -> Iterator[str]:
    """A negative text is what a guidance by the null leads away from, where there is text and guidance."""
    guidance = at(cfg, "guidance")
    negative = guidance.get("negative")
    if negative == []:
        yield "guidance.negative: must name at least one, got []; null leads away from what is not asked for"
    if not negative:
        return
    if not reads_text(cfg):
        use = "use" if draws(cfg) else "use conditioner=text, or"
        yield (
            f"guidance.negative: has no effect where conditioner is {class_of(at(cfg, 'conditioner'))}, which"
            f" reads no text; {use} guidance=negative guidance.label=K"
        )
    guided = objects(guidance, "guidance")
    by_null = [(path, node) for path, node in guided if attribute(node, "needs_null")]
    if not by_null:
        yield (
            f"guidance.negative: has no effect with {class_of(guidance)}, which leads away from nothing that"
            " is not asked for; use guidance=cfg"
        )
    elif all(is_plain(node) for _, node in by_null) and not (draws(cfg) and negative == _of_run(cfg)):
        path = f"{by_null[0][0]}.scale"
        yield f"guidance.negative: has no effect at {path}=1, the plain conditional model; use {path}=2"


def _of_run(cfg: Config) -> Any:
    """The words of the run that is drawn from, which nobody gave again; None where it has none."""
    return at(origin_of(cfg[FROM]).config, "guidance").get("negative")


def classes_are_led_away_from_where_they_are_told(cfg: Config) -> Iterator[str]:
    """A guidance by other classes than a sample's own is for a condition that tells classes apart."""
    conditioner = at(cfg, "conditioner")
    if not reads_text(cfg) or reads_label(cfg):
        return
    for path, node in objects(at(cfg, "guidance"), "guidance"):
        named = attribute(node, "names_classes")
        if named is not None:
            instead = "negative" if draws(cfg) else "guidance.negative"
            yield (
                f"{path}.{named}: no classes are told apart where conditioner is {class_of(conditioner)};"
                f" use guidance=cfg with words to lead away from, {instead}='...'"
            )


def what_is_asked_is_heard(cfg: Config) -> Iterator[str]:
    """A text or a class for samples is for a condition that reads it, and for a study that draws some."""
    conditioner, stages = at(cfg, "conditioner"), words(cfg.get("stages"))
    reads = {"text": reads_text(cfg), "label": reads_label(cfg)}
    for key, is_read in reads.items():
        given, name = cfg.get(key), class_of(conditioner)
        if given is None:
            continue
        if "samples" not in stages:
            yield f"{key}: has no effect here, where nothing is drawn; leave it out"
        elif key == "label" and attribute(conditioner, "needs_source") and "metrics" in stages:
            yield (
                f"label: {name}'s true answers are of each picture's own label; leave it out, or draw with"
                " task=sample from=RUN"
            )
        elif given == []:
            yield f"{key}: must name at least one, got []; null asks for what held-out pictures show"
        elif "_target_" in conditioner and not is_read:
            why = f"has no effect where conditioner is {name}, which does not read it"
            yield f"{key}: {why}; {_use(cfg, key)}"
    yield from _half_asked(cfg, reads)


def _half_asked(cfg: Config, reads: Mapping[str, bool]) -> Iterator[str]:
    """Where a condition is made of both, the one that is not named would be a held-out picture's own."""
    given = [key for key in reads if cfg.get(key) is not None]
    if all(reads.values()) and len(given) == 1 and "samples" in words(cfg.get("stages")):
        (other,) = reads.keys() - {*given}
        instead = _INSTEAD[given[0]][0]
        yield f"{other}: is that of a held-out picture where {given[0]} is given alone; give {instead}, too"


def _use(cfg: Config, key: str) -> str:
    """What could be asked for instead; of something finished there is no other condition."""
    word, reads, other = _INSTEAD[key]
    if draws(cfg):
        return f"use {word}" if reads(cfg) else "leave it out"
    return f"use {word}, or {other}"


def classes_are_known(cfg: Config, num_classes: int) -> Iterator[str]:
    """Samples, and a guidance by other classes than a sample's own, are of classes that the data has."""
    named = [("label", cfg["label"]), ("prior.label", at(cfg, "prior").get("label"))]
    for path, node in objects(cfg["guidance"], "guidance"):
        named += [(f"{path}.{key}", node.get(key)) for key in ("label", "labels")]
    for key, given in named:
        for label in given if isinstance(given, list) else [given]:
            if label is not None and label >= num_classes:
                yield f"{key}: must be in 0..{num_classes - 1}, the classes of the data, got {label}"


def reads_label(cfg: Config) -> bool:
    """Whether the condition of a study, or a part of it, is made of classes."""
    parts = [node for _, node in objects(at(cfg, "conditioner"), "")]
    return any("label" in (attribute(node, "gives") or ()) for node in parts)


def metrics_are_told_what_they_read(cfg: Config) -> Iterator[str]:
    """Captions come with a study of text, and sources and answers with a study of edits."""
    stages, edits = words(cfg.get("stages")), attribute(at(cfg, "conditioner"), "needs_source")
    hints = has_hints(cfg) or bool(cfg.get("adapters"))  # one of which may be a ControlNet
    known = (
        {"sources", "targets"} if edits else {"targets"} if hints or "reconstructions" in stages else set()
    )
    for name, node in at(cfg, "metrics").items():
        if not isinstance(node, dict) or "metrics" not in stages:
            continue
        instead = attribute(node, "needs_text_without")
        untold = bool(instead) and argument(node, instead) is None
        if (attribute(node, "needs_text") or untold) and not reads_text(cfg):
            other = f" metrics.{name}.{instead}=[...] of each class," if untold else ""
            yield (
                f"metrics.{name}: reads captions, which samples of this study do not have; use{other}"
                " conditioner=text, task=evaluate of a folder with metadata.jsonl, or metrics=judged"
            )
        if attribute(node, "needs_control") and not hints:
            yield (
                f"metrics.{name}: compares samples with hints, which only a study with a ControlNet has; give"
                " one with adapter=controlnet or adapters=[RUN], or use metrics=judged"
            )
        sides = [argument(node, side) for side in ("fake", "real")]
        if ("class" in sides or "class_of_base" in sides) and cfg.get("class_text") is None:
            yield f"metrics.{name}: compares samples of a subject's class; name it, class_text='...'"
        paired = " and ".join(side for side in ("sources", "targets") if side in sides and side not in known)
        if paired:
            yield (
                f"metrics.{name}: compares {paired}, which only a study of edits has; use"
                " experiment=instruct_pix2pix, or metrics=judged"
            )


# What reads it, and how a study comes to read what was asked for.
_INSTEAD = {
    "text": ("label=K", reads_label, "conditioner=text"),
    "label": ("text='...'", reads_text, "conditioner=label"),
}
