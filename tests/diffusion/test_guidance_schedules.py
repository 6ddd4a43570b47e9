"""Scales that change on the way, against formulas written another way."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import PROCESSES, called, labelled, mixture

from condiff.diffusion.condition import Condition
from condiff.diffusion.guidance import Models, schedules
from condiff.diffusion.guidance.schedules import (
    Constant,
    Cosine,
    Linear,
    Monotone,
    Power,
    Schedule,
    ScheduledScale,
)
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Process

DATA = mixture()


def exactly(x: Tensor, y: Tensor) -> None:
    torch.testing.assert_close(x, y, atol=1e-10, rtol=1e-10)


class OneOrZero:
    """x0 is 1 where a label is asked for and 0 where none is: what a rule makes of it is its scale."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def __call__(self, x_t: Tensor, m, cond: Condition) -> Prediction:
        x0 = torch.zeros_like(x_t) + (cond.label < DATA.num_classes).view(-1, 1, 1, 1)
        return Prediction(x0, (x_t - m.alpha * x0) / m.sigma)


SCALES = {  # of the share of the way that is done
    Constant(2.5): lambda done: 2.5,
    Linear(1.0, 3.0): lambda done: 3 * done + (1 - done),
    Linear(4.0, 0.5): lambda done: 0.5 * done + 4 * (1 - done),
    Cosine(1.0, 3.0): lambda done: 1 + 2 * math.sin(math.pi * done / 2) ** 2,
    Cosine(4.0, 0.0): lambda done: 4 * math.cos(math.pi * done / 2) ** 2,
    Power(1.0, 5.0, power=2.0): lambda done: 1 + 4 * done * done,
    Power(5.0, 1.0, power=0.5): lambda done: 5 - 4 * math.sqrt(done),
    Power(1.0, 2.0, power=3.7): lambda done: 1 + math.exp(3.7 * math.log(done)),
    Monotone([1.0, 2.0, 5.0]): lambda done: max(1 + 2 * done, 6 * done - 1),
    Monotone([4.0, 1.0]): lambda done: 4 - 3 * done,
    Monotone([1.0, 1.5, 3.0, 3.0]): lambda done: float(np.interp(3 * done, range(4), [1, 1.5, 3, 3])),
}


@pytest.mark.parametrize("process", PROCESSES, ids=called)
@pytest.mark.parametrize("schedule", SCALES, ids=called)
def test_a_schedule_gives_its_scale_at_each_share_of_the_way(process, schedule):
    u = torch.tensor([0.999, 0.9, 0.75, 2 / 3, 0.5, 0.3, 0.25, 0.1, 0.01, 1e-6], dtype=torch.float64)
    m, x_t = process.at(process.clock(u)), torch.zeros(len(u), 2, 3, 3, dtype=torch.float64)
    p = ScheduledScale(schedule)(Models(OneOrZero(process)))(x_t, m, labelled(DATA, [0, 1] * 5))
    expected = torch.tensor([SCALES[schedule](1 - left) for left in u.tolist()], dtype=torch.float64)
    exactly(p.x0, expected.view(-1, 1, 1, 1).expand_as(x_t))


@pytest.mark.parametrize("schedule", SCALES, ids=called)
def test_a_schedule_has_both_of_its_ends(schedule):
    ends = [SCALES[schedule](done) for done in (1e-300, 1.0)]
    exactly(schedule(torch.tensor([0.0, 1.0], dtype=torch.float64)), torch.tensor(ends, dtype=torch.float64))


def test_every_schedule_has_its_formula():
    kinds = {
        kind for kind in vars(schedules).values() if inspect.isclass(kind) and issubclass(kind, Schedule)
    }
    assert {type(schedule) for schedule in SCALES} == kinds - {Schedule}
    assert len(SCALES) == 11
