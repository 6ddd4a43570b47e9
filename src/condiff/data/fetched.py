"""Tars behind URLs: each is fetched when it is read, into a cache of limited size."""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from condiff.data.braces import expanded
from condiff.data.download import Link, Refused, shown
from condiff.data.memo import in_order
from condiff.data.places import Place
from condiff.data.sample import Shard
from condiff.data.shard_cache import ShardCache
from condiff.data.shards import Shards
from condiff.data.source import SPLITS, refuse
from condiff.data.transport import TRANSPORTS, About
from condiff.errors import ConfigError, DataError
from condiff.files import digest
from condiff.ranges import Positive, checked

_GIB = 2**30
_OF_SPLIT = re.compile(rf"({'|'.join(SPLITS)})-\d+\.tar")


class Fetch:
    """How shards are fetched; it changes nothing of what they hold, so it is never hashed.

    ``cache`` is a folder, by default condiff/shards where programs cache things; what was not used for
    longest goes beyond ``cache_gib``. ``timeout`` are seconds of silence, ``patience`` those that all
    tries of a shard may take.
    """

    @checked
    def __init__(
        self,
        cache: str | None = None,
        cache_gib: Positive = 20.0,
        timeout: Positive = 10.0,
        patience: Positive = 600.0,
    ) -> None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        self.cache = ShardCache(
            Path(cache or home / "condiff" / "shards").expanduser().absolute(), cache_gib * _GIB
        )
        self.timeout, self.patience = timeout, patience


class Fetched(Place):
    """URLs with ranges; an index beside shards named SPLIT-NUMBER.tar is heeded."""

    def __init__(self, urls: Sequence[str], schemes: Sequence[str], fetch: Fetch) -> None:
        self.urls, self.cache = _allowed(urls, schemes), fetch.cache
        self.link = Link(fetch.timeout, fetch.patience, tuple(schemes))
        self._said = said(tuple(self.urls), self.link)

    def stamps(self) -> dict[str, Any]:
        return {url: self._said.stamp(url) for url in self.urls}

    def can_hold(self, most: int) -> None:
        """DataError unless so many of the largest shards fit into the cache together."""
        sizes = sorted((stamp[0] or 0 for stamp in self.stamps().values()), reverse=True)[:most]
        if sum(sizes) > self.cache.limit:
            raise DataError(
                f"data.fetch.cache_gib: must hold {len(sizes)} shards while they are streamed, here of up to"
                f" {sum(sizes) / _GIB:.3g} GiB, got {self.cache.limit / _GIB:.3g}"
            )

    def indexed(self) -> dict[str, str]:
        return {url: shard.sha256 for url, shard in self._said.listed.items()}

    @contextmanager
    def held(self, address: str) -> Iterator[Path]:
        stamp = self._said.stamp(address)
        with self.cache.held(digest([address, stamp])[:32], partial(self._fill, address), stamp[0]) as path:
            yield path

    def name(self, address: str) -> str:
        return _name(address)

    def shown(self, address: str) -> str:
        return shown(address)

    def _fill(self, url: str, to: Path) -> None:
        about, sha256 = self.link.download(url, to)
        size, told = to.stat().st_size, self._said.stamp(url)
        if url in self._said.listed:
            if [size, sha256] != told:
                raise DataError(
                    f"data.urls: {shown(url)}: has {size} bytes and sha256 {sha256}; its index says {told[0]}"
                    f" and {told[1]}"
                )
        elif any(one != two for one, two in zip(told, (size, about.version), strict=True) if one and two):
            raise DataError(f"data.urls: {shown(url)}: has changed since it was looked at; run again")


class Said:
    """What indexes and servers say of shards; each is asked once."""

    def __init__(self, urls: Sequence[str], link: Link) -> None:
        self.urls, self.link = urls, link

    def stamp(self, url: str) -> list[Any]:
        if url in self.listed:
            return [self.listed[url].size, self.listed[url].sha256]
        return [self._told[url].size, self._told[url].version]

    @cached_property
    def listed(self) -> dict[str, Shard]:
        """Those in an index."""
        beside = {url: index for url in self.urls if (index := _index_of(url))}
        indexes = {index: self._index(index) for index in dict.fromkeys(beside.values())}
        return {
            url: indexes[index][_name(url)] for url, index in beside.items() if _name(url) in indexes[index]
        }

    @cached_property
    def _told(self) -> dict[str, About]:
        """Of those that no index lists; DataError for all that are not there."""
        unlisted = [url for url in self.urls if url not in self.listed]
        found = [*in_order(self._about, unlisted)]
        refuse([line for about in found if isinstance(about, list) for line in about])
        return {url: about for url, about in zip(unlisted, found, strict=True) if isinstance(about, About)}

    def _about(self, url: str) -> About | list[str]:
        try:
            return self.link.about(url)
        except Refused as error:
            return [*error.lines]

    def _index(self, url: str) -> dict[str, Shard]:
        """Its shards by name; none where there is no index."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.link.download(url, Path(folder) / "index.jsonl")
            except Refused:
                return {}
            found = Shards.listed(Path(folder) / "index.jsonl", f"data.urls: {shown(url)}")
        return {shard.path.name: shard for shard in found.shards}


@cache
def said(urls: tuple[str, ...], link: Link) -> Said:
    """The same in all of a process, as a run builds its source several times."""
    return Said(urls, link)


def _allowed(urls: Sequence[str], schemes: Sequence[str]) -> list[str]:
    for scheme in schemes:
        if scheme not in TRANSPORTS:
            raise ConfigError(
                f"data.schemes: {scheme!r} is never opened; allowed are {', '.join(TRANSPORTS)}"
            )
    for url in urls:
        _hold(url, schemes)
    found = list(dict.fromkeys(url for some in urls for url in expanded(some, "data.urls")))
    if not found:
        raise ConfigError("data.urls: names no shard; give URLs such as https://host/set-{000..003}.tar")
    return found


def _hold(url: str, schemes: Sequence[str]) -> None:
    try:
        parts = urlsplit(url)
        secret, host = "@" in parts.netloc, parts.netloc
    except ValueError as error:
        raise ConfigError(f"data.urls: {shown(url)!r} is no URL ({error})") from error
    if secret:
        raise ConfigError(
            f"data.urls: a URL of {parts.hostname} carries a login; give signed URLs, or those of a store"
        )
    if parts.scheme not in schemes or not host or "::" in url or any(ord(char) <= 32 for char in url):
        raise ConfigError(
            f"data.urls: {shown(url)!r} is not allowed; data.schemes allows {', '.join(schemes)}, as in "
            f"{schemes[0] if schemes else 'https'}://host/set-{{000..003}}.tar"
        )


def _name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name


def _index_of(url: str) -> str | None:
    """Where an index would lie beside a shard that is named as those of this package."""
    match = _OF_SPLIT.fullmatch(_name(url))
    if match is None:
        return None
    parts = urlsplit(url)
    path = str(PurePosixPath(parts.path).with_name(f"index-{match[1]}.jsonl"))
    return parts._replace(path=path).geturl()
