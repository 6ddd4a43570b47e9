"""What a ControlNet, and the hints that samples are drawn with, ask of the study around them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from condiff.config.nodes import Config, at, attribute, class_of, words
from condiff.config.origins import draws

_CHOOSE = "choose a ControlNet with adapter=controlnet"


def has_hints(cfg: Config) -> bool:
    """Whether the adapter of a study reads a hint that comes with each picture."""
    own = attribute(at(cfg, "adapter", "tuning"), "needs_control")
    return bool(own) and "adapter" in words(cfg.get("stages"))


def comparing_hints(cfg: Config) -> dict[str, Config]:
    """The metrics that compare samples with hints, by the keys that the config has them under."""
    nodes = {f"metrics.{name}": node for name, node in at(cfg, "metrics").items()}
    return {
        path: node
        for path, node in nodes.items()
        if isinstance(node, Mapping) and attribute(node, "needs_control")
    }


def control_is_of_a_controlnet(cfg: Config) -> Iterator[str]:
    """How control is used is said of what is controlled, and pictures that a base draws have no hints."""
    adapter = at(cfg, "adapter")
    tuning, reads = at(adapter, "tuning"), attribute(at(adapter, "tuning"), "needs_control")
    if "_target_" not in tuning:
        return
    if reads and adapter.get("control") is None:
        yield f"adapter.control: is null, and {class_of(tuning)} needs it; use adapter=controlnet"
    if not reads and adapter.get("control") is not None:
        yield f"adapter.control: has no effect with {class_of(tuning)}; {_CHOOSE}, or leave it out"
    start, end = (at(adapter, "control").get(key) for key in ("start", "end"))
    if isinstance(start, int | float) and isinstance(end, int | float) and not start < end:
        yield f"adapter.control.start: must be below adapter.control.end={end:g}, got {start:g}"
    if reads and cfg.get("prior") is not None:
        yield f"prior: what the base draws has no hints, which {class_of(tuning)} reads; use prior=none"


def hints_are_heard(cfg: Config) -> Iterator[str]:
    """Hints of one's own are for samples that something controls, and no held-out picture belongs to them."""
    if cfg.get("control") is None:
        return
    stages = words(cfg.get("stages"))
    if "samples" not in stages:
        made = "hints are made with data=hinted_canny, hinted_edges, ...: see task=prepare"
        instead = made if stages == ["data"] else "leave it out"
        yield f"control: has no effect here, where nothing is drawn; {instead}"
    elif not has_hints(cfg) and not cfg.get("adapters"):
        instead = "give a ControlNet with adapters=[RUN]" if draws(cfg) else _CHOOSE
        yield f"control: has no effect without a ControlNet; {instead}, or leave it out"
    elif "metrics" in stages:
        yield (
            "control: samples are measured against held-out pictures, which are of their own hints; leave it"
            " out, or draw with task=sample from=RUN"
        )
    else:
        for path in words(cfg["control"]) or [cfg["control"]]:
            if isinstance(path, str) and not Path(path).expanduser().exists():
                yield f"control: {path} is not there; give a picture, or a folder of them"


def found_unasked(given: Sequence[tuple[str, str]], studies: Sequence[Config]) -> Iterator[str]:
    """Only who made the hints knows what they are of: a metric that looks for it is named in the command."""
    if any(key.removeprefix("~").partition(".")[0] == "metrics" for key, _ in given):
        return
    for cfg in studies:
        looking = [*comparing_hints(cfg)] if "metrics" in words(cfg.get("stages")) else []
        if looking and attribute(at(cfg, "data"), "hints_are_given"):
            yield (
                f"{looking[0]}: is of one kind of hint, yours in data.hints may be of another; say it with"
                " metrics=hints_edges, hints_canny, hints_hed, hints_mask, hints_grey, hints_lowres or"
                " hints_strokes, or take one that looks for no hint, such as metrics=clip_score"
            )
            return
