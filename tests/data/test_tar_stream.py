"""Headers of a tar that is written are the library's own, byte for byte."""

import tarfile

import pytest

from condiff.data.tar_stream import header

NAMES = ["a.png", "train-0000001.control.png", "s\u00fc.txt", "n" * 100, "d/" + "n" * 99, ""]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, 511, 8**7, 8**11 - 1])
def test_a_header_is_the_librarys(name: str, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    assert header(name, size) == member.tobuf(tarfile.USTAR_FORMAT)


def test_what_no_ustar_header_holds_is_refused_as_by_the_library() -> None:
    with pytest.raises(ValueError, match="overflow"):
        header("a.png", 8**11)
