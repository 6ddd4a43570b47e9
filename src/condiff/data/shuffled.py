"""Captions of comma-separated parts, in an order that does not matter."""

from collections.abc import Callable, Sequence

from torch import Tensor

Uniform = Callable[[str], Tensor]  # a stream of draws by its name, [B] in [0, 1)


def shuffled(texts: Sequence[str], keep: int, uniform: Uniform) -> list[str]:
    """Each with its parts in an order that is drawn, but the first ``keep``, which stay first.

    The k-th parts of all captions take their places by one stream, so that the order of a caption does not
    depend on those beside it.
    """
    parts = [text.split(",") for text in texts]
    at = [uniform(f"caption_part.{k}").tolist() for k in range(keep, max(map(len, parts)))]
    return [_in_order(own, keep, [drawn[row] for drawn in at]) for row, own in enumerate(parts)]


def can_be_shuffled(text: str, keep: int) -> bool:
    """Whether a caption has two parts or more beyond those that are kept."""
    return text.count(",") > keep


def _in_order(parts: Sequence[str], keep: int, at: Sequence[float]) -> str:
    if len(parts) < keep + 2:
        return ",".join(parts)
    rest = sorted(range(keep, len(parts)), key=lambda k: at[k - keep])
    return ", ".join(parts[k].strip() for k in [*range(keep), *rest])
