"""An optimizer takes the same steps in one kernel and in many."""

import pytest
import torch
from torch import nn

from condiff.methods.optimizers import AdamW, AdamWOnALine


@pytest.mark.parametrize("made", [AdamW, AdamWOnALine])
def test_steps_of_one_kernel_are_those_of_many(made):
    weights = []
    for fused in (True, False):
        parameter = nn.Parameter(torch.linspace(-1, 1, 7))
        optimizer, _ = made(lr=0.1, weight_decay=0.1, fused=fused)([parameter], 5)
        assert optimizer.defaults["fused"] is fused
        for step in range(5):
            parameter.grad = torch.sin(parameter.detach() + step)
            optimizer.step()
        weights.append(parameter.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)
    assert (weights[0] - torch.linspace(-1, 1, 7)).abs().max() > 0.1
