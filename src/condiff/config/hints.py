"""Did you mean?"""

import difflib
from collections.abc import Iterable


def closest(wrong: object, known: Iterable[str]) -> str | None:
    """The known name that a wrong one was probably meant to be."""
    near = difflib.get_close_matches(str(wrong), list(known), 1)
    return near[0] if near else None


def nearest(wrong: object, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` to end a line with, or nothing."""
    near = closest(wrong, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def no_such_choice(group: str, wrong: str, options: list[str]) -> str:
    hint = nearest(wrong, options) or ";"
    return f"{group}={wrong}: no such choice{hint} there are: {', '.join(options)}"
