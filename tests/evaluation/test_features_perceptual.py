"""Perceptual distances: LPIPS on random weights of VGG16, and its kin on those that a package brings."""

import copy

import pytest
import torch
from torch import nn

from condiff.evaluation.features import perceptual, vgg16
from condiff.evaluation.features.perceptual import LPIPS, EfficientNetLite0Distance
from condiff.evaluation.features.vgg16 import VGG16
from condiff.evaluation.features.weights import WeightFile
from condiff.evaluation.pairwise import PairwiseDiversity
from condiff.files import file_digest
from tests.evaluation.weights import lively, pictures


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights with the published names, and with a part of the classifier's."""
    file = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({**lively(VGG16()).state_dict(), "classifier.6.bias": torch.zeros(1000)}, file)
    return file


@pytest.fixture
def lpips(weights, monkeypatch):
    monkeypatch.setattr(vgg16, "FILE", WeightFile((weights.name,), file_digest(weights)))
    return LPIPS(str(weights))


@pytest.fixture(scope="module")
def lite0():
    return EfficientNetLite0Distance(64)


@pytest.fixture(params=["lpips", "lite0"])
def distance(request):
    return request.getfixturevalue(request.param)


def test_the_same_picture_is_at_zero_and_a_distance_is_symmetric(distance):
    x, y = pictures(4, 32, 32).split(2)
    assert distance(x, x).tolist() == [0, 0]
    assert distance(x, y).equal(distance(y, x))
    assert distance(x, y).shape == (2,)
    assert distance(x, y).min() > 0.01


def test_it_is_the_formula_place_by_place(distance):
    x, y = pictures(2, 40, 32).split(1)
    expected = 0.0
    for a, b, weight in zip(distance.maps(x), distance.maps(y), distance.weights, strict=True):
        assert a.shape[1] == len(weight)
        places = [part[0].double().flatten(1).T for part in (a, b)]
        first, second = (part / part.norm(dim=1, keepdim=True).clamp(min=1e-12) for part in places)
        expected += float(((first - second) ** 2 @ weight.double()).mean())
    assert float(distance(x, y)) == pytest.approx(expected, rel=1e-4)


def test_a_pair_does_not_depend_on_the_others(distance):
    x, y = pictures(26, 32, 32).split(13)
    alone = torch.cat([distance(x[i : i + 1], y[i : i + 1]) for i in range(13)])
    assert distance(x, y) == pytest.approx(alone, rel=1e-5)


def test_more_noise_is_further(distance):
    x = pictures(4, 32, 32)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    means = [float(distance(x, (x + width * noise).clamp(-1, 1)).mean()) for width in (0.03, 0.1, 0.3, 1.0)]
    assert means == sorted(means)
    assert means[3] > 2 * means[0] > 0


def test_a_gradient_reaches_the_picture_and_no_weight(distance):
    x, y = pictures(2, 32, 32).split(1)
    x.requires_grad_()
    distance(x, y).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0
    assert not any(part.requires_grad for part in (*distance.network.parameters(), *distance.weights))
    assert all(part.grad is None for part in distance.network.parameters())


def test_a_place_without_any_feature_has_no_direction_and_a_finite_gradient(lpips):
    for part in lpips.network.features[2].parameters():  # the first map is dead
        nn.init.zeros_(part)
    x, y = pictures(2, 32, 32).split(1)
    x.requires_grad_()
    value = lpips(x, y)
    value.sum().backward()
    assert float(value.detach()) == 0
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_grey_is_the_same_as_three_equal_channels(distance):
    x, y = pictures(2, 32, 32, channels=1).split(1)
    assert distance(x, y).equal(distance(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)))


def test_pairs_of_two_shapes_are_refused(distance):
    with pytest.raises(ValueError, match=r"one shape, got \[2, 3, 32, 32\] and \[1, 3, 32, 32\]"):
        distance(pictures(2, 32, 32), pictures(1, 32, 32))


def test_it_is_no_module_and_a_copy_of_a_metric_shares_it(distance):
    assert not isinstance(distance, nn.Module)
    assert copy.deepcopy(PairwiseDiversity(distance)).distance is distance


def test_vgg16_has_its_maps_and_its_published_number_of_weights():
    network = VGG16()
    assert sum(part.numel() for part in network.parameters()) == 14_714_688
    shapes = [(*part.shape[1:],) for part in network(torch.zeros(1, 3, 36, 32))]
    assert shapes == [(64, 36, 32), (128, 18, 16), (256, 9, 8), (512, 4, 4), (512, 2, 2)]


def test_its_linear_weights_are_the_published_ones_and_come_with_torchmetrics(lpips):
    assert perceptual.LINEAR.find().parts[-3:] == ("image", "lpips_models", "vgg.pth")
    assert [len(weight) for weight in lpips.weights] == [64, 128, 256, 512, 512]
    assert min(float(weight.min()) for weight in lpips.weights) > 0


def test_a_picture_that_vgg16_cannot_halve_four_times_is_refused(lpips):
    assert lpips(pictures(1, 16, 16), pictures(1, 16, 16)).shape == (1,)
    with pytest.raises(
        ValueError, match=r"LPIPS needs pictures of at least 16 pixels a side, got \[15, 32\]"
    ):
        lpips(pictures(1, 15, 32), pictures(1, 15, 32))


def test_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    wrong = lively(VGG16()).state_dict()
    del wrong["features.28.bias"]
    torch.save(wrong, tmp_path / "wrong.pth")
    monkeypatch.setattr(vgg16, "FILE", WeightFile(("wrong.pth",), file_digest(tmp_path / "wrong.pth")))
    with pytest.raises(ValueError, match=r"no weights of VGG16: features\.28\.bias does not fit"):
        LPIPS(str(tmp_path / "wrong.pth"))


def test_missing_weights_are_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"^needs vgg16-397923af\.pth \(sha256 397923af8e79cdbb.*put it into"
    ):
        LPIPS()


def test_their_names_say_what_they_are(lpips, lite0):
    assert lpips.name.startswith("lpips v0.1 of vgg16, no resize, ")
    start = "efficientnet_lite0 perceptual, unweighted, antialiased bilinear to 64 px, "
    assert lite0.name.startswith(start)
    assert lite0.identity != EfficientNetLite0Distance(32).identity
    assert [len(weight) for weight in lite0.weights] == [16, 24, 40, 112, 320]


def test_the_kin_looks_at_the_end_of_each_size(lite0):
    sizes = [part.shape[2] for part in lite0.maps(pictures(1, 32, 32))]
    assert sizes == [32, 16, 8, 4, 2]
    *_, last = lite0.maps(pictures(1, 64, 64))
    assert last.equal(lite0.network.body(pictures(1, 64, 64)))


def test_it_measures_how_much_the_samples_of_a_class_differ(lite0):
    label = torch.arange(12) % 2
    values = []
    for width in (0.0, 0.1, 0.5):
        metric = PairwiseDiversity(lite0)
        base = pictures(2, 32, 32)[label]
        noise = torch.randn(base.shape, generator=torch.Generator().manual_seed(2))
        metric.update("samples", (base + width * noise).clamp(-1, 1), label)
        values.append(metric.report()["value"])
    assert values[0] == 0
    assert values == sorted(values)
    assert values[2] > values[1] > 0
