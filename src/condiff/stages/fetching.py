"""How shards behind URLs come to a stage, which changes nothing of what it makes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from condiff.config.build import build


@contextmanager
def fetching(settings: Mapping[str, Any] | None) -> Iterator[None]:
    """Streamed sets that are opened inside are fetched by this config of ``data.fetch``."""
    if settings is None:
        yield
        return
    from condiff.data.streamed import FETCH  # noqa: PLC0415  what only data behind URLs need

    before = FETCH.set(build(settings, "data.fetch"))
    try:
        yield
    finally:
        FETCH.reset(before)
