"""Which examples are held out, and the order of a set: by the keys alone, whatever the seed of a run.

Every key has fixed draws, so a picture keeps its side when others are added.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

_BY_CHANCE = 6  # standard deviations
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")


def draw(key: str, purpose: str = "held out") -> float:
    """A number in [0, 1) that belongs to the key."""
    return int.from_bytes(hashlib.sha256(f"{purpose}: {key}".encode()).digest()[:6], "big") / 2**48


def order(key: str) -> float:
    """Sorting by it mixes the classes."""
    return draw(key, "order")


def per_class(labels: Mapping[str, int], count: int) -> set[str]:
    """The ``count`` keys of each class with the smallest draws."""
    classes: dict[int, list[str]] = {}
    for key, label in labels.items():
        classes.setdefault(label, []).append(key)
    return {key for keys in classes.values() for key in sorted(keys, key=draw)[:count]}


def by_share(keys: Sequence[str], share: float) -> set[str]:
    """Keys with a draw below ``share``; from ten keys on neither side is empty.

    Of keys that chance alone would not have left so few of, as of the training part of a set that was split
    so before, those with the smallest draws.
    """
    held, expected = {key for key in keys if draw(key) < share}, share * len(keys)
    if len(held) < expected - _BY_CHANCE * math.sqrt(expected * (1 - share)):
        held = {*sorted(keys, key=draw)[: round(expected)]}
    if share and len(keys) >= 10:
        held = held or {min(keys, key=draw)}
        held -= {max(keys, key=draw)} if len(held) == len(keys) else set()
    return held


def safe_key(name: str) -> str:
    """A key for shards: plain names as they are, others cleaned and told apart by a hash."""
    if _PLAIN.fullmatch(name):
        return name
    cleaned = re.sub(r"[^A-Za-z0-9_]+", "-", name.rsplit(".", 1)[0])[-60:].strip("-")
    return f"{cleaned}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
