"""A tar as it is written."""

import hashlib
import tarfile
from typing import BinaryIO


class TarStream:
    """A ustar stream that knows where it stands and hashes what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self._hash = file, 0, hashlib.sha256()

    def add(self, name: str, data: bytes) -> tuple[int, int]:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._put(member.tobuf(tarfile.USTAR_FORMAT))
        offset = self.size
        self._put(data + bytes(-len(data) % tarfile.BLOCKSIZE))
        return offset, len(data)

    def close(self) -> str:
        end = self.size + 2 * tarfile.BLOCKSIZE
        self._put(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        self.file.close()
        return self._hash.hexdigest()

    def _put(self, data: bytes) -> None:
        self.file.write(data)
        self._hash.update(data)
        self.size += len(data)
