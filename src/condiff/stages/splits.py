"""Prepared pictures, for one stage after another."""

from functools import lru_cache

from condiff.data.dataset import ShardDataset
from condiff.stages.stage import Artifact


@lru_cache(1)
def load_split(artifact: Artifact, split: str) -> ShardDataset:
    """A split, kept for the next training that asks: what it holds in memory is decoded once."""
    return ShardDataset(artifact.path, split)
