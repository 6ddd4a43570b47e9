"""Which weights may be sampled with."""

import pytest

from tests.composed import checked, told

TWO = "+trainer.averages=[0.05,0.1]"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["average=raw"], None),
        ([TWO, "average=0.08"], None),
        (["+trainer.averages=[0.05]", "average=0.05"], None),
        (
            ["average=0.08"],
            "average: is made of trainer.averages, such as [0.05,0.1], which are none; got 0.08",
        ),
        (
            ["+trainer.averages=[0.05]", "average=0.08"],
            "average: must be 0.05, the only one in trainer.averages; others need two, got 0.08",
        ),
        (
            [TWO, "average=0.2"],
            "average: must be from 0.05 to 0.15, 1.5 times the longest of trainer.averages, got 0.2",
        ),
        (
            [TWO, "average=0.1", "trainer.keep=[100]", "checkpoint=100"],
            "average: does not go with checkpoint, whose weights are those that were kept; leave one out",
        ),
        (
            ["average=raw", "stages=[data,denoiser]"],
            "average: has no effect here, where nothing is sampled; leave it out, got raw",
        ),
        (
            [TWO, "average=rawish"],
            "average: must be a number > 0 or raw or null, got 'rawish'; did you mean 'raw'?",
        ),
        (
            ["+trainer.averages=[0.4]"],
            "trainer.averages: must be null or a list, each a number in (0, 0.25], got [0.4]",
        ),
    ],
)
def test_an_average_is_one_that_the_kept_ones_make(given, said):
    lines = told("experiment=cfg_latent", *given)
    assert lines == (() if said is None else (said,))


def test_the_length_of_an_average_is_no_part_of_what_is_trained():
    runs = [checked("experiment=cfg_latent", TWO, f"average={length}") for length in ("0.06", "raw")]
    assert [run["average"] for run in runs] == [0.06, "raw"]
    assert runs[0]["trainer"] == runs[1]["trainer"]
