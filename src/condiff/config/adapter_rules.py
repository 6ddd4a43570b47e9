"""What an adapter asks of the study around it."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from condiff.config.nodes import Config, argument, at, attribute, class_of, words
from condiff.config.origins import draws
from condiff.config.text_rules import reads_text

_CHOOSE = "choose one with adapter=linear, attention or linear_conv"

_SHARES = re.compile(r"(.*):(\d*\.?\d+)-(\d*\.?\d+)")  # FILE:SCALE:START-END
FORMS = "FILE, FILE:SCALE or FILE:SCALE:START-END, of a ControlNet in guess mode and :guess"
# At the end of what names a ControlNet: guess mode, by the curve of adapter=controlnet_guess and the other.
_GUESSES = {
    "guess": "condiff.adapters.control.GuessOriginal",
    "guess_diffusers": "condiff.adapters.control.GuessDiffusers",
}

# Parts that a study may not have: their name in a sentence, a key that each has, and how to have one.
PARTS = {"adapter": ("an adapter", "tuning", _CHOOSE), "prior": ("a prior", "sampler", "use prior=drawn")}


def without_what_is_taken_away(cfg: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """The config without what a study's file says of an adapter or a prior that ``adapter=none`` takes away.

    given: the keys of the command, whose own settings stay, to be told of.
    """
    found, given = dict(cfg), [*given]
    for part, (_, mark, _) in PARTS.items():
        own = cfg.get(part)
        if part in given and isinstance(own, Mapping) and mark not in own:
            said = {key.split(".")[1] for key in given if key.startswith(f"{part}.")}
            found[part] = {key: value for key, value in own.items() if key in said} or None
    return found


def without_stray_settings(cfg: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The config without settings of an adapter or a prior it does not have, and a line for each of them."""
    found, lines = dict(cfg), []
    for part, (without, mark, choose) in PARTS.items():
        own = cfg.get(part)
        if isinstance(own, Mapping) and mark not in own:
            found[part] = None
            lines += [
                f"{part}.{key}: has no effect without {without}; {choose}, or leave it out" for key in own
            ]
    return found, lines


def with_scale(entry: str) -> tuple[str, float]:
    """The place and the scale in FILE:SCALE; FILE alone is at 1. ValueError of a scale that is not finite."""
    place, colon, last = entry.rpartition(":")
    try:
        scale = float(last) if colon else 1.0
    except ValueError:
        return entry, 1.0  # a colon of its name
    if not math.isfinite(scale):
        raise ValueError(f"the scale must be finite, got {last}")
    return (place, scale) if colon else (entry, scale)


def with_shares(entry: str) -> tuple[str, tuple[float, float] | None]:
    """FILE:SCALE and the shares of the way in FILE:SCALE:START-END, if any; ValueError of others."""
    found = _SHARES.fullmatch(entry)
    if found is None:
        return entry, None
    start, end = float(found[2]), float(found[3])
    if end <= start <= 1:
        raise ValueError(f"START must be below END, got {start:g}-{end:g}")
    if not 0 <= start < end <= 1:
        raise ValueError(f"START-END must be shares of the way, 0 to 1, got {start:g}-{end:g}")
    return found[1], (start, end)


def with_guess(entry: str) -> tuple[str, str | None]:
    """What stands before ``:guess`` or ``:guess_diffusers``, and the target of that use, if it is one."""
    rest, _, last = entry.rpartition(":")
    return (rest, _GUESSES[last]) if rest and last in _GUESSES else (entry, None)


def finished_adapters_are_named(cfg: Config) -> Iterator[str]:
    """Those that samples are drawn with, each at a scale."""
    given = words(cfg.get("adapters"))
    if given and "samples" not in words(cfg.get("stages")):
        yield f"adapters: has no effect here, where nothing is sampled; leave it out, got {given}"
    for place, entry in enumerate(given):
        try:
            named = with_scale(with_shares(with_guess(entry)[0])[0])[0].strip()
        except ValueError as error:
            yield f"adapters[{place}]: {error}; give {FORMS}"
        else:
            if not named:
                yield f"adapters[{place}]: must be {FORMS}, got {entry!r}"


