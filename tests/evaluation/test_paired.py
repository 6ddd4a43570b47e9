"""Pictures compared one by one: known answers, and the same whatever the batches."""

import pytest
import torch

from condiff.evaluation.paired import ColourError, EdgeF1, MaskIoU, PeakSignalNoise, sobel

KINDS = (PeakSignalNoise, ColourError, MaskIoU, EdgeF1)


def measured(metric, fake, real, size=100):
    for side, images in ((metric.fake, fake), (metric.real, real)):
        for part in images.split(size):
            metric.update(side, part, None)
    return float(metric.compute())


def squares(*corners, side=4, size=16):
    """Black pictures with a white square whose upper left corner is given."""
    images = torch.full((len(corners), 1, size, size), -1.0)
    for image, (top, left) in zip(images, corners, strict=True):
        image[:, top : top + side, left : left + side] = 1
    return images


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_agrees_with_itself(kind):
    images = squares((1, 1), (5, 8), (9, 2))
    best = {PeakSignalNoise: 100.0, ColourError: 0.0}.get(kind, 1.0)
    assert measured(kind(), images, images) == pytest.approx(best)


def test_psnr_is_of_the_mean_square_of_all_pairs():
    real = torch.zeros(4, 1, 2, 2)
    fake = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    expected = -10 * torch.tensor([0.01, 0.04, 0.09, 0.16]).mean().log10()
    metric = PeakSignalNoise()
    assert measured(metric, fake, real) == pytest.approx(float(expected), rel=1e-6)
    low, high = metric.interval()
    assert low < float(expected) < high


def test_colour_error_is_the_distance_of_mean_colours():
    red, green = torch.full((2, 3, 4, 4), -1.0), torch.full((2, 3, 4, 4), -1.0)
    red[:, 0], green[:, 1] = 1, 1
    assert measured(ColourError(), red, green) == pytest.approx(2**0.5)


def test_mask_iou_of_squares_is_their_overlap():
    """4 x 4 squares two columns apart share 8 of 24 pixels, far apart none; nothing agrees with nothing."""
    fake = torch.cat([squares((2, 2), (0, 0)), torch.full((1, 1, 16, 16), -1.0)])
    real = torch.cat([squares((2, 4), (10, 10)), torch.full((1, 1, 16, 16), -1.0)])
    metric = MaskIoU()
    measured(metric, fake, real)
    assert metric.values().tolist() == pytest.approx([8 / 24, 0, 1])


def test_sobel_of_a_step_is_four_times_its_height_on_both_sides_of_it():
    step = torch.zeros(1, 1, 5, 6)
    step[..., 3:] = 0.5
    assert sobel(step)[0, 0, 2].tolist() == [0, 0, 2, 2, 0, 0]


def test_edges_that_are_moved_within_the_tolerance_agree_and_farther_ones_do_not():
    real = squares((4, 4), (4, 4))
    for moved, tolerance, least, most in ((1, 1, 1, 1), (2, 1, 0.3, 0.9), (2, 2, 1, 1), (10, 1, 0, 0)):
        fake = squares((4, 4 + moved), (4, 4 + moved), size=16) if moved < 9 else squares((12, 12), (12, 12))
        found = measured(EdgeF1(tolerance=tolerance), fake, real)
        assert least - 1e-9 <= found <= most + 1e-9, (moved, tolerance, found)


def test_edge_f1_is_the_harmonic_mean_of_both_shares():
    """A square alone against itself and a far one: every edge found, half of those that are there."""
    one, two = squares((2, 2), (2, 2)), torch.maximum(squares((2, 2), (2, 2)), squares((10, 10), (10, 10)))
    assert measured(EdgeF1(), one, two) == pytest.approx(2 * 0.5 / 1.5)
    assert measured(EdgeF1(), two, one) == pytest.approx(2 * 0.5 / 1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_do_not_count_but_the_order_of_pairs_does(kind):
    fake, real = squares((0, 0), (3, 7), (9, 9)), squares((0, 1), (3, 7), (2, 9), side=6)
    assert measured(kind(), fake, real, 1) == measured(kind(), fake, real, 3)
    turned = measured(kind(), fake.flip(0), real)
    assert (turned != measured(kind(), fake, real)) == (kind is not ColourError)


@pytest.mark.parametrize("kind", KINDS)
def test_sets_of_other_counts_are_refused(kind):
    with pytest.raises(ValueError, match="needs two pictures or more and as many targets of one size"):
        measured(kind(), squares((0, 0), (1, 1)), squares((0, 0), (1, 1), (2, 2)))
    with pytest.raises(ValueError, match="two different sets"):
        kind(fake="targets")
