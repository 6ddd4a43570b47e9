"""A ControlNet is used where its span says so, and nowhere else."""

import pytest
import torch
from choices import choices

from condiff.adapters.control import Even
from condiff.adapters.controlled import ALWAYS, Controlled
from condiff.config.build import build
from condiff.diffusion.process import CosineVP
from tests.adapters.test_controlnet import asked, begun, made, moved


@pytest.fixture(scope="module")
def trained():
    whole = begun(made())
    moved(whole.branch, 7)
    return whole


def test_control_begins_and_ends_at_shares_of_the_way(trained):
    process = CosineVP()  # which is at the times 0.2 and 0.7 after shares of 0.8 and 0.3 of its way
    for start, end, which in [(0, 1, [1, 1]), (0, 0.5, [0, 1]), (0.5, 1, [1, 0]), (0.4, 0.6, [0, 0])]:
        own = Controlled(trained.network, trained.branch, span=Even(start, end).span(process))
        wanted = asked(trained, control_scale=torch.tensor(which, dtype=torch.float32))
        torch.testing.assert_close(asked(own), wanted)
    with pytest.raises(ValueError, match=r"Even\.start must be below end, got 0\.5 and 0\.5"):
        Even(0.5, 0.5)


@pytest.mark.parametrize(("name", "node"), [*choices("process").items()], ids=[*choices("process")])
def test_at_both_ends_of_any_process_there_is_control_where_the_span_holds_it(trained, name, node):
    """Also where no signal is left, so that sigma / alpha is infinite, and where no noise is."""
    process = build(node)
    ends = process.at(torch.tensor([process.t_min, process.t_max]))
    spans = {ALWAYS: (1, 1), Even(0, 0.5).span(process): (0, 1), Even(0.5, 1).span(process): (1, 0)}
    for span, wanted in {**spans, Even(0.3, 0.7).span(process): (0, 0)}.items():
        own = Controlled(trained.network, trained.branch, span=span)
        changed = (asked(own, ends) - asked(trained.network, ends)).detach().abs().amax((1, 2, 3))
        assert [float(change) > 0 for change in changed] == [*map(bool, wanted)], (name, span)
