import pytest
import torch
from diffusers.models.attention_processor import PAGIdentitySelfAttnProcessor2_0

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Models
from condiff.diffusion.guidance.references import PerturbedAttention
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.networks.attention import self_attention
from condiff.networks.unet import CrossAttentionUNet, UNet

SHAPE = {"channels": 4, "size": 8, "widths": [16, 32], "attention": [False, True]}


@pytest.mark.parametrize("kind", [UNet, CrossAttentionUNet])
@pytest.mark.parametrize("layers", [["mid"], ["down_blocks.1"], ["mid", "up_blocks"]])
def test_perturbed_attention_guidance_is_that_of_diffusers(kind, layers):
    torch.manual_seed(0)
    net, process = kind(num_labels=4, **SHAPE).eval(), CosineVP()
    x, m = torch.randn(2, 4, 8, 8), process.at(torch.full((2,), 0.4))
    cond, denoiser = Condition(label=torch.tensor([1, 3])), NetworkDenoiser(net, process, V())
    with torch.no_grad():
        ours = PerturbedAttention(3.0, layers)(Models(denoiser))(x, m, cond)
        plain = net(x, m, cond)
        for layer in self_attention(net, layers):
            layer.set_processor(PAGIdentitySelfAttnProcessor2_0())
        _, perturbed = net(torch.cat([x, x]), m.tile(2), cond.cat(cond)).chunk(2)
    expected = denoiser.parameterization.read(plain + 2 * (plain - perturbed), x, m)  # their s is 2
    torch.testing.assert_close(ours.x0, expected.x0, atol=1e-5, rtol=1e-5)
    assert (plain - perturbed).abs().max() > 1e-4


def test_a_perturbed_network_leaves_the_plain_one_as_it_is():
    torch.manual_seed(0)
    net, m = UNet(num_labels=4, **SHAPE).eval(), CosineVP().at(torch.full((1,), 0.4))
    x, cond = torch.randn(1, 4, 8, 8), Condition(label=torch.tensor([1]))
    with torch.no_grad():
        before = net(x, m, cond)
        assert not torch.equal(net.perturbed(["mid"])(x, m, cond), before)
        assert torch.equal(net(x, m, cond), before)


def test_a_layer_that_is_not_there_is_named_beside_those_that_are():
    net = UNet(num_labels=4, **SHAPE)
    with pytest.raises(ValueError, match=r"no self-attention is called 'midd'; there are net.down_blocks.1"):
        net.perturbed(["midd"])
