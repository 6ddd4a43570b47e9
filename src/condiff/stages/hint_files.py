"""Where the hints are that a user gives for samples; no torch."""

from collections.abc import Sequence
from pathlib import Path

from condiff.data.pictures import EXTENSIONS
from condiff.errors import DataError


def hint_files(path: str) -> list[Path]:
    """The pictures of a folder by their names, or the one that is named; DataError where there are none."""
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"control: {path} is not there; give a picture, or a folder of them")
    inside = sorted(place.iterdir()) if place.is_dir() else [place]
    files = [file for file in inside if file.is_file() and file.suffix[1:].lower() in EXTENSIONS]
    if not files:
        raise DataError(
            f"control: {path} holds no picture; give a file, or a folder, of {', '.join(EXTENSIONS)}"
        )
    return files


def hint_of_each(given: Sequence[str], num: int, num_held_out: int) -> list[str]:
    """The hint of each of so many samples: its files, or where none is given "held-out" and its place."""
    if not given:
        return [f"held-out {index % num_held_out}" for index in range(num)]
    files = [hint_files(path) for path in given]
    return [", ".join(str(own[index % len(own)]) for own in files) for index in range(num)]
