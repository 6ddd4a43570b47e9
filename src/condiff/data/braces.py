"""Names of shards with ranges, such as ``set-{000..003}.tar``."""

import re
from collections.abc import Iterator

from condiff.errors import ConfigError

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000


def expanded(name: str, key: str) -> Iterator[str]:
    """Every name that one with ranges stands for, in order; ConfigError under a config ``key``."""
    match = RANGE.search(name)
    if match is None:
        if "{" in name or "}" in name:
            raise ConfigError(f"{key}: {name!r} has braces that are no range; write set-{{000..003}}.tar")
        yield name
        return
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < _MOST_SHARDS:
        raise ConfigError(f"{key}: {match[0]} is an empty or endless range; write {{000..003}}")
    for number in range(first, last + 1):
        yield from expanded(f"{name[: match.start()]}{number:0{len(match[1])}d}{name[match.end() :]}", key)
