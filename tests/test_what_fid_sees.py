"""The disturbances of experiments/what_fid_sees, its two transports, and the page it wrote."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.testing import assert_close

HOME = Path(__file__).parents[1] / "experiments" / "what_fid_sees"


@pytest.fixture
def script(monkeypatch):
    """A module of the study; its names are gone from ``sys.modules`` afterwards."""
    monkeypatch.syspath_prepend(HOME)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for path in HOME.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(12, 1, 16, 16, generator=seeded()) * 2 - 1


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_strength_zero_changes_nothing(script, pictures):
    done = script("disturbances")
    assert torch.equal(done.blurred(pictures, 0), pictures)
    assert torch.equal(done.noisy(pictures, 0, seeded()), pictures)
    assert_close(done.swirled(pictures, 0), pictures, atol=1e-5, rtol=0)
    assert torch.equal(done.with_copies(pictures, pictures + 1, 0, seeded()), pictures)
    assert set(rows_of(done.repeated(pictures, 1, seeded()))) == set(rows_of(pictures))


def test_a_blurred_point_is_a_gaussian(script):
    point = torch.full((1, 1, 31, 31), -1.0, dtype=torch.float64)
    point[0, 0, 15, 15] = 1
    light = (script("disturbances").blurred(point, 1.5)[0, 0] + 1) / 2
    place = torch.arange(31).double() - 15
    assert_close(light.sum(), torch.ones(()).double(), atol=1e-12, rtol=0)
    assert_close((light.sum(0) * place**2).sum(), torch.tensor(1.5**2).double(), atol=1e-3, rtol=0)
    assert_close(light, light.T)


def test_a_swirl_leaves_the_middle_and_the_border_where_they_are(script):
    picture = torch.rand(1, 1, 33, 33, generator=seeded()) * 2 - 1
    swirled = script("disturbances").swirled(picture, 2.0)
    for row, column in ((16, 16), (0, 0), (0, 32), (32, 0), (32, 32)):
        assert_close(swirled[0, 0, row, column], picture[0, 0, row, column], atol=1e-4, rtol=0)
    assert float((swirled - picture).abs().mean()) > 0.1


def test_exactly_the_classes_said_are_left_each_as_often(script):
    label = torch.arange(10).repeat(20)
    index = script("disturbances").of_classes(label, [3, 4, 7], 31)
    found, counts = label[index].unique(return_counts=True)
    assert found.tolist() == [3, 4, 7]
    assert counts.tolist() == [11, 10, 10]
    assert len(set(index.tolist())) == 31


def test_random_classes_are_unequal_and_no_picture_comes_twice(script):
    label = torch.arange(3).repeat(100)
    index = script("disturbances").of_random_classes(label, 150, seeded())
    assert len(set(index.tolist())) == 150
    assert sorted(label[index].bincount().tolist()) != [50, 50, 50]


def test_a_class_with_too_few_pictures_is_refused(script):
    with pytest.raises(ValueError, match="class 1 has 2 pictures, 3 are asked for"):
        script("disturbances").of_classes(torch.tensor([0, 0, 0, 1, 1]), [0, 1], 6)


def test_the_share_of_copies_is_that_of_training_pictures_none_twice(script, pictures):
    train = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mixed = rows_of(script("disturbances").with_copies(pictures, train, 0.75, seeded()))
    assert len(set(mixed)) == 12
    assert len(set(mixed) & set(rows_of(train))) == 9
    assert len(set(mixed) & set(rows_of(pictures))) == 3


def test_repeats_are_few_pictures_each_as_often_as_said(script, pictures):
    found = rows_of(script("disturbances").repeated(pictures, 4, seeded()))
    assert len(found) == 12
    assert {found.count(row) for row in found} == {4}
    assert set(found) <= set(rows_of(pictures))


def test_the_formula_is_zero_between_equal_gaussians_and_the_1_d_one_elsewhere(script):
    transport = script("transport")
    root = [[1.0, 0.3], [0.0, 2.0]]
    one = transport.gaussian([1.0, 2.0], root)
    assert transport.Pair("", one, one, 0.0).formula() == pytest.approx(0, abs=1e-12)
    pair = transport.Pair("", transport.gaussian([0.5], [[3.0]]), transport.gaussian([-1.0], [[0.7]]), 0.0)
    assert pair.formula() == pytest.approx(1.5**2 + 2.3**2, abs=1e-12)


def test_of_gaussian_pairs_the_known_distance_is_the_formula(script):
    transport = script("transport")
    gaussians = [pair for pair in transport.PAIRS if isinstance(pair.other, transport.Gaussian)]
    assert len(gaussians) == 3
    for pair in gaussians:
        assert pair.formula() == pytest.approx(pair.known, abs=1e-12)


def test_the_best_matching_of_points_on_a_line_is_in_their_order(script):
    x, y = (torch.randn(50, 1, generator=seeded(), dtype=torch.float64) * k for k in (1, 3))
    y = y[torch.randperm(50, generator=seeded())]
    in_order = (x.sort(0).values - y.sort(0).values).square().mean()
    assert script("transport").squared_transport(x, y) == pytest.approx(float(in_order), abs=1e-12)


def test_the_tables_of_the_page_are_those_of_the_results(script):
    rows = script("results").read()
    assert (
        len({row.disturbance for row in rows}) == 12
    )  # nothing, six disturbances, counts, transport, controls
    assert script("page").tables(rows) in (HOME / "README.md").read_text(encoding="utf-8")


def rows_of(images: torch.Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]
