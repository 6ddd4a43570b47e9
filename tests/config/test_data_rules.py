"""Shards lie in one place."""

import pytest
from choices import CONF

from condiff.config.compose import check
from condiff.config.data_rules import shards_lie_in_one_place
from condiff.stages.study import STAGES

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


@pytest.mark.parametrize("hints", ["canny", "edges", "grey", "hed", "lowres", "mask"])
def test_hints_are_made_of_any_pictures(hints):
    own = [f"data=hinted_{hints}", "data@data.pictures=image_folder", "data.pictures.path=a"]
    (cfg,) = check(["task=prepare", *own], CONF, [stage.name for stage in STAGES])
    assert cfg["stages"] == ["data"]
    assert cfg["data"]["_target_"].endswith("Hinted")
    assert cfg["data"]["pictures"]["_target_"].endswith("ImageFolder")
