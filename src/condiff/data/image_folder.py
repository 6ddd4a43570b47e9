"""A user's own folder of pictures."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from condiff.data.held_out import order, safe_key
from condiff.data.listing import Listed, list_folder
from condiff.data.own_pictures import OwnPictures, Picture, Survey, Wanted
from condiff.data.pictures import MAX_PIXELS, Unreadable, decode
from condiff.data.source import refuse
from condiff.errors import DataError
from condiff.files import digest
from condiff.ranges import Count, Probability, checked

_OWN = "{text}"


class ImageFolder(OwnPictures):
    """Class folders; or any folder with metadata.jsonl / metadata.csv or sidecar .txt captions.

    Metadata name ``file_name`` and ``text`` or ``label`` or both; labels are integers from 0 or
    names, classes are sorted by name. With ``size`` null the size is the shortest side of all
    pictures, rounded down to ``multiple_of``, at most ``max_size``. A share of ``held_out`` is held
    out by a hash of each file's name. Up to a share of ``max_bad`` unusable pictures are left out
    and listed; by default the first one stops the run. With ``mirror`` every training sees each
    picture, or its latent, as it is or left for right, drawn anew each time. ``caption`` is said of each,
    with its own words for {text} where that stands in it. With ``buckets`` training pictures are not cut to
    squares but each to that of some rectangles which is most like it, of at most the area of the square,
    whose sides are multiples of ``buckets``; a batch has pictures of one shape.
    """

    @checked
    def __init__(
        self,
        path: str,
        size: Count | None = None,
        max_size: Count = 64,
        multiple_of: Count = 8,
        num_classes: Count | None = None,
        held_out: Probability = 0.1,
        max_pixels: Count = MAX_PIXELS,
        max_bad: Probability = 0.0,
        mirror: bool = False,
        caption: str | None = None,
        buckets: Count | None = None,
    ) -> None:
        limits = (size, max_size, multiple_of, num_classes, held_out, max_pixels, max_bad)
        wanted = Wanted(*limits, mirror, buckets)
        super().__init__(path, wanted)
        self.caption = None if caption is None else _template(caption)

    def _survey(self, memo_dir: Path | None) -> Survey:
        root = _folder(self.path)
        listing = list_folder(root)
        names = [item.name for item in listing.pictures if not item.fault]
        texts = [item.caption for item in listing.pictures if item.caption and not item.fault]
        texts += [listing.metadata] if listing.metadata else []
        looks = self._looks(root, names, memo_dir, self._look, "looking at pictures")
        looks |= self._looks(root, texts, memo_dir, _read_text, "reading captions")
        pictures = [self._captioned(_picture(root, item, looks)) for item in listing.pictures]
        broken = listing.broken
        if not pictures and not broken:
            broken = [f"data.path: {root} holds no picture; png, jpg, jpeg and webp are read"]
        contents = sorted((name, look["sha256"]) for name, look in looks.items())
        pictures.sort(key=lambda picture: order(picture.key))
        return Survey(pictures, listing.class_names, broken, digest(contents))

    def _bytes(self, picture: Picture) -> bytes:
        return Path(picture.where).read_bytes()

    def _captioned(self, picture: Picture) -> Picture:
        if self.caption is None or picture.fault:
            return picture
        if picture.text is None and _OWN in self.caption:
            return replace(picture, fault=f"has no text for the {_OWN} of data.caption; write one")
        return replace(picture, text=self.caption.replace(_OWN, picture.text or ""))

    def _looks(
        self, root: Path, names: list[str], memo_dir: Path | None, look: Any, what: str
    ) -> dict[str, dict[str, Any]]:
        found = self._memo.look([root / name for name in names], look, what, memo_dir)
        return dict(zip(names, found, strict=True))

    def _look(self, path: Path) -> dict[str, Any]:
        try:
            data = path.read_bytes()
        except OSError as error:
            return {"sha256": "", "fault": f"cannot be read ({error.strerror})"}
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            image = decode(data, self.wanted.max_pixels)
        except Unreadable as error:
            return {"sha256": sha256, "fault": str(error)}
        return {"sha256": sha256, "size": image.size, "grey": image.mode == "L"}


def _template(caption: str) -> str:
    if not caption.strip() or {*"{}"} & {*caption.replace(_OWN, "")}:
        raise ValueError(
            f"ImageFolder.caption must be words, and {_OWN} for each picture's own, got {caption!r}"
        )
    return caption


def _folder(path: str) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise DataError(f"data.path: {folder} {what}; give a folder of pictures")
    return folder


def folder_captions(root: Path) -> dict[str, str] | None:
    """The caption of each picture by its path in the folder; None without any, DataError for mistakes."""
    listing = list_folder(root)
    if listing.metadata is None and not any(item.caption for item in listing.pictures):
        return None
    looks = {item.caption: _read_text(root / item.caption) for item in listing.pictures if item.caption}
    pictures = [(item.name, _picture(root, item, looks)) for item in listing.pictures]
    faults = [f"{picture.where}: {picture.fault}" for _, picture in pictures if picture.fault]
    refuse(listing.broken + faults)
    said = {name: picture.text for name, picture in pictures if picture.text is not None}
    return said if len(said) == len(pictures) else None


def _read_text(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        return {"sha256": "", "fault": f"its {path.name} cannot be read as UTF-8 ({error})"}
    found = {"sha256": hashlib.sha256(data).hexdigest(), "text": text}
    return found if text else {**found, "fault": f"its {path.name} is empty; write a caption"}


def _picture(root: Path, item: Listed, looks: dict[str, dict[str, Any]]) -> Picture:
    look, caption = looks.get(item.name, {}), looks.get(item.caption or "", {})
    width, height = look.get("size", (0, 0))
    return Picture(
        key=safe_key(item.name),
        where=str(root / item.name),
        label=item.label,
        text=caption.get("text", item.text),
        height=height,
        width=width,
        grey=look.get("grey", False),
        fault=item.fault or look.get("fault") or caption.get("fault"),
    )
