"""Sentence vectors made white."""

import torch

from condiff.conditioners.whitening import Whitening


def vectors(num=4000):
    """Of deviations 10, 1 and 0.01 along axes that are turned, about a mean far from 0."""
    g = torch.Generator().manual_seed(0)
    turned, _ = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.double))
    own = torch.randn(num, 3, generator=g, dtype=torch.double) * torch.tensor([10.0, 1.0, 0.01])
    return (100 + own @ turned.T).float(), own


def test_white_vectors_are_uncorrelated_and_of_one_deviation():
    given, own = vectors()
    whitening = Whitening.of([*given], 3)
    white = (given - whitening.mean) @ whitening.matrix
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(3), rtol=0, atol=5e-2)
    correlation = torch.corrcoef(torch.cat([white.double(), own], dim=1).T)[:3, 3:].abs()
    torch.testing.assert_close(correlation, torch.eye(3, dtype=torch.double), rtol=0, atol=5e-2)


def test_the_widest_directions_are_kept_and_every_vector_has_one_length():
    given, own = vectors()
    white = Whitening.of([*given], 2)(given)
    assert white.shape == (4000, 2)
    torch.testing.assert_close(white.norm(dim=1), torch.full((4000,), 2**0.5))
    far = Whitening.of([*given], 2)(given[:1] + 1e6)
    torch.testing.assert_close(far.norm(dim=1), torch.full((1,), 2**0.5))
    signs = torch.sign(white.double() * own[:, :2]).mean(0).abs()
    assert float(signs.min()) > 0.98


def test_directions_that_vectors_do_not_differ_in_count_nothing():
    given = [torch.tensor([1.0, 5.0, 2.0]), torch.tensor([3.0, 5.0, 2.0])]
    whitening = Whitening.of(given, 3)
    assert (whitening.matrix.abs().sum(0) > 0).tolist() == [True, False, False]
    assert torch.isfinite(whitening(torch.tensor([[0.0, 9.0, 9.0]]))).all()
    torch.testing.assert_close(whitening(torch.stack(given)).abs()[:, 0], torch.full((2,), 3**0.5))


def test_a_whitening_is_read_back_as_it_was(tmp_path):
    whitening = Whitening.of([*vectors()[0]], 2)
    whitening.write(tmp_path / "w.safetensors")
    read = Whitening.read(tmp_path / "w.safetensors")
    assert torch.equal(read.mean, whitening.mean)
    assert torch.equal(read.matrix, whitening.matrix)
