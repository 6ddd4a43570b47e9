"""What takes less memory changes what is trained by rounding alone, and what it is to change not at all."""

import copy

import pytest
import torch
from adapters import bases
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers.models.clip.modeling_clip import CLIPAttention

from condiff.adapters.controlnet import ControlNet
from condiff.adapters.low_rank import LowRank
from condiff.diffusion.condition import Condition
from condiff.diffusion.process import CosineVP
from condiff.errors import ConfigError
from condiff.methods.adaptation import WithText
from condiff.networks.unet import CrossAttentionUNet
from condiff.stages.recomputed import recompute

TUNINGS = {"low rank": LowRank(["linear"], rank=2), "controlnet": ControlNet(channels=1, stride=2, folded=2)}


@pytest.fixture(scope="module", params=TUNINGS)
def begun(request):
    """A network of diffusers with what is trained beside its weights, as a training might have left them."""
    torch.manual_seed(0)
    network = CrossAttentionUNet(1, 4, 8, [8, 8], [False, True], head_width=8, patch=2)
    network = TUNINGS[request.param].begin(network)
    for weight in network.parameters():
        weight.data.add_(0.1 * torch.randn(weight.shape))
    return network.train()


def passed(network):
    """The answer, the gradients of what is trained, and the bytes that were kept for the way back."""
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    ones = torch.ones(2, 1, 8, 8)
    x, m = CosineVP().perturb(ones, -ones, t)
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda tensor: tensor):
        answer = network(x, m, Condition(label=torch.tensor([1, 3]), control=ones))
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    found = torch.autograd.grad(answer.float().square().sum(), [*trained.values()])
    return answer.detach(), dict(zip(trained, found, strict=True)), sum(kept)


def test_what_is_computed_again_gives_the_same_gradients_with_less_kept(begun):
    own = copy.deepcopy(begun)
    recompute("adapter", own)
    answer, gradients, kept = passed(own)
    plain, wanted, more = passed(begun)
    torch.testing.assert_close(answer, plain)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name])
    assert kept < more / 2


def test_text_encoders_that_are_trained_too_compute_again_as_they_are_loaded_for_use():
    """Which is not in the mode of training, where transformers would keep all."""
    pipeline = bases.sd()
    whole = WithText(pipeline.unet, nn.ModuleDict({"text_encoder": pipeline.text_encoder})).eval()
    for network in (whole.network, whole.text["text_encoder"]):
        LowRank(["linear"], rank=2).begin(network)
    for weight in whole.parameters():
        weight.data = (weight + 0.1 * torch.randn(weight.shape)).detach().double()
    plain, more = _told(whole)
    recompute("adapter", whole)
    found, kept = _told(whole)
    assert whole.network.is_gradient_checkpointing
    assert whole.text["text_encoder"].is_gradient_checkpointing
    assert not any(module.training for module in whole.modules() if isinstance(module, CLIPAttention))
    assert {name.partition(".")[0] for name in plain} == {"network", "text"}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, plain[name], atol=1e-6, rtol=1e-6)
        assert gradient.any()
    assert all(kept[part] < 0.7 * more[part] for part in more)


def _told(whole):
    """Gradients of what is trained for a text that a U-Net is told, and the bytes that each part keeps."""
    rng, kept = torch.Generator().manual_seed(0), {}
    x = torch.randn(2, 4, 8, 8, generator=rng, dtype=torch.float64)
    words = torch.tensor([[0, 5, 7, 3, 1], [0, 2, 2, 9, 1]])
    for part in ("text", "network"):
        kept[part] = 0

        def keep(tensor, part=part):
            kept[part] += tensor.nbytes
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            if part == "text":
                tokens = whole.text["text_encoder"](words).last_hidden_state
            else:
                answer = whole.network(x, 7, tokens).sample
    trained = {name: weight for name, weight in whole.named_parameters() if weight.requires_grad}
    found = torch.autograd.grad(answer.square().sum(), [*trained.values()])
    return dict(zip(trained, found, strict=True)), kept


def test_a_network_that_cannot_compute_again_is_one_line():
    with pytest.raises(ConfigError, match=r"adapter\.trainer\.recompute: Linear keeps its activations;"):
        recompute("adapter", nn.Linear(1, 1))


def test_a_base_in_half_the_memory_answers_nearly_the_same_and_its_matrices_are_trained_whole():
    torch.manual_seed(0)
    base = CrossAttentionUNet(1, 4, 8, [8, 8], [False, True], head_width=8, patch=2)
    for weight in base.parameters():
        weight.data.add_(0.1 * torch.randn(weight.shape))
    own, whole = copy.deepcopy(base), copy.deepcopy(base)
    for frozen, network in (("bfloat16", own), ("float32", whole)):
        torch.manual_seed(2)
        LowRank(["linear"], rank=2, frozen=frozen).begin(network)
    kinds = {(weight.requires_grad, weight.dtype) for weight in own.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    (answer, gradients, _), (plain, wanted, _) = passed(own.train()), passed(whole.train())
    assert (answer - plain).abs().max() < 0.05 * plain.abs().max()
    ups = [name for name in wanted if "lora_B" in name]  # of the other matrix it is zero at the start
    one, other = (torch.cat([g[name].flatten() for name in ups]) for g in (gradients, wanted))
    assert one.dtype == torch.float32
    assert torch.cosine_similarity(one, other, dim=0) > 0.99
