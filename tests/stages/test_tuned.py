"""What is told of what trains."""

from torch import nn

from condiff.stages.tuned import told


def test_layers_are_told_by_their_last_word_and_numbers_are_none():
    net = nn.ModuleDict({"down": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3)), "out": nn.Linear(3, 1)})
    net["to_out"] = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 4).requires_grad_(False)])
    assert told(net) == (
        "trains 27 parameters (77.1% of the base's 35) in 8 tensors: 2 down, 1 out, 1 to_out"
    )
