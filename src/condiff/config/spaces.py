"""The space that is searched: an axis for each setting with several values, and what makes it none."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import IntervalSweep, RangeSweep, Sweep

from condiff.config.command_line import Setting

Point = list[Setting]


@dataclass(frozen=True)
class Axis:
    """One dimension of a space that is searched: numbers from ``low`` to ``high``, or ``words``.

    step: between the values, for whole numbers and ranges; None where every number between is one.
    """

    key: str
    words: Sequence[str] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def size(self) -> int | None:
        """How many values it has; None where there is no end of them."""
        if self.words:
            return len(dict.fromkeys(self.words))
        return None if self.step is None else int((self.high - self.low) / self.step + 1e-9) + 1

    def values(self) -> list[str]:
        """Each of them, as a word of the command line."""
        if self.words or self.step is None:
            return [*dict.fromkeys(self.words)]
        return [self.word(self.low + place * self.step) for place in range(self.size or 0)]

    @property
    def is_whole(self) -> bool:
        numbers = (self.low, self.high, self.step)
        return all(number is not None and float(number).is_integer() for number in numbers)

    def word(self, value: float) -> str:
        """An interval's with five digits, as more tell nothing; a step's as finely as the step asks."""
        if self.is_whole:
            return str(int(value))
        return f"{value:.5g}" if self.step is None else f"{value:.12g}"


def axis_of(setting: Setting) -> Axis:
    key, value = setting.parsed.get_key_element(), setting.parsed.value()
    if isinstance(value, IntervalSweep):
        low, high = _ends(value)
        whole = isinstance(low, int) and isinstance(high, int)
        return Axis(key, (), low, high, 1 if whole else None, "log" in value.tags)
    if isinstance(value, RangeSweep):
        start, _ = _ends(value)
        last = start + (_num_steps(value) - 1) * value.step
        return Axis(key, (), min(start, last), max(start, last), abs(float(value.step)))
    return Axis(key, words=[point.text.partition("=")[2] for point in setting.points()])


def corners(settings: Sequence[Setting]) -> list[Point]:
    """One point of a space, and those where one axis has another of its choices or its other end."""
    ends = [_outermost(setting) for setting in settings]
    first = [points[0] for points in ends]
    return [first] + [
        [*first[:place], other, *first[place + 1 :]]
        for place, points in enumerate(ends)
        for other in points[1:]
    ]


def wrong_ranges(setting: Setting) -> Iterator[str]:
    """What makes a range none, whether it is searched or gone through."""
    value = setting.parsed.value()
    if not isinstance(value, RangeSweep):
        return
    start, stop = _ends(value)
    if not all(map(math.isfinite, (start, stop, value.step))) or value.step == 0:
        yield f"{setting.text}: must have finite ends and a step other than 0; write {_range(setting, 1, 5)}"
    elif _num_steps(value) < 1:
        hint = _range(setting, *sorted((start, stop))) if start != stop else f"{setting.key}={start:g}"
        yield (
            f"{setting.text}: is a sweep over nothing, as a range goes from its start by its step to before"
            f" its stop; write {hint}"
        )


def wrong_axes(setting: Setting) -> Iterator[str]:
    """What makes a setting no axis of a search."""
    value = setting.parsed.value()
    if not isinstance(value, Sweep):
        return
    if isinstance(value, IntervalSweep):
        yield from _wrong_interval(setting, *_ends(value), is_log="log" in value.tags)
    elif value.tags:
        yield f"{setting.text}: a tag has no effect here; a logarithmic axis is tag(log,interval(LOW,HIGH))"
    others = sorted(map(str, value.tags - {"log"}))
    if isinstance(value, IntervalSweep) and others:
        yield f"{setting.text}: no such tag, {', '.join(others)}; the only one is log: tag(log,interval(1,8))"


def told_of_whole_numbers(mistakes: Sequence[str], settings: Sequence[Setting]) -> list[str]:
    """The same lines, with one that says what to write for each interval of a key that takes integers."""
    lines = [*mistakes]
    for setting in settings:
        value = setting.parsed.value() if setting.is_interval else None
        if not isinstance(value, IntervalSweep) or axis_of(setting).step is not None:
            continue
        start = f"{setting.key}: must be an integer"
        if any(line.startswith(start) for line in lines):
            written = f"{setting.parsed.get_key_element()}=int({setting.text.partition('=')[2]})"
            lines = [line for line in lines if not line.startswith(start)]
            lines.append(f"{start}, got {setting.text}, whose numbers are not whole; write {written}")
    return lines


def _wrong_interval(setting: Setting, low: float, high: float, is_log: bool) -> Iterator[str]:
    key = setting.parsed.get_key_element()
    if not (math.isfinite(low) and math.isfinite(high)):
        yield f"{setting.text}: the ends must be finite; write e.g. {key}=interval(1,8)"
    elif not low < high:
        hint = f"{key}=interval({high:g},{low:g})" if low != high else f"{key}={low:g}"
        yield f"{setting.text}: the first end must be below the other, got {low:g} and {high:g}; write {hint}"
    elif is_log and low <= 0:
        yield (
            f"{setting.text}: the ends of a logarithmic axis must be above 0, got {low:g}; give a small"
            f" number, or write {key}=interval({low:g},{high:g})"
        )


def _outermost(setting: Setting) -> list[Setting]:
    """Those that show whether all are right: the ends of an interval or a range, or every choice."""
    value = setting.parsed.value()
    if setting.is_sweep and isinstance(value, IntervalSweep):
        return [setting.to(str(end)) for end in _ends(value)]
    if setting.is_sweep and isinstance(value, RangeSweep):
        axis = axis_of(setting)
        return [setting.to(axis.word(end)) for end in dict.fromkeys((axis.low, axis.high))]
    return setting.points()


def _ends(value: IntervalSweep | RangeSweep) -> tuple[float, float]:
    first, second = (value.start, value.end if isinstance(value, IntervalSweep) else value.stop)
    assert first is not None
    assert second is not None
    return first, second


def _num_steps(value: RangeSweep) -> int:
    start, stop = _ends(value)
    return math.ceil((stop - start) / value.step - 1e-9)


def _range(setting: Setting, start: float, stop: float) -> str:
    return f"{setting.parsed.get_key_element()}=range({start:g},{stop:g})"
