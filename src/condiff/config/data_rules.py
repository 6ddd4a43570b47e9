"""Where a study's own shards lie, said once, and whether they may stay there."""

from collections.abc import Iterator

from condiff.config.kinds import objects
from condiff.config.nodes import Config, argument, class_of


def shards_lie_in_one_place(cfg: Config) -> Iterator[str]:
    """Either on this machine or behind URLs."""
    for part in ("data", "base_data"):
        for path, node in objects(cfg.get(part), part):
            if class_of(node) != "ShardFiles":
                continue
            here, there = (argument(node, name) is not None for name in ("path", "urls"))
            if here and there:
                yield f"{path}.urls: has no effect with {path}.path; give one of them"
            elif argument(node, "stream") is not None and path != part:
                yield f"{path}.stream: has no effect here, as {part} is made of these pictures; leave it null"
            elif not here and not there:
                yield f"{path}.path: is required; give it, e.g. {path}.path=..., or {path}.urls=..."
