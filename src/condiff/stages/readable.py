"""Whether metrics can read the captions that samples will be asked for; told before anything is trained."""

from collections.abc import Iterator

from condiff.config.nodes import Config, attribute
from condiff.data.source import Source
from condiff.errors import ConfigError
from condiff.scenes.captions import parse


def captions_can_be_read(cfg: Config, source: Source) -> None:
    """ConfigError where a metric reads captions of shapes alone, and those of the study are others."""
    readers = [f"metrics.{name}" for name, node in (cfg["metrics"] or {}).items() if _reads_shapes(node)]
    if "metrics" in cfg["stages"] and readers:
        wrong = [*_unread(cfg["text"], source, readers[0])]
        if wrong:
            raise ConfigError(*wrong)


def _reads_shapes(node: object) -> bool:
    return isinstance(node, dict) and bool(attribute(node, "needs_shapes"))


def _unread(given: str | list[str] | None, source: Source, reader: str) -> Iterator[str]:
    """A line for each text that was given, or for the first of the data's own."""
    if given is None:
        own = next((example.text for example in source.examples("held_out")), None)
        if own is not None and _fault(own):
            yield (
                f"{reader}: reads captions of shapes, and those of the data are others, such as {own!r}; use"
                " metrics=efficientnet_lite0, or drawings"
            )
        return
    for text in [given] if isinstance(given, str) else given:
        fault = _fault(text)
        if fault:
            yield f"text: {fault}; {reader} reads no other"


def _fault(text: str) -> str | None:
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None
