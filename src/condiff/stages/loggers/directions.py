"""Which way is better, for a number of which only the name is known."""

import re
from typing import Literal

Direction = Literal["min", "max"]

# Words of a name, told apart by underscores and slashes; the first that is found decides.
_WORDS: tuple[tuple[Direction, str], ...] = (
    ("min", r"since"),  # the step from which on a condition is obeyed
    (
        "max",
        r"accuracy|psnr|ssim|precision|recall|density|coverage|vendi|diversity|score|is|f1|iou|use|overlap",
    ),
    ("min", r"loss|error|fd|fid|sfid|kid|cmmd|distance|lpips|kl"),
)


def better(name: str) -> Direction | None:
    """Whether less or more of it is better; None for what nobody can say, such as a learning rate."""
    for direction, words in _WORDS:
        if re.search(rf"(?:^|[_/])(?:{words})(?:[_/]|$)", name):
            return direction
    return None
