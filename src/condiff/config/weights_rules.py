"""Which weights of a training are sampled with."""

from collections.abc import Iterator

from condiff.config.nodes import Config, at, words

BEYOND = 1.5  # times the longest kept average: within 2 % of the weights that it should have, by 16 snapshots


def checkpoint_is_kept(cfg: Config) -> Iterator[str]:
    """What is sampled from on the way must have been kept."""
    step, kept = cfg.get("checkpoint"), at(cfg, "trainer").get("keep") or []
    if type(step) is int and "samples" not in words(cfg.get("stages")):
        yield f"checkpoint: has no effect here, where nothing is sampled; leave it out, got {step}"
    elif type(step) is int and step not in kept:
        yield f"checkpoint: must be one of the steps in trainer.keep={kept}, got {step}; null is the end"


def average_is_kept(cfg: Config) -> Iterator[str]:
    """An average of another length is made of those that a training kept."""
    average, kept = cfg.get("average"), at(cfg, "trainer").get("averages") or []
    if at(cfg, "adapter", "trainer").get("averages"):
        yield "adapter.trainer.averages: an adapter has none, only the denoiser of trainer; leave it out"
    if average is None or (average != "raw" and type(average) not in (int, float)):
        return  # what is no number is told by its type
    if "samples" not in words(cfg.get("stages")):
        yield f"average: has no effect here, where nothing is sampled; leave it out, got {average}"
    elif cfg.get("checkpoint") is not None:
        yield "average: does not go with checkpoint, whose weights are those that were kept; leave one out"
    elif average != "raw" and not kept:
        yield f"average: is made of trainer.averages, such as [0.05,0.1], which are none; got {average}"
    elif average != "raw" and len(kept) == 1 and average != kept[0]:
        yield f"average: must be {kept[0]}, the only one in trainer.averages; others need two, got {average}"
    elif average != "raw" and not min(kept) <= average <= BEYOND * max(kept):
        yield (
            f"average: must be from {min(kept)} to {BEYOND * max(kept):g}, {BEYOND:g} times the longest of"
            f" trainer.averages, got {average}"
        )
