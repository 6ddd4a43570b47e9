"""Resizes and quantisations: answers in hand, Pillow's, and what tells one protocol from another."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from condiff.evaluation.features.preprocess import (
    ADMTruncated,
    Bicubic,
    Bilinear,
    CleanFid,
    EDM2Truncated,
    Fid,
    PytorchFid,
    Rounded,
    Torchmetrics,
    as_rgb,
    tensorflow_bilinear,
)
from tests.evaluation.weights import pictures

PROTOCOLS = [Fid, PytorchFid, CleanFid, Torchmetrics, Bilinear, Bicubic]


def columns(*values):
    """[1, 1, N, N], each value a column."""
    return torch.tensor(values, dtype=torch.float32).expand(1, 1, len(values), -1)


def test_quantisations_at_the_ends_and_in_the_middle():
    x = torch.tensor([-1.1, -1.0, 0.0, 0.005, 1.0, 1.1])  # 0.005 lies .6375 above 127.5
    assert Rounded()(x).tolist() == [0, 0, 128, 128, 255, 255]
    assert ADMTruncated()(x).tolist() == [0, 0, 127, 128, 255, 255]
    assert EDM2Truncated()(x).tolist() == [0, 0, 128, 128, 255, 255]
    assert ADMTruncated()(torch.tensor([0.0039]) + 2 / 255).tolist() == [128]
    assert EDM2Truncated()(torch.tensor([0.0039]) + 2 / 255).tolist() == [129]


def test_pictures_that_were_bytes_are_those_bytes_again_unless_they_are_cut_off():
    stored = torch.arange(256).float()
    images = stored / 127.5 - 1
    assert Rounded()(images).equal(stored)
    assert EDM2Truncated()(images).equal(stored)
    lost = stored - ADMTruncated()(images)
    assert set(lost.tolist()) == {0, 1}  # what is cut off twice gets darker


def test_tensorflow_1_has_no_half_pixel_and_repeats_the_end():
    assert tensorflow_bilinear(columns(0, 10), 4)[0, 0, 0].tolist() == [0, 5, 10, 10]
    assert PytorchFid().resized(columns(0, 10), 4)[0, 0, 0].tolist() == [0, 2.5, 7.5, 10]


def test_tensorflow_1_made_smaller_picks_pixels_and_antialiasing_does_not():
    stripes = columns(0, 8, 0, 8, 0, 8, 0, 8)
    assert tensorflow_bilinear(stripes, 4).abs().max() == 0
    assert Torchmetrics().resized(stripes, 4).mean() == pytest.approx(4, abs=0.3)


def test_rows_are_resized_as_columns_are():
    x = pictures(2, 7, 7)
    assert torch.allclose(tensorflow_bilinear(x, 11).mT, tensorflow_bilinear(x.mT, 11), atol=1e-6)


def by_pillow(pixels, size, kind):
    """Each channel by itself, in floats."""
    channels = [Image.fromarray(np.asarray(channel)).resize((size, size), kind) for channel in pixels]
    return torch.stack([torch.from_numpy(np.array(channel)) for channel in channels])


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 56), (320, 301)])
@pytest.mark.parametrize(
    ("protocol", "kind"), [(CleanFid, Image.Resampling.BICUBIC), (Torchmetrics, Image.Resampling.BILINEAR)]
)
def test_antialiased_resizes_are_pillows(protocol, kind, height, width):
    pixels = Rounded()(pictures(1, height, width))
    expected = by_pillow(pixels[0], 299, kind)
    assert torch.allclose(protocol().resized(pixels, 299)[0], expected, atol=2e-3)


def test_bicubic_is_not_clipped():
    """Beside an edge it overshoots, and the published numbers are made with that."""
    edge = columns(0, 0, 0, 0, 255, 255, 255, 255)
    assert CleanFid().resized(edge, 24).max() > 256


def test_the_scale_belongs_to_the_protocol():
    mid, white = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    for protocol in (Fid, CleanFid, Torchmetrics):
        assert protocol()(mid, 4).unique().tolist() == [0]
        assert protocol()(white, 4).max() == pytest.approx(127 / 128, abs=1e-5)
    for protocol in (PytorchFid, Bilinear, Bicubic):
        assert protocol()(mid, 4).max() == pytest.approx(0.5 / 127.5, abs=1e-5)
        assert protocol()(white, 4).max() == pytest.approx(1, abs=1e-5)


def test_grey_is_repeated_and_other_channels_are_refused():
    grey = pictures(2, 5, 5, channels=1)
    assert as_rgb(grey).equal(torch.cat([grey] * 3, 1))
    with pytest.raises(ValueError, match="1 or 3 channels, got 4"):
        as_rgb(torch.zeros(1, 4, 5, 5))


def test_no_two_protocols_say_or_give_the_same():
    x = pictures(2, 50, 50)
    made = {protocol(): protocol()(x, 33) for protocol in PROTOCOLS}
    assert len({protocol.described(33) for protocol in made}) == len(PROTOCOLS) == 6
    assert len({Fid(kind()).described(33) for kind in (Rounded, ADMTruncated, EDM2Truncated)}) == 3
    for one, other in itertools.combinations(made, 2):
        assert (made[one] - made[other]).abs().max() > 1e-3, (one.name, other.name)