def adapter_is_used(cfg: Config) -> Iterator[str]:
    """An adapter is seen in samples alone, and what is looked at while a denoiser trains has none yet."""
    stages, given = words(cfg.get("stages")), cfg.get("checkpoint")
    if cfg.get("adapter") is None:
        if cfg.get("base") is not None and not cfg.get("adapters"):
            yield f"base: has no effect without an adapter; {_CHOOSE}, or leave it out"
        return
    if "adapter" not in stages:
        yield "adapter: has no effect here, where nothing is sampled; use adapter=none"
        return
    if given is not None:
        yield f"checkpoint: an adapter is of the end of its base's training; leave it out, got {given}"
    kept = at(cfg, "adapter", "trainer").get("keep")
    yield from _text_is_trained_where_it_can_be(cfg)
    after = argument(at(cfg, "adapter", "method"), "shuffle_after")
    if after is not None and not reads_text(cfg):
        yield f"adapter.method.shuffle_after: has no effect without captions; leave it out, got {after}"
    if kept:
        yield f"adapter.trainer.keep: has no effect, an adapter is kept at its end; leave it out, got {kept}"


def _text_is_trained_where_it_can_be(cfg: Config) -> Iterator[str]:
    own, encoder = at(cfg, "adapter"), at(cfg, "conditioner", "encoder")
    if own.get("text") is None:
        if own.get("text_rate") not in (None, 1.0):
            yield "adapter.text_rate: has no effect without adapter.text; leave it out"
        return
    if not attribute(encoder, "trains"):
        what = class_of(encoder or at(cfg, "conditioner"))
        yield (
            f"adapter.text: {what} is not trained with a denoiser, only CLIP of a Stable Diffusion; use null"
        )
    if argument(at(own, "text"), "frozen") not in (None, "float32"):
        yield "adapter.text.frozen: must be float32, which a text encoder is kept in; leave it out"
    nodes = {key: at(own, key) for key in ("tuning", "text") if "_target_" in at(own, key)}
    for key, node in nodes.items():
        if not attribute(node, "with_text"):
            yield (
                f"adapter.{key}: must be a LowRank or a Whole where text encoders are trained, got"
                f" {class_of(node)}"
            )
            return
    if [attribute(node, "by_parts") for node in nodes.values()] == [False, True]:
        yield (
            f"adapter.text: must be a Whole beside a Whole, got {class_of(nodes['text'])}; use"
            " adapter=stable_diffusion_full_with_text"
        )


def class_is_of_a_subject(cfg: Config) -> Iterator[str]:
    """A class is drawn beside a subject by a study that trains an adapter, and that is told in words."""
    if cfg.get("class_text") is None:
        return
    if draws(cfg) or cfg.get("adapter") is None or "samples" not in words(cfg.get("stages")):
        yield "class_text: is for a study that trains an adapter and draws samples; leave it out"
    elif not reads_text(cfg):
        name = class_of(at(cfg, "conditioner"))
        yield f"class_text: has no effect where conditioner is {name}, which does not read it; leave it out"


def trigger_calls_up(cfg: Config) -> Iterator[str]:
    """The word that is to call up what an adapter has learned is one of those that it is trained with."""
    caption, words_of = at(cfg, "data").get("caption"), at(cfg, "adapter").get("trigger")
    if not isinstance(caption, str) or not isinstance(words_of, list) or not words_of:
        return
    lacking = [word for word in words_of if str(word).lower() not in caption.lower()]
    if lacking:
        yield (
            f"adapter.trigger: {lacking[0]} is not in data.caption={caption!r}, which it has; give"
            " its rare word, adapter.trigger=[...], and the other words of the subject: text, prior.text"
        )


def base_is_trained_on_its_data(cfg: Config) -> Iterator[str]:
    """Data of a base are for a base that is trained here, and are seen by metrics where there are some."""
    for name, node in at(cfg, "metrics").items():
        if not isinstance(node, Mapping) or cfg.get("base_data") is not None:
            continue
        for key, own in (("fit", "train"), ("fake", "samples"), ("real", "train")):
            if argument(node, key) == "base":
                yield (
                    f"metrics.{name}.{key}: must be {own} where there is no base_data, got base; leave it"
                    f" out, with ~metrics.{name}"
                )
    if cfg.get("base_data") is not None and "denoiser" not in words(cfg.get("stages")):
        yield "base_data: has no effect here, where no denoiser is trained; leave it out"
