"""Shards of other people: their index is built by reading tar headers, trusting nothing.

Nothing is extracted, no member is unpickled, and whatever is no plain file of a known kind is refused.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from condiff.data.index import Index
from condiff.data.sample import ALLOWED, MAX_MEMBER, Sample, Shard
from condiff.data.shards import Shards
from condiff.errors import DataError

_MAX_SAMPLES = 1_000_000  # in one shard
_CHUNK = 2**20


def index_shards(paths: Sequence[Path]) -> Shards:
    """What ``Shards.open`` gives, for tars that have no index; DataError names SHARD:KEY."""
    whole = Index()
    for part in map(index_shard, paths):
        for sample in part.samples:
            label = read_label(sample) if sample.has("cls") else None
            whole.add(sample.key, label, sample.members)
        whole.end(part.shards[0])
    if twice := whole.twice():
        first, sample = map(whole.sample, twice)
        raise DataError(f"{sample}: the key is also in {first.shard.path}; a key names one sample")
    return Shards(whole)


def index_shard(path: Path, name: str = "") -> Shards:
    """The index of one tar, with its labels still unread; messages call it by its ``name``, if it has one."""
    shown = name or str(path)
    try:
        with path.open("rb") as file:
            sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
            file.seek(0)
            groups = _groups(shown, file)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{shown}: is no whole tar ({error}); uncompressed tars are read") from error
    if not groups:
        raise DataError(f"{shown}: is empty; a shard holds samples KEY.png, KEY.cls, KEY.txt")
    index = Index()
    for key, members in groups.items():
        index.add(key, None, members)
    index.end(Shard(path, size, sha256, name))
    return Shards(index)


def read_label(sample: Sample) -> int:
    """The integer in a sample's .cls."""
    text = sample.read("cls")[:40].decode("ascii", "replace").strip()
    if not text.removeprefix("-").isdecimal():
        raise DataError(f"{sample}: label {text!r} in .cls is no integer; labels count from 0")
    return int(text)


def _groups(shard: str, file: BinaryIO) -> dict[str, dict[str, tuple[int, int]]]:
    """key -> extension -> (offset, size); the key is the name up to its first dot, as WebDataset has it."""
    groups: dict[str, dict[str, tuple[int, int]]] = {}
    before = None
    for member in _members(file):
        folder, _, name = member.name.rpartition("/")
        base, _, extension = name.partition(".")
        key = f"{folder}/{base}" if folder else base
        extension = extension.lower()
        _hold(shard, key, extension, member)
        if (key != before and key in groups) or extension in groups.get(key, ()):
            raise DataError(f"{shard}:{key}: the key is there twice; the members of a sample stand together")
        groups.setdefault(key, {})[extension] = (member.offset_data, member.size)
        before = key
        if len(groups) > _MAX_SAMPLES:
            raise DataError(f"{shard}: holds more than {_MAX_SAMPLES} samples; make smaller shards")
    return groups


def _members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The members but for folders; a tar must end in zeros, or its reader stopped at damage."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  (it would keep them all)
            if not member.isdir():
                yield member
        file.seek(tar.offset)
    mark = file.read(2 * tarfile.BLOCKSIZE)
    rest = iter(lambda: file.read(_CHUNK), b"")
    if mark != bytes(2 * tarfile.BLOCKSIZE) or any(part.count(0) < len(part) for part in rest):
        raise ValueError("truncated or damaged: it does not end with a tar's mark of the end")


def _hold(shard: str, key: str, extension: str, member: tarfile.TarInfo) -> None:
    where = f"{shard}:{key}"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise DataError(f"{where}: {member.name} leads out of the shard; plain names are allowed")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        raise DataError(
            f"{where}: {member.name} is no regular file; links, devices and sparse files are not read"
        )
    if extension not in ALLOWED:
        raise DataError(f"{where}: .{extension} is not read; allowed are {', '.join(ALLOWED)}")
    if member.size > MAX_MEMBER:
        raise DataError(f"{where}: .{extension} has {member.size} bytes; at most {MAX_MEMBER} are read")
