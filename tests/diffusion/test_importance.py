"""Importance-sampled training times: unbiased, in known proportion, and with the least variance."""

import pytest
import torch
from toys import PROCESSES, called

from condiff.diffusion.importance import SecondMoment
from condiff.diffusion.process import CosineVP, LinearDDPM, Process
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import Uniform

ALL = slice(None)
SIZES = torch.tensor([4.0, 1.0, 0.5, 0.25], dtype=torch.float64)  # of the loss in each part of the way


def learned(uniform: float = 0.0, sizes: torch.Tensor = SIZES) -> SecondMoment:
    times = SecondMoment(4, 3, uniform)
    for _ in range(3):
        times.learn(torch.arange(4), sizes)
    return times


def drawn(times: SecondMoment, process: Process, step: int = 0, size: int = 4000):
    """Shares of the way, and the weights of their losses."""
    t = times(Draws(0, step, size, ALL), process)
    assert times.balance is not None
    return process.noise_left(t), times.balance


def test_until_every_part_has_been_seen_often_enough_times_are_uniform():
    times, draws = SecondMoment(bins=4, memory=2), Draws(0, 0, 64, ALL)
    for _ in range(2):
        assert torch.equal(times(draws, CosineVP()), Uniform()(draws, CosineVP()))
        assert times.balance is None
        assert times.drawn.bincount().tolist() == [16] * 4
        times.learn(torch.tensor([0, 1, 2]), torch.ones(3))
    times.learn(torch.tensor([3]), torch.ones(1))
    assert torch.equal(times(draws, CosineVP()), Uniform()(draws, CosineVP()))
    times.learn(torch.tensor([3]), torch.tensor([5.0]))
    assert not torch.equal(times(draws, CosineVP()), Uniform()(draws, CosineVP()))


def test_a_part_is_drawn_in_proportion_to_the_root_of_its_second_moment():
    times = SecondMoment(bins=2, memory=2, uniform=0.0)
    times.learn(torch.tensor([0, 1, 0, 1]), torch.tensor([3.0, 1.0, 4.0, 1.0]))
    size = torch.tensor([12.5**0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(times.probability(), size / size.sum())
    mixed = SecondMoment(bins=2, memory=2, uniform=0.2)
    mixed.restore(times.state())
    torch.testing.assert_close(mixed.probability(), 0.8 * size / size.sum() + 0.1)


def test_only_the_last_losses_count():
    times = SecondMoment(bins=1, memory=2)
    times.learn(torch.zeros(5, dtype=torch.int64), torch.tensor([9.0, 9.0, 9.0, 1.0, 2.0]))
    assert sorted(times.losses.flatten().tolist()) == [1.0, 2.0]


def test_losses_of_nothing_leave_the_times_uniform():
    assert learned(sizes=torch.zeros(4)).probability().tolist() == [0.25] * 4


@pytest.mark.parametrize("process", PROCESSES, ids=called)
def test_the_parts_have_their_shares_and_times_are_even_inside_them(process):
    u, _ = drawn(learned(), process)
    share = SIZES / SIZES.sum()
    part = (u * 4).ceil().clamp(1, 4).long() - 1
    torch.testing.assert_close(part.bincount(minlength=4) / 4000, share.float(), atol=2e-3, rtol=0)
    inside = (u * 4 - part)[part == 0]
    assert inside.mean().item() == pytest.approx(0.5, abs=3e-3)
    assert 0 < inside.min() < 5e-3
    assert 0.995 < inside.max() <= 1


@pytest.mark.parametrize("process", [CosineVP(), LinearDDPM()], ids=called)
def test_the_balanced_mean_of_any_loss_is_that_over_uniform_times(process):
    u, balance = drawn(learned(uniform=0.01), process, size=20000)
    for loss in (lambda u: u**2, lambda u: torch.exp(-20 * u), torch.ones_like):
        grid = process.noise_left(process.training_time((torch.arange(20000).double() + 0.5) / 20000))
        assert (balance * loss(u)).mean().item() == pytest.approx(loss(grid).mean().item(), rel=2e-3)


def test_the_estimate_of_one_time_has_the_least_variance_that_a_choice_of_parts_can_give():
    """Of E[L]: sum_k L_k^2 / (n^2 p_k) - E[L]^2, least at p in proportion to L, where it is 0."""
    times = learned()
    estimates = torch.cat([drawn(times, CosineVP(), step, 1)[1] * SIZES[times.drawn] for step in range(200)])
    assert estimates.std().item() < 1e-12
    assert estimates.mean().item() == pytest.approx(SIZES.mean().item())
    assert SIZES.std(unbiased=False).item() > 1  # what uniform times have


def test_draws_do_not_depend_on_the_number_of_processes():
    times, whole = learned(), Draws(3, 5, 8, ALL)
    t, balance, part = times(whole, CosineVP()), times.balance, times.drawn
    for rank in range(2):
        own = torch.arange(rank, 8, 2)
        assert torch.equal(times(Draws(3, 5, 8, own), CosineVP()), t[own])
        assert torch.equal(times.balance, balance[own])
        assert torch.equal(times.drawn, part[own])


def test_what_makes_no_sense_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"SecondMoment.bins must be >= 1, got 0"):
        SecondMoment(bins=0)
    with pytest.raises(ValueError, match=r"SecondMoment.uniform must be"):
        SecondMoment(uniform=1.5)
