"""Moments in files: what is written is read, what is something else is refused."""

import numpy as np
import pytest
import torch

from condiff.evaluation.frechet import FrechetDistance, moments
from condiff.evaluation.statistics import Statistics, has_statistics, read_statistics, write_statistics
from tests.evaluation.pictures import Pixels, seeded


@pytest.fixture
def pictures():
    """Samples and real pictures of 6 pixels."""
    draws = [torch.rand(n, 1, 2, 3, generator=seeded(n)) for n in (30, 41)]
    return draws[0] * 2 - 1, draws[1] * 1.5 - 0.7


def measured(pictures, **settings):
    metric = FrechetDistance(Pixels(6), **settings)
    for side, images in zip(("samples", "train"), pictures, strict=True):
        if side in metric.sides:
            metric.update(side, images, None)
    return metric


def test_a_distance_to_stored_moments_is_the_distance_to_the_pictures(tmp_path, pictures):
    metric = measured(pictures)
    write_statistics(tmp_path / "real.npz", metric.real_statistics(), "pixels")
    again = measured(pictures, statistics=str(tmp_path / "real.npz"))
    assert again.sides == ("samples",)
    assert again.compute() == metric.compute()
    protocol = f"samples against {tmp_path / 'real.npz'}, pixels features (6); interval at this n "
    assert again.entries("fd")["fd"]["protocol"].startswith(protocol)


def test_moments_are_means_and_unbiased_covariances_as_numpy_has_them(tmp_path, pictures):
    write_statistics(tmp_path / "real.npz", measured(pictures).real_statistics(), "pixels")
    flat = pictures[1].flatten(1).double().numpy()
    with np.load(tmp_path / "real.npz") as stored:
        np.testing.assert_allclose(stored["mu"], flat.mean(0), rtol=1e-12)
        np.testing.assert_allclose(stored["sigma"], np.cov(flat, rowvar=False), rtol=1e-10)
        assert int(stored["count"]) == 41


def test_files_of_other_programs_are_read_and_do_not_say_of_how_many_pictures(tmp_path, pictures):
    flat = pictures[1].flatten(1).double()
    mean, cov = moments(flat)
    np.savez(tmp_path / "adm.npz", arr_0=np.zeros(3), mu=mean, sigma=cov, mu_s=np.zeros(9), sigma_s=np.eye(9))
    metric = measured(pictures, statistics=str(tmp_path / "adm.npz"))
    assert float(metric.compute()) == pytest.approx(float(measured(pictures).compute()), rel=1e-12)
    protocol = metric.entries("fd")["fd"]["protocol"]
    assert "the file does not say of which features its statistics are, nor after which resize" in protocol
    assert "nor of how many pictures" in protocol
    spatial = read_statistics(tmp_path / "adm.npz", Pixels(9))
    assert torch.equal(spatial.cov, torch.eye(9).double())


def test_too_few_real_pictures_stand_in_the_name_also_when_they_come_from_a_file(tmp_path, pictures):
    few = Statistics(*moments(pictures[1][:5].flatten(1)), 5)
    write_statistics(tmp_path / "few.npz", few, "pixels")
    metric = measured(pictures, statistics=str(tmp_path / "few.npz"))
    assert [*metric.entries("fd")] == ["fd_biased_n5"]


WRONG = {
    "size": ({"mu": np.zeros(4), "sigma": np.eye(4)}, r"has mu of \[4\]; pixels features need mu of \[6\]"),
    "covariance's size": (
        {"mu": np.zeros(6), "sigma": np.eye(5)},
        r"sigma must be floats of \[6, 6\], got float64 of \[5, 5\]",
    ),
    "nan": ({"mu": np.full(6, np.nan), "sigma": np.eye(6)}, "finite"),
    "not symmetric": ({"mu": np.zeros(6), "sigma": np.triu(np.ones((6, 6)))}, "is no covariance"),
    "negative": ({"mu": np.zeros(6), "sigma": -np.eye(6)}, "is no covariance"),
    "features": (
        {"mu": np.zeros(6), "sigma": np.eye(6), "features": np.array("inception")},
        "has the statistics of other features, inception; wanted are pixels",
    ),
    "indefinite": (
        {"mu": np.zeros(6), "sigma": np.eye(6) + 5 * np.eye(6)[::-1]},
        "with a negative eigenvalue",
    ),
    "complex": ({"mu": np.zeros(6), "sigma": 1j * np.eye(6)}, "must be floats"),
    "no count": ({"mu": np.zeros(6), "sigma": np.eye(6), "count": np.array([3, 4])}, r"got \[3, 4\]"),
    "count of one": ({"mu": np.zeros(6), "sigma": np.eye(6), "count": np.array(1)}, "of 2 or more, got 1"),
    "nothing": ({"other": np.zeros(6)}, "has no mu and sigma"),
    "pickle": ({"mu": np.array([{}], dtype=object), "sigma": np.eye(6)}, "cannot be read as .npz"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_statistics_of_these_features_is_refused(tmp_path, case):
    arrays, said = WRONG[case]
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(ValueError, match=said):
        read_statistics(tmp_path / "file.npz", Pixels(6))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "file.npz").write_bytes(content)
    assert not has_statistics(tmp_path / "file.npz")
    with pytest.raises(ValueError, match=r"cannot be read as \.npz"):
        read_statistics(tmp_path / "file.npz", Pixels(6))


def test_bytes_that_are_not_what_they_were_are_an_error_of_the_file(tmp_path):
    np.savez_compressed(tmp_path / "file.npz", mu=np.random.default_rng(0).random(6), sigma=np.eye(6))
    whole = (tmp_path / "file.npz").read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        (tmp_path / "file.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read_statistics(tmp_path / "file.npz", Pixels(6))
        except ValueError:
            refused += 1
    assert refused > 10
