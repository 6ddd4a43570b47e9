"""Laws of the random numbers, and of the training times made of them."""

import pytest
import torch
from toys import PROCESSES, called

from condiff.diffusion.process import CosineVP, LinearDDPM, RectifiedFlow, VarianceExploding
from condiff.diffusion.randomness import Draws, SampleNoise, step_seed
from condiff.diffusion.times import LogitNormal, LogNormal, TimeSampler, Uniform

SAMPLERS = [Uniform(), LogitNormal(), LogitNormal(stratified=True), LogNormal()]
ALL = slice(None)


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_draws_do_not_depend_on_the_number_of_processes(world):
    whole = Draws(5, 17, 8, ALL)
    parts = [Draws(5, 17, 8, torch.arange(rank, 8, world)) for rank in range(world)]
    for name in ("uniform", "normal"):
        expected = getattr(whole, name)("eps", 2, 3)
        got = torch.empty_like(expected)
        for rank, part in enumerate(parts):
            got[rank::world] = getattr(part, name)("eps", 2, 3)
        assert torch.equal(got, expected)
    times = torch.cat(
        [Uniform()(Draws(5, 17, 8, slice(k, k + 8 // world)), CosineVP()) for k in range(0, 8, 8 // world)]
    )
    assert torch.equal(times, Uniform()(whole, CosineVP()))


def test_draws_do_not_depend_on_what_was_drawn_before_nor_on_the_global_generator():
    draws = Draws(0, 3, 4, ALL)
    first = draws.normal("eps", 5)
    draws.uniform("time")
    torch.manual_seed(99)
    torch.randn(7)
    assert torch.equal(draws.normal("eps", 5), first)


def test_draws_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    Draws(0, 3, 4, ALL).normal("eps", 5)
    SampleNoise(0, [1, 2]).normal(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_streams_steps_and_seeds_differ():
    draws = [
        Draws(seed, step, 64, ALL).normal(name, 64) for seed in (0, 1) for step in (0, 1) for name in "ab"
    ]
    correlation = torch.corrcoef(torch.stack([d.flatten() for d in draws]))
    assert (correlation - torch.eye(8)).abs().max() < 0.08


def test_a_seed_of_zero_is_a_seed():
    assert torch.equal(Draws(0, 0, 4, ALL).normal("a"), Draws(0, 0, 4, ALL).normal("a"))


def test_no_two_steps_of_a_stream_share_the_32_bits_that_a_cpu_generator_reads():
    seeds = {step_seed(0, step, "eps") for step in range(200_000)}
    assert len({seed % 2**32 for seed in seeds}) == 200_000
    assert max(seeds) < 2**63


def test_neighbouring_seeds_give_independent_numbers():
    noise = SampleNoise(0, range(4000)).normal(1, 4, 4).flatten(1)
    assert abs(noise.mean()) < 0.015
    assert abs(noise.std() - 1) < 0.01
    assert (noise.mean(0).abs() < 0.06).all()
    follow = (noise[1:] * noise[:-1]).mean(0)  # of one sample with the next
    assert (follow.abs() < 0.06).all()


def test_a_sample_has_the_same_noise_in_any_batch_and_type():
    alone, among = SampleNoise(1, [17]), SampleNoise(1, torch.tensor([3, 17, 400]), dtype=torch.float64)
    for _ in range(3):  # the starting noise, and that of the steps after it
        one, many = alone.normal(2, 4, 4), among.normal(2, 4, 4)
        assert torch.equal(one[0].double(), many[1])
    assert not torch.equal(SampleNoise(1, [17]).normal(4), SampleNoise(2, [17]).normal(4))


def test_uniform_times_are_one_in_each_part_of_the_range():
    for step in range(50):
        t = Uniform()(Draws(0, step, 16, ALL), RectifiedFlow())
        assert ((t * 16).ceil() == torch.arange(1, 17)).all()


def test_uniform_times_fill_the_range_evenly():
    t = torch.cat([Uniform()(Draws(0, step, 4, ALL), RectifiedFlow()) for step in range(2000)]).sort().values
    assert (t - torch.linspace(0, 1, len(t))).abs().max() < 0.02


def test_uniform_times_of_a_discrete_schedule_are_its_steps():
    n = torch.cat([Uniform()(Draws(0, step, 100, ALL), LinearDDPM()) for step in range(20)]) * 1000
    torch.testing.assert_close(n, n.round(), atol=1e-9, rtol=0)
    assert n.min() >= 1 - 1e-9
    assert n.max() <= 1000


def test_uniform_times_of_an_exploding_process_are_even_in_log_sigma():
    t = Uniform()(Draws(0, 0, 4000, ALL), VarianceExploding(0.01, 100.0)).log10()
    assert (t - torch.linspace(-2, 2, 4000)).abs().max() < 0.01


@pytest.mark.parametrize("process", PROCESSES, ids=called)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=called)
def test_times_are_in_the_range_of_the_process_and_never_clean_data(sampler: TimeSampler, process):
    t = sampler(Draws(0, 0, 5000, ALL), process)
    assert t.dtype == torch.float64
    assert t.shape == (5000,)
    assert (t >= process.t_low).all()
    assert (t > process.t_min).all()
    assert (t <= process.t_max * (1 + 1e-12)).all()


@pytest.mark.parametrize("process", PROCESSES, ids=called)
def test_not_even_a_draw_of_zero_gives_clean_data(process):
    class Zero(Draws):
        def uniform(self, stream: str, *shape: int) -> torch.Tensor:
            return torch.zeros(len(self.place), *shape, dtype=torch.float64)

    t = Uniform()(Zero(0, 0, 4, ALL), process)
    assert (process.at(t).sigma > 0).all()
    assert t[-1].item() == pytest.approx(process.t_max)


def test_logit_normal_times_have_a_normal_logit():
    logit = torch.logit(LogitNormal(0.5, 2.0)(Draws(0, 0, 20_000, ALL), RectifiedFlow()))
    assert logit.mean().item() == pytest.approx(0.5, abs=0.05)
    assert logit.std().item() == pytest.approx(2.0, abs=0.05)


def test_stratified_logit_normal_times_have_one_in_each_part_of_equal_probability():
    logit = torch.logit(LogitNormal(0.5, 2.0, stratified=True)(Draws(0, 0, 16, ALL), RectifiedFlow()))
    shares = torch.special.ndtr((logit - 0.5) / 2.0)
    assert (16 * shares).floor().tolist() == [*range(16)]


def test_stratified_logit_normal_times_are_distributed_as_those_that_are_not():
    times = LogitNormal(0.5, 2.0, stratified=True)
    drawn = torch.cat([times(Draws(0, step, 8, ALL), RectifiedFlow()) for step in range(2500)])
    logit = torch.logit(drawn)
    assert logit.mean().item() == pytest.approx(0.5, abs=0.02)
    assert logit.std().item() == pytest.approx(2.0, abs=0.05)


def test_logit_normal_composes_with_the_shift():
    plain, shifted = (LogitNormal()(Draws(0, 0, 100, ALL), RectifiedFlow(s)) for s in (1.0, 3.0))
    torch.testing.assert_close(shifted, 3 * plain / (1 + 2 * plain))


@pytest.mark.parametrize("process", [VarianceExploding(), CosineVP(), RectifiedFlow()], ids=called)
def test_log_normal_noise_levels_are_those_of_edm_on_any_process(process):
    m = process.at(LogNormal()(Draws(0, 0, 20_000, ALL), process))
    log_level = (m.sigma / m.alpha).log()
    assert log_level.mean().item() == pytest.approx(-1.2, abs=0.03)
    assert log_level.std().item() == pytest.approx(1.2, abs=0.03)
