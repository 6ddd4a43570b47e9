"""Shards lie in one place."""

import pytest

from condiff.config.data_rules import shards_lie_in_one_place

SHARDS = {"_target_": "condiff.data.shard_files.ShardFiles"}


@pytest.mark.parametrize(
    ("given", "begins"),
    [
        ({}, ["data.path: is required"]),
        ({"path": None, "urls": None}, ["data.path: is required"]),
        ({"path": "x.tar", "urls": "https://x.org/a.tar"}, ["data.urls: has no effect with data.path"]),
        ({"path": "x.tar"}, []),
        ({"urls": ["https://x.org/a.tar"]}, []),
    ],
)
def test_shards_lie_on_this_machine_or_behind_urls(given, begins):
    found = [*shards_lie_in_one_place({"data": SHARDS | given})]
    assert [line[: len(start)] for line, start in zip(found, begins, strict=True)] == begins
