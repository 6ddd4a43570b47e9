"""Rules at their edges, on predictions that are written down."""

import pytest
import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.grids import Grid, ShiftedLevels, UniformTime
from condiff.diffusion.guidance import ClassifierFree, Models
from condiff.diffusion.guidance.corrections import Clip, DynamicThreshold
from condiff.diffusion.guidance.projected import AdaptiveProjected
from condiff.diffusion.guidance.zero_star import ClassifierFreeZeroStar
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Process, RectifiedFlow
from condiff.diffusion.samplers import DDIM


class Saying:
    """The x0 of two pixels, one with the condition and one without it."""

    def __init__(self, own: list[float], free: list[float], process: Process) -> None:
        self.process = process
        self.said = torch.tensor([own, free], dtype=torch.float64)

    def __call__(self, x_t: Tensor, m, cond: Condition) -> Prediction:
        x0 = self.said.to(x_t)[cond.label].view(-1, 1, 1, 2)
        return Prediction(x0, (x_t - m.alpha * x0) / m.sigma)


def asked(n: int = 1) -> Condition:
    return Condition(label=torch.zeros(n).long(), null=Condition(label=torch.ones(n).long()))


def x0_of(rule, own: list[float], free: list[float]) -> list[float]:
    """Of a guidance halfway on a flow from (0, 0), where the velocity is -2 x0."""
    process = RectifiedFlow()
    m = process.at(torch.tensor([0.5], dtype=torch.float64))
    x_t = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    return rule(Models(Saying(own, free, process)))(x_t, m, asked()).x0.flatten().tolist()


def same(x: list[float], y: list[float]) -> None:
    assert x == pytest.approx(y, abs=1e-12, rel=1e-12)


def stands_still(process: Process, grid: Grid, steps: int, zero: float, like: Tensor) -> list[bool]:
    """At each step of a walk: whether the velocity is nothing."""
    guided = ClassifierFreeZeroStar(2.0, zero)(Models(Saying([0.9, -0.4], [0.2, 0.3], process)))
    nodes = DDIM(steps, grid=grid).nodes(process, like)[:-1]
    answers = [guided(like + 1, node.marginal, asked()) for node in nodes]
    return [bool((p.eps - p.x0).abs().max() < 1e-6) for p in answers]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [0.5, 1.0, 1.15, 3.0, 6.0])
@pytest.mark.parametrize(
    ("steps", "zero", "still"),
    [(25, 0.04, 1), (50, 0.04, 2), (75, 0.04, 3), (100, 0.04, 4), (10, 0.04, 1), (30, 0.04, 2), (10, 0.3, 3)],
)
def test_cfg_zero_star_stands_still_over_the_same_steps_of_a_flow_with_any_shift(
    steps, zero, still, shift, dtype
):
    told = stands_still(
        RectifiedFlow(shift), UniformTime(), steps, zero, torch.zeros(1, 1, 1, 2, dtype=dtype)
    )
    assert told == [True] * still + [False] * (steps - still)


@pytest.mark.parametrize(("shift", "still"), [(0.5, 1), (1.0, 1), (3.0, 3), (6.0, 5)])
def test_cfg_zero_star_stands_still_over_the_same_noise_on_any_grid(shift, still):
    """Where t > 0.96, which is u > 0.96 / (s - 0.96 (s - 1)) of the 25 even steps that the grid shifts."""
    like = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    told = stands_still(RectifiedFlow(), ShiftedLevels(shift), 25, 0.04, like)
    assert told == [True] * still + [False] * (25 - still)


def test_cfg_zero_star_that_never_stands_still_moves_from_the_first_step_on():
    like = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    assert not any(stands_still(RectifiedFlow(3.0), UniformTime(), 10, 0.0, like))


def test_cfg_zero_star_takes_of_the_null_what_the_condition_confirms():
    best = 16 / (8 + 1e-8)  # <v, v_free> / |v_free|^2 with v = -2 x0, and what the paper's code adds below
    same(x0_of(ClassifierFreeZeroStar(3.0), [3, 1], [1, 1]), [best + 3 * (3 - best), best + 3 * (1 - best)])
    same(x0_of(ClassifierFreeZeroStar(3.0), [1, -1], [1, 1]), [3, -3])  # at right angles: nothing of it


def test_cfg_zero_star_of_a_null_that_says_nothing_is_the_scaled_condition():
    same(x0_of(ClassifierFreeZeroStar(3.0), [1, 2], [0, 0]), [3, 6])


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (10.0, [4, 4 + 2 * 3]),  # d = (0, 3) is short of the norm and stays as it is
        (3.0, [4, 4 + 2 * 3]),
        (1.5, [4, 4 + 2 * 1.5]),
        (None, [4, 4 + 2 * 3]),
    ],
)
def test_apg_cuts_what_is_longer_than_the_norm_and_never_lengthens(norm, expected):
    same(x0_of(AdaptiveProjected(3.0, norm=norm, parallel=1.0), [4, 4], [4, 1]), expected)


def test_apg_keeps_what_is_at_right_angles_to_the_conditional():
    # d = (1, 3), of which (1, 0) lies along x0 = (2, 0)
    same(x0_of(AdaptiveProjected(3.0), [2, 0], [1, -3]), [2, 6])
    same(x0_of(AdaptiveProjected(3.0, parallel=0.5), [2, 0], [1, -3]), [2 + 2 * 0.5, 6])


def test_apg_of_a_conditional_that_says_nothing_keeps_the_whole_difference():
    same(x0_of(AdaptiveProjected(3.0), [0, 0], [1, -2]), [-2, 4])


def test_dynamic_thresholding_never_enlarges():
    rule = DynamicThreshold(ClassifierFree(2.0), percentile=1.0, limit=1.0)
    same(x0_of(rule, [0.2, 0.1], [0.1, 0.0]), [0.3, 0.2])
    same(x0_of(rule, [2, 1], [0, 0]), [1, 0.5])


def test_clipping_keeps_x0_in_range_and_touches_nothing_else():
    same(x0_of(Clip(ClassifierFree(2.0)), [2, 0.3], [2, 0.1]), [1, 0.5])
    same(x0_of(Clip(ClassifierFree(2.0), limit=3.0), [2, -2], [0, 0]), [3, -3])
