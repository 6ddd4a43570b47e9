"""A denoiser as an adapter makes it."""

import torch

from condiff.adapters.control import Even, GuessOriginal
from condiff.conditioners.label import ClassLabel
from condiff.data.circles import Circles
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import X0
from condiff.diffusion.process import CosineVP
from condiff.networks.unet import CrossAttentionUNet
from condiff.stages.tunings import begun, built_control, built_tuning, controlled

NODE = {"_target_": "condiff.adapters.controlnet.ControlNet"}


def test_a_controlnet_fits_the_hints_of_the_data_and_at_scale_0_it_is_the_base_itself():
    network = CrossAttentionUNet(3, 4, 16, [8], [True], head_width=8, patch=4).eval()
    base = NetworkDenoiser(network, CosineVP(), X0()), ClassLabel(3, with_null=True), [3, 16, 16]
    tuning = built_tuning(NODE, Circles(size=16).info(), network, base[2])
    denoiser, conditioner, shape = begun(base, tuning, 0)
    assert (tuning.channels, tuning.stride, tuning.folded, shape) == (1, 4, 4, [3, 16, 16])
    label, hint = torch.tensor([0, 2]), torch.rand(2, 1, 16, 16)
    cond = conditioner({"label": label, "control": hint})
    x, m = torch.randn(2, 3, 16, 16), CosineVP().at(torch.tensor([0.5, 0.8]))
    plain = base[0](x, m, Condition(label=label)).x0
    assert torch.equal(denoiser(x, m, cond).x0, plain)

    branch = denoiser.network.branch
    with torch.no_grad():
        for weight in branch.parameters():
            weight.add_(0.1)
    none, hears, _ = controlled(base, branch, Even(), 0.0)
    assert none is base[0]
    assert torch.equal(hears({"label": label, "control": hint}).control, hint)
    some = [controlled(base, branch, use, scale)[0] for use, scale in [(Even(), 0.5), (GuessOriginal(), 1)]]
    assert some[0].network.weights == [0.5] * branch.num
    assert some[1].network.weights[0] < some[1].network.weights[-1] == 1
    assert not torch.allclose(some[0](x, m, cond).x0, plain)


def test_a_control_with_shares_of_its_own_is_used_in_these_and_else_as_its_study_says():
    node = {"_target_": "condiff.adapters.control.GuessOriginal", "start": 0.1, "end": 0.9}
    cfg = {"adapter": {"control": node}}
    own, other = built_control(cfg, (0.0, 0.5)), built_control(cfg)
    assert (type(own), own.start, own.end) == (GuessOriginal, 0.0, 0.5)
    assert (other.start, other.end) == (0.1, 0.9)
    even = built_control({}, (0.2, 0.5))
    assert (type(even), even.start, even.end) == (Even, 0.2, 0.5)
    guessed = built_control({}, (0.2, 0.5), node["_target_"])
    assert (type(guessed), guessed.start, guessed.end) == (GuessOriginal, 0.2, 0.5)
