"""Captions that no metric could read are refused before a training, not after it."""

import pytest

from condiff.data.shapes import Shapes
from condiff.data.source import Example
from condiff.errors import ConfigError
from condiff.stages.readable import captions_can_be_read

ADHERENCE = {"every": 0, "adherence": {"_target_": "condiff.evaluation.adherence.Adherence"}}
OTHER = {"every": 0, "fd": {"_target_": "condiff.evaluation.frechet.FrechetDistance"}}


class Cats(Shapes):
    """Pictures with captions of something else; one is enough to tell."""

    def examples(self, split):
        yield Example("0", self.example(split, 0).image, 0, "a photograph of a cat")
        raise AssertionError("looked at more")


def refused(text=None, source=None, metrics=None, stages=("data", "denoiser", "samples", "metrics")):
    cfg = {"text": text, "metrics": ADHERENCE if metrics is None else metrics, "stages": [*stages]}
    try:
        captions_can_be_read(cfg, source or Shapes(num_train=2, num_held_out=2))
    except ConfigError as error:
        return [line.partition(": ")[0] for line in error.lines], error.lines
    return None


def test_captions_of_shapes_are_read_those_of_the_data_and_those_that_are_given():
    assert refused() is None
    assert refused(source=Shapes(share_unsaid=0.9)) is None
    assert refused("a red circle") is None
    assert refused(["a red circle", "on black, a small blue square above a large green cross"]) is None


def test_captions_of_anything_else_are_told_at_once():
    keys, (line,) = refused(source=Cats())
    assert keys == ["metrics.adherence"]
    assert "those of the data are others, such as 'a photograph of a cat'; use metrics=" in line
    keys, lines = refused(["a red circle", "a cat", "a dog"])
    assert keys == ["text", "text"]
    assert lines[0].startswith("text: 'a cat' is no caption of shapes; write one such as")
    assert lines[0].endswith("; metrics.adherence reads no other")
    assert refused("a red circle", Cats()) is None  # what the data say is not asked for


@pytest.mark.parametrize("without", [{"metrics": OTHER}, {"metrics": {}}, {"stages": ("samples",)}])
def test_where_no_metric_reads_them_captions_may_say_anything(without):
    assert refused("a cat", **without) is None
    assert refused(source=Cats(), **without) is None
