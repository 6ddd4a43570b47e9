"""A split in arrays gives back what was put in, refuses what no index may say, and stays small."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from condiff.data.index import Index
from condiff.data.npy import to_npy
from condiff.data.sample import Sample, Shard

SHARDS = [Shard(Path("a.tar"), 5 * 2**30, "0" * 64), Shard(Path(), 2000, "1" * 64, "http://host/b.tar")]
TOLD = {"txt": 'a "cät"\n☃', "framing.npy": [3, -4, 2**40]}
GIVEN = [
    ("one", 3, {"png": (512, 40), "cls": (4 * 2**30, 2)}, None, None),
    ("p/zw\u00f6lf", None, {"jpg": (0, 0)}, (16, 24), None),
    ("bytes \udcff", -(2**63), {"png": (7, 1)}, (16, 24), TOLD),
    ("", 0, {}, None, {"txt": ""}),
    ("last", 2**63 - 1, {"cls": (10, 1990), "png": (0, 9)}, None, None),
]
ENDS = (3, 3, 5)  # samples before the end of each shard; none lie in the second
OF = [0, 0, 0, 1, 1]
BYTES = {"txt": TOLD["txt"].encode(), "framing.npy": to_npy(np.array(TOLD["framing.npy"]))}


def whole() -> Index:
    index = Index()
    for number, row in enumerate(GIVEN):
        if number == 3:
            index.end(SHARDS[0])
            index.end(Shard(Path("empty.tar"), 1024, ""))
        index.add(*row)
    index.end(SHARDS[1])
    return index


@pytest.mark.parametrize("index", [whole(), pickle.loads(pickle.dumps(whole()))])  # noqa: S301  (a worker's)
def test_samples_come_back_as_they_were_given(index):
    told = [None, None, BYTES, {"txt": b""}, None]
    expected = [
        Sample(key, label, SHARDS[shard], members, shape, held)
        for (key, label, members, shape, _), shard, held in zip(GIVEN, OF, told, strict=True)
    ]
    assert [index.sample(i) for i in range(5)] == expected
    assert [index.shard(i) for i in range(5)] == [SHARDS[shard] for shard in OF]
    assert [*index.sample(2).told] == [*TOLD]
    assert not index.sample(2).has("cls")
    assert index.sample(2).has("framing.npy")


def test_a_whole_set_is_asked_of_the_arrays():
    index = whole()
    assert (len(index), index.num_added, index.counts()) == (5, 5, (3, 2))
    assert index.runs() == [range(1), range(1, 3), range(3, 5)]
    assert index.labels() is None
    found = {name: index.lacking(name) for name in ("png", "cls", "txt", "npy")}
    assert {name: sample and sample.key for name, sample in found.items()} == {
        "png": GIVEN[1][0], "cls": GIVEN[1][0], "txt": "one", "npy": "one",
    }  # fmt: skip
    assert [index.some_have(name) for name in ("png", "txt", "npy")] == [True, True, False]
    assert Index().runs() == [range(0)]
    assert (Index().labels(), Index().lacking("png"), Index().twice(), Index().counts()) == (
        None,
        None,
        None,
        (),
    )


def test_labels_are_an_array_where_all_have_one():
    index = Index()
    for i in range(3):
        index.add(f"{i}", i - 1, {})
    index.end(SHARDS[0])
    assert (index.labels().dtype, index.labels().tolist()) == (np.int64, [-1, 0, 1])  # pyright: ignore[reportOptionalMemberAccess]


def test_a_key_twice_is_found_and_equal_hashes_are_no_equal_keys(monkeypatch):
    def of(*keys: str) -> Index:
        index = Index()
        for key in keys:
            index.add(key, None, {})
        index.end(SHARDS[0])
        return index

    assert of("a", "b", "c", "b", "a").twice() == (1, 3)
    monkeypatch.setattr("condiff.data.index.hash", lambda key: 7, raising=False)
    assert of("a", "b", "c").twice() is None
    assert of("c", "b", "a", "c").twice() == (0, 3)


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"cls": (0, 1), "png": (-1, 5)}, "k.png at -1[+]5 is not allowed"),
        ({"png": (5, -1)}, "k.png at 5[+]-1 is not allowed"),
        ({"png": (1990, 11)}, "k.png at 1990[+]11 is not allowed"),
        ({"png": (0, 2**33)}, f"k.png at 0[+]{2**33} is not allowed"),
        ({"png": (2**70, 1)}, f"k.png at {2**70}[+]1 is not allowed"),
        ({"png": (2**63 - 1, 1)}, f"k.png at {2**63 - 1}[+]1 is not allowed"),
        ({"pyd": (0, 1)}, "k.pyd at 0[+]1 is not allowed"),
        ({"png": (0, 1, 2)}, "too many values"),
    ],
)
def test_a_member_that_lies_nowhere_is_refused(members, what):
    index = Index()
    index.add("before", None, {"png": (0, 10)})
    with pytest.raises(ValueError, match=what):  # noqa: PT012  (when it comes, or when its shard ends)
        index.add("k", None, members)
        index.end(SHARDS[1])


def test_what_is_told_is_text_or_integers():
    for value in ({"a": 1}, None, "\ud800", ["x"]):
        with pytest.raises((ValueError, TypeError)):
            Index().add("k", None, {}, None, {"txt": value})


def test_a_sample_takes_little_memory():
    told = {"framing.npy": [123, 45, 0, 0, 256, 256], "txt": "a painting of a small house by the river " * 2}
    members, num = {"png": (512, 9000), "control.png": (10000, 9000)}, 50_000
    index = Index()
    for i in range(num):
        index.add(f"{i // 1000:04d}-{i:08d}", i % 1000, members, None, told)
    index.end(SHARDS[0])
    found = sum(map(sys.getsizeof, vars(index).values())) / num
    assert 37 + 2 * 12 + 13 + 80 < found < 250  # with its key, and more than its text
