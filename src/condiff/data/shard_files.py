"""A user's own WebDataset shards."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from condiff.data.ahead import AHEAD
from condiff.data.download import shown
from condiff.data.fetched import Fetch, Fetched
from condiff.data.foreign import index_shard, read_label
from condiff.data.held_out import safe_key
from condiff.data.own_pictures import OwnPictures, Picture, Sound, Survey, Wanted
from condiff.data.pictures import EXTENSIONS, MAX_PIXELS, Frame, Unreadable, decode
from condiff.data.places import Local
from condiff.data.sample import CONTROL, FRAMING, Sample, read_part
from condiff.data.shard_order import OPEN
from condiff.data.source import DataInfo, Example, Split
from condiff.errors import ConfigError, DataError
from condiff.files import digest
from condiff.ranges import Count, Probability, checked

Stream = Literal["exact", "resampled"]
_SCHEMES = ["https", "http"]


class ShardFiles(OwnPictures):
    """Tars at a local ``path``, or behind ``urls``: a folder, one file, or a range such as
    ``/data/set-{000..003}.tar``; a list of the same with URLs, of the ``schemes`` that are allowed.

    Labels are read from ``.cls``, captions from ``.txt`` or from ``text`` or ``caption`` of ``.json``, and
    hints, as large as their pictures and fitted alike, from ``.control.png``.
    Shards named ``train-*`` and ``held_out-*`` keep their sides, others are split by key; an index
    beside the shards (``index-SPLIT.jsonl``) must agree with them. With ``stream`` the training pictures stay
    behind their URLs and come in that order (``ShardOrder``). The other arguments are those of ImageFolder.
    """

    @checked
    def __init__(
        self,
        path: str | None = None,
        urls: str | list[str] | None = None,
        schemes: list[str] | None = None,
        fetch: Fetch | None = None,
        stream: Stream | None = None,
        size: Count | None = None,
        max_size: Count = 64,
        multiple_of: Count = 8,
        num_classes: Count | None = None,
        held_out: Probability = 0.1,
        max_pixels: Count = MAX_PIXELS,
        max_bad: Probability = 0.0,
        mirror: bool = False,
        buckets: Count | None = None,
    ) -> None:
        limits = (size, max_size, multiple_of, num_classes, held_out, max_pixels, max_bad)
        wanted = Wanted(*limits, mirror, buckets)
        if (path is None) == (urls is None):
            raise ConfigError("data.path: give it, or data.urls, and not both")
        named = [urls] if isinstance(urls, str) else urls or []
        if stream:
            _hold_streamed(path, named, buckets)
        super().__init__(path or " ".join(shown(url) for url in named), wanted)
        self.stream, self._schemes = stream, schemes or _SCHEMES
        self._far = None if path is not None else Fetched(named, self._schemes, fetch or Fetch())
        self._place = self._far or Local(str(path))

    def check(self, memo_dir: Path | None = None) -> None:
        super().check(memo_dir)
        if self.stream and self._far is not None:
            self._far.can_hold(OPEN + 1 + AHEAD)

    def info(self) -> DataInfo:
        return replace(super().info(), control=self._channels)

    def examples(self, split: Split) -> Iterator[Example]:
        for example in super().examples(split):
            picture = self._hinted.get(example.key)
            yield example if picture is None else replace(example, control=self._hint(picture, example.image))

    def streamed(self) -> Iterator[dict[str, Any]] | None:
        return self._rows(self._sound) if self.stream else None

    def _rows(self, sound: Sound) -> Iterator[dict[str, Any]]:
        frame, stamps = sound.square, self._place.stamps()
        yield {
            "streamed": self.stream,
            "schemes": self._schemes,
            "frame": [frame.height, frame.width],
            "channels": frame.channels,
            "control": self._channels,
            "max_pixels": self.wanted.max_pixels,
        }
        train = [picture for picture in sound.pictures if picture.key not in sound.held_out]
        for shard, own in groupby(train, _shard_of):
            yield from (_row(picture, frame) for picture in own)
            size, sha256 = self._looked[shard]
            yield {"shard": shard, "size": size, "sha256": sha256, "stamp": stamps[shard]}

    def _hint(self, picture: Picture, image: np.ndarray) -> np.ndarray:
        assert picture.hint is not None
        try:
            found = decode(self._part(picture.hint, picture.where), self.wanted.max_pixels)
        except Unreadable as error:
            raise DataError(f"{picture.where}: its .{CONTROL}: {error}") from error
        height, width = image.shape[:2]
        return Frame(height, width, self._channels).fit(found)

    @cached_property
    def _hinted(self) -> dict[str, Picture]:
        return {picture.key: picture for picture in self._sound.pictures if picture.hint is not None}

    @property
    def _channels(self) -> int:
        """Of the hints: grey where all of them are, none where there are none."""
        if not self._hinted:
            return 0
        return 1 if all(picture.grey_hint for picture in self._hinted.values()) else 3

    def _survey(self, memo_dir: Path | None) -> Survey:
        stamps = self._place.stamps()
        shards = [*stamps]
        values = self._memo.look(shards, self._look, "looking at shards", memo_dir, stamps)
        names = {shard: self._place.name(shard) for shard in shards}
        expected, sides = self._place.indexed(), _sides(names)
        pictures: list[Picture] = []
        broken: list[str] = []
        for shard, value in zip(shards, values, strict=True):
            broken += [value["broken"]] if "broken" in value else []
            broken += _index_faults(shard, value, expected)
            pictures += [Picture(**found, split=sides.get(shard)) for found in value["pictures"]]
        self._looked = {
            shard: (value.get("size", 0), value["sha256"])
            for shard, value in zip(shards, values, strict=True)
        }
        contents = [(names[shard], value["sha256"]) for shard, value in zip(shards, values, strict=True)]
        return Survey(pictures, [], broken, digest(contents))

    def _bytes(self, picture: Picture) -> bytes:
        assert picture.at is not None
        return self._part(picture.at, picture.where)

    def _part(self, at: tuple[str, int, int], where: str) -> bytes:
        shard, offset, size = at
        with self._place.held(shard) as path:
            return read_part(path, offset, size, where)

    def _look(self, shard: str) -> dict[str, Any]:
        with self._place.held(shard) as path:
            try:
                found = index_shard(path, self._place.shown(shard))
            except DataError as error:
                return {"sha256": "", "pictures": [], "broken": error.lines[0]}
            pictures = [_picture(sample, shard, self.wanted.max_pixels) for sample in found.samples]
            whole = found.shards[0]
            return {"sha256": whole.sha256, "size": whole.size, "pictures": pictures}


def _hold_streamed(path: str | None, urls: list[str], buckets: int | None) -> None:
    if path is not None or buckets is not None:
        key = "path" if path is not None else "buckets"
        raise ConfigError(f"data.stream: goes without data.{key}; squares behind data.urls are streamed")
    secret = next((url for url in urls if "?" in url), None)
    if secret is not None:
        raise ConfigError(
            f"data.urls: {shown(secret)}: what follows its ? may be a signature, which data.stream would keep"
            " with the data; give URLs without, or those of a store"
        )


def _shard_of(picture: Picture) -> str:
    assert picture.at is not None
    return picture.at[0]


def _row(picture: Picture, frame: Frame) -> dict[str, Any]:
    """Of an index: what preparing would write of it, or where that lies."""
    assert picture.at is not None
    hint = {} if picture.hint is None else {CONTROL: picture.hint[1:]}
    told = {FRAMING: frame.framing(picture)} | ({} if picture.text is None else {"txt": picture.text})
    members = {"png": picture.at[1:], **hint}
    return {"key": picture.key, "label": picture.label, "members": members, "told": told}


def _picture(sample: Sample, shard: str, max_pixels: int) -> dict[str, Any]:
    """A Picture as plain values."""
    found: dict[str, Any] = {"key": safe_key(sample.key), "where": str(sample)}
    try:
        found["label"] = read_label(sample) if "cls" in sample.members else None
        found["text"] = _text(sample)
        extension = _image_extension(sample)
        found["at"] = [shard, *sample.members[extension]]
        image = decode(sample.read(extension), max_pixels)
        found |= _hint(sample, shard, image.size, max_pixels) if CONTROL in sample.members else {}
    except DataError as error:
        return {**found, "fault": error.lines[0].removeprefix(f"{sample}: ")}
    except Unreadable as error:
        return {**found, "fault": str(error)}
    return {**found, "height": image.height, "width": image.width, "grey": image.mode == "L"}


def _hint(sample: Sample, shard: str, size: tuple[int, int], max_pixels: int) -> dict[str, Any]:
    """Of a Picture, which has so many pixels, what says where its hint is."""
    try:
        hint = decode(sample.read(CONTROL), max_pixels)
    except Unreadable as error:
        raise Unreadable(f"its .{CONTROL} {error}") from error
    if hint.size != size:
        sizes = " and ".join("{}x{}".format(*one) for one in (hint.size, size))
        raise Unreadable(f"its .{CONTROL} must have its size, got {sizes}")
    return {"hint": [shard, *sample.members[CONTROL]], "grey_hint": hint.mode == "L"}


def _image_extension(sample: Sample) -> str:
    found = [name for name in EXTENSIONS if name in sample.members]
    if len(found) != 1:
        raise DataError(f"{sample}: has {len(found)} pictures; one of {', '.join(EXTENSIONS)} is needed")
    return found[0]


def _text(sample: Sample) -> str | None:
    try:
        if "txt" in sample.members:
            text = sample.read("txt").decode("utf-8").strip()
        elif "json" in sample.members:
            values = json.loads(sample.read("json"))
            text = values.get("text", values.get("caption")) if isinstance(values, dict) else None
        else:
            return None
    except ValueError as error:
        raise DataError(f"{sample}: its text cannot be read ({error}); UTF-8 and JSON are") from error
    if text == "":
        raise DataError(f"{sample}: its text is empty; write a caption")
    return text if isinstance(text, str) else None


def _index_faults(path: str, value: dict[str, Any], expected: dict[str, str]) -> list[str]:
    if "broken" in value or expected.get(path, value["sha256"]) == value["sha256"]:
        return []
    return [f"{path}: sha256 is {value['sha256']}; its index says {expected[path]}"]


def _sides(names: dict[str, str]) -> dict[str, Split]:
    """Sides by the names of the files, where every one tells."""
    held = [shard for shard, name in names.items() if name.startswith("held_out-")]
    train = [shard for shard, name in names.items() if name.startswith("train-")]
    if not held or len(held) + len(train) != len(names):
        return {}
    return {**dict.fromkeys(held, "held_out"), **dict.fromkeys(train, "train")}
