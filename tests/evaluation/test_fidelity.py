"""Whether a hint is obeyed: known answers on drawn circles."""

import math

import pytest
import torch

from condiff.data.circles import Circles
from condiff.evaluation.circles import DiscColourError, DiscIoU, disc_of, filled
from condiff.evaluation.fidelity import Fidelity
from condiff.evaluation.intervals import within

COUNT = 24


@pytest.fixture(scope="module")
def circles():
    """Pictures in [-1, 1] and their outlines, as metrics see them."""
    examples = [Circles().example("held_out", index) for index in range(COUNT)]
    images = torch.stack([torch.from_numpy(e.image) for e in examples]).permute(0, 3, 1, 2) / 127.5 - 1
    hints = torch.stack([torch.from_numpy(e.control) for e in examples])[:, None] / 127.5 - 1
    return images, hints


def measured(metric, samples, images, hints):
    for side in metric.sides:
        for part in torch.arange(COUNT).split(7):
            metric.update(side, {"samples": samples, "targets": images, "controls": hints}[side][part], None)
    return {name: entry["value"] for name, entry in metric.entries("x").items()}, metric.entries("x")


def test_the_disc_and_the_filled_outline_are_what_was_drawn(circles):
    images, hints = circles
    disc, inside = disc_of(images), filled((hints + 1) / 2)
    assert ((disc ^ inside).flatten(1).sum(1) <= 2).all()  # pixels whose half is covered, to rounding
    area = inside.flatten(1).sum(1)
    assert area.min() > 0.9 * math.pi * 4**2
    assert area.max() < 1.1 * math.pi * 11**2


def test_real_pictures_are_their_own_ceiling_and_shuffled_ones_the_floor(circles):
    images, hints = circles
    found, _ = measured(DiscIoU(), images, images, hints)
    assert found["x"] == found["x_real"] > 0.98
    assert found["x_use"] == pytest.approx(found["x"] - found["x_shuffled"])
    own, other = disc_of(images), filled((hints + 1) / 2)
    by_hand = [
        (own[i] & other[i - turn]).sum() / (own[i] | other[i - turn]).sum()
        for turn in range(1, 11)
        for i in range(COUNT)
    ]
    assert found["x_shuffled"] == pytest.approx(float(torch.stack(by_hand).mean()))
    colours, _ = measured(DiscColourError(), images, images, hints)
    assert colours["x"] == colours["x_real"] == 0
    assert colours["x_use"] == colours["x_shuffled"] > 0.3


def test_a_hint_that_stands_for_two_pictures_is_not_the_hint_of_another(circles):
    """Each circle twice in a row: half of the next pictures have the same hint, and none counts."""
    images, hints = (rows[: COUNT // 2].repeat_interleave(2, 0) for rows in circles)
    found, _ = measured(DiscIoU(), images, images, hints)
    own, other = disc_of(images), filled((hints + 1) / 2)
    agreed = torch.tensor(
        [
            [(own[i] & other[i - turn]).sum() / (own[i] | other[i - turn]).sum() for turn in range(1, 11)]
            for i in range(COUNT)
        ]
    )
    same = torch.tensor([[i // 2 == (i - turn) % COUNT // 2 for turn in range(1, 11)] for i in range(COUNT)])
    assert same.sum() == COUNT // 2
    by_hand = (agreed * ~same).sum(1) / (~same).sum(1)
    assert found["x_shuffled"] == pytest.approx(float(by_hand.mean()))
    assert found["x_shuffled"] < float(agreed.mean()) - 0.03


def test_pictures_that_do_not_heed_the_hint_reach_the_floor_and_are_told(circles):
    images, hints = circles
    own, entries = measured(DiscIoU(), images.roll(11, 0), images, hints)
    assert own["x_use"] < 0.2
    assert own["x_real"] > 0.98
    assert "the samples do not depend on the hint as far as this n shows" in entries["x"]["protocol"]
    assert "do not depend" in entries["x_use"]["protocol"]
    for end in ("_real", "_shuffled"):
        assert "do not depend" not in entries[f"x{end}"]["protocol"]
    obeyed = measured(DiscIoU(), images, images, hints)[1]
    assert "do not depend" not in obeyed["x"]["protocol"]


class Same(Fidelity):
    """1 where the first pixel is what the hint's is, 0 elsewhere."""

    what, higher_is_better, bounds = "the same", True, (0.0, 1.0)

    def seen(self, images):
        return images[:, 0, 0, 0]

    def wanted(self, hints):
        return 2 * hints[:, 0, 0, 0] - 1

    def agreement(self, found, asked):
        return (found == asked).double()


def of_pixels(samples, asked):
    metric, asked = Same(), torch.tensor(asked)
    for side, values in (("samples", torch.tensor(samples)), ("targets", asked), ("controls", asked)):
        metric.update(side, values[:, None, None, None].expand(-1, 1, 2, 2), None)
    return metric.entries("x")


def test_an_interval_ends_where_the_metric_does():
    entries = of_pixels([-1.0, 0.0, 1.0, 1.0], [-1.0, 0.0, 1.0, -1.0])
    assert entries["x"]["value"] == 0.75
    assert entries["x"]["interval"] == pytest.approx([0.75 - 1.96 * 0.25, 1.0], abs=1e-4)  # not 1.24
    assert within((-3.0, -2.0), (0.0, 1.0)) == (0.0, 0.0)
    assert within((0.2, 0.4), (0.0, 1.0)) == (0.2, 0.4)


def test_samples_that_fit_the_hints_of_others_better_are_told():
    entries = of_pixels([1.0, -1.0] * 3, [-1.0, 1.0] * 3)
    assert entries["x_use"]["interval"] == [-1.0, -1.0]
    told = [
        name for name, own in entries.items() if "hints of others better than their own" in own["protocol"]
    ]
    assert told == ["x", "x_use"]


def test_colours_are_wrong_by_their_distance_and_a_picture_without_a_disc_by_its_discs(circles):
    images, hints = circles
    shifted, _ = measured(DiscColourError(), images + 0.05 * (images < 0.9), images, hints)
    assert 0 < shifted["x"] <= 0.025 * math.sqrt(3) + 1e-3
    plain = images[..., :1, :1].expand_as(images)
    found, _ = measured(DiscIoU(), plain, images, hints)
    assert found["x"] == 0
    gone, _ = measured(DiscColourError(), plain, images, hints)
    inside = filled((hints + 1) / 2)[:, None]
    disc = (images * inside).sum((2, 3)) / inside.sum((2, 3))
    apart = ((disc - images[..., 0, 0]) / 2).norm(dim=1).mean()
    assert gone["x"] == pytest.approx(float(apart) / 2, rel=0.02)


def test_samples_and_hints_are_counted(circles):
    images, hints = circles
    metric = DiscIoU()
    metric.update("samples", images, None)
    metric.update("targets", images, None)
    metric.update("controls", hints[:-1], None)
    with pytest.raises(
        ValueError, match="needs a hint and its picture for each sample, got 23 and 24 for 24"
    ):
        metric.compute()
