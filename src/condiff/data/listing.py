"""Which pictures a folder holds and what is said about them: class folders, metadata or captions."""

import csv
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from condiff.data.pictures import EXTENSIONS

_METADATA = ("metadata.jsonl", "metadata.csv")
_NOT_READ = ("gif", "bmp", "tif", "tiff", "heic", "heif", "avif", "jfif", "ppm", "pgm", "jp2")
_NO_LABEL = "has no label; every row needs one"
_INTEGER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Listed:
    """A picture by its path in the folder, or why it cannot be one."""

    name: str
    label: int | None = None
    text: str | None = None
    caption: str | None = None  # path of a sidecar .txt
    fault: str | None = None


@dataclass(frozen=True)
class Listing:
    pictures: list[Listed]
    class_names: list[str] = field(default_factory=list)
    metadata: str | None = None
    broken: list[str] = field(default_factory=list)  # mistakes of the folder as a whole


def list_folder(root: Path) -> Listing:
    """Metadata counts before sidecar captions, and these before class folders."""
    files = sorted(_files(root))
    pictures = [_listed(name) for name in files if _extension(name) in (*EXTENSIONS, *_NOT_READ)]
    metadata = [name for name in _METADATA if name in files]
    if len(metadata) == 2:
        return Listing([], broken=[f"{root}: holds metadata.jsonl and metadata.csv; keep one"])
    if metadata:
        return _from_metadata(root, metadata[0], pictures)
    captions = {_stem(name) for name in files if _extension(name) == "txt"}
    if any(_stem(picture.name) in captions for picture in pictures):
        return Listing([_captioned(picture, captions) for picture in pictures])
    return _from_folders(root, pictures)


def _files(root: Path) -> Iterator[str]:
    """Paths below ``root`` in posix form; hidden ones are left aside, links are followed once."""
    seen: set[str] = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        inner[:] = [] if real in seen else [name for name in inner if not name.startswith(".")]
        if real not in seen:
            below = Path(folder).relative_to(root)
            yield from ((below / name).as_posix() for name in names if not name.startswith("."))
        seen.add(real)


def _extension(name: str) -> str:
    return PurePosixPath(name).suffix[1:].lower()


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _listed(name: str) -> Listed:
    extension = _extension(name)
    if extension in EXTENSIONS:
        return Listed(name)
    return Listed(name, fault=f"is a .{extension}; {', '.join(EXTENSIONS)} are read")


def _captioned(picture: Listed, captions: set[str]) -> Listed:
    caption = f"{_stem(picture.name)}.txt"
    if _stem(picture.name) in captions:
        return replace(picture, caption=caption)
    return replace(picture, fault=picture.fault or f"has no caption; write one to {caption}")


def _from_folders(root: Path, pictures: list[Listed]) -> Listing:
    """The first folder on the way to a picture is its class; a flat folder has none."""
    tops = {picture.name.split("/")[0] for picture in pictures if "/" in picture.name}
    if not tops:
        return Listing(pictures)
    folders = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    broken = [f"{root / name}: holds no picture; every folder is a class" for name in sorted(folders - tops)]
    classes = {name: index for index, name in enumerate(sorted(folders))}
    beside = "lies beside class folders; move it into one, or describe all in metadata.csv"
    return Listing(
        [
            replace(picture, label=classes[picture.name.split("/")[0]])
            if "/" in picture.name
            else replace(picture, fault=beside)
            for picture in pictures
        ],
        list(classes),
        broken=broken,
    )


def _from_metadata(root: Path, metadata: str, pictures: list[Listed]) -> Listing:
    try:
        rows = list(_rows(root / metadata))
    except (OSError, ValueError, csv.Error) as error:
        return Listing([], broken=[f"{root / metadata}: {error}"])
    with_text = any(_given(row.get("text")) for _, row in rows)
    labels, class_names = _labels([row.get("label") for _, row in rows])
    named: dict[str, Listed] = {}
    for (number, row), label in zip(rows, labels, strict=True):
        name = str(PurePosixPath(str(row["file_name"])))
        place = f"{metadata} line {number}"
        fault = _name_fault(root, name, place) or (label if isinstance(label, str) else None)
        if name in named:
            fault = f"has a second row at {place}; one is allowed"
        text = row.get("text") if with_text else None
        if with_text and not (isinstance(text, str) and text.strip()):
            fault = fault or f"has no text at {place}; every row needs one"
        index = label if isinstance(label, int) else None
        named[name] = Listed(name, index, text if isinstance(text, str) else None, fault=fault)
    unnamed = f"has no row in {metadata}; every picture needs one"
    rest = [replace(picture, fault=unnamed) for picture in pictures if picture.name not in named]
    return Listing([*named.values(), *rest], class_names, metadata)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and row; ValueError says which line is none."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        if path.suffix == ".csv":
            reader = csv.DictReader(lines, strict=True)
            numbered = ((reader.line_num, row) for row in reader)
        else:
            numbered = ((number, _json(line, number)) for number, line in enumerate(lines, 1) if line.strip())
        for number, row in numbered:
            if not isinstance(row, dict) or not _given(row.get("file_name")) or None in row:
                raise ValueError(f"line {number} is no row; file_name and text or label are needed")
            yield number, row


def _json(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is no JSON object ({error})") from error


def _given(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def _labels(values: list[Any]) -> tuple[list[int | str | None], list[str]]:
    """A class, or what is wrong, for every row; and the names of the classes if labels are names."""
    given = [value for value in values if _given(value)]
    if not given:
        return [None] * len(values), []
    if all(isinstance(value, str) and not _INTEGER.fullmatch(value.strip()) for value in given):
        names = {name: index for index, name in enumerate(sorted({value.strip() for value in given}))}
        return [names[value.strip()] if _given(value) else _NO_LABEL for value in values], list(names)
    return [_label(value) for value in values], []


def _label(value: Any) -> int | str:
    if not _given(value):
        return _NO_LABEL
    if isinstance(value, bool | float) or not _INTEGER.fullmatch(str(value).strip()):
        return f"label {value!r} is no integer; labels are all integers from 0, or all names"
    return int(value)


def _name_fault(root: Path, name: str, place: str) -> str | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"leads out of the folder at {place}; paths below it are allowed"
    if _extension(name) not in EXTENSIONS:
        return f"is no picture at {place}; {', '.join(EXTENSIONS)} are read"
    return None if (root / name).is_file() else f"is missing; {place} names it"
