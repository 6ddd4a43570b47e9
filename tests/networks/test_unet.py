import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import CosineVP, RectifiedFlow, VarianceExploding
from condiff.networks.unet import CrossAttentionUNet, TextMap, UNet

SHAPE = {"channels": 4, "size": 8, "widths": [16, 32], "attention": [False, True]}


def labels(*values):
    return Condition(label=torch.tensor(values))


@pytest.mark.parametrize("kind", [UNet, CrossAttentionUNet])
@pytest.mark.parametrize(
    "process", [CosineVP(), RectifiedFlow(), VarianceExploding()], ids=lambda process: type(process).__name__
)
def test_the_answer_has_the_shape_of_the_question_and_depends_on_label_and_time(kind, process):
    torch.manual_seed(0)
    net = kind(num_labels=4, **SHAPE).eval()
    x = torch.randn(2, 4, 8, 8)

    def answer(share, *label):
        return net(x, process.at(torch.full((2,), share * process.t_max)), labels(*label))

    with torch.no_grad():
        first = answer(0.5, 1, 1)
        assert first.shape == x.shape
        assert not torch.allclose(first, answer(0.5, 2, 2))
        assert not torch.allclose(first, answer(0.1, 1, 1))


@pytest.mark.parametrize("kind", [UNet, CrossAttentionUNet])
def test_a_learned_variance_doubles_the_answer(kind):
    net = kind(num_labels=4, learned_variance=True, **SHAPE)
    answer = net(torch.randn(2, 4, 8, 8), CosineVP().at(torch.full((2,), 0.5)), labels(1, 2))
    assert answer.shape == (2, 8, 8, 8)


def test_tokens_and_labels_are_both_attended_to_and_masked_tokens_are_not():
    torch.manual_seed(0)
    net = CrossAttentionUNet(num_labels=4, token_width=8, **SHAPE).eval()
    m = CosineVP().at(torch.full((1,), 0.5))
    x, tokens = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8)
    mask = torch.tensor([[True, True, False]])

    def answer(last=0.0, first=0.0, label=1):
        changed = tokens + torch.tensor([first, 0.0, last])[:, None]
        return net(x, m, Condition(label=torch.tensor([label]), tokens=changed, token_mask=mask))

    with torch.no_grad():
        torch.testing.assert_close(answer(last=5.0), answer(), atol=1e-6, rtol=0)
        assert not torch.allclose(answer(first=5.0), answer(), atol=1e-4)
        assert not torch.allclose(answer(label=2), answer(), atol=1e-4)


@pytest.mark.parametrize(("text_map", "knows"), [(0, False), (2, True)])
def test_only_with_a_map_of_its_text_a_network_hears_the_pooled_vector_and_knows_places(text_map, knows):
    torch.manual_seed(0)
    net = CrossAttentionUNet(
        channels=1, num_labels=0, size=32, widths=[16], attention=[False], text_width=4,
        text_map=text_map, pooled_width=3,
    ).eval()  # fmt: skip
    m = CosineVP().at(torch.full((1,), 0.5))

    def answer(pooled):
        cond = Condition(tokens=torch.ones(1, 2, 4), pooled=pooled)
        with torch.no_grad():
            return net(torch.ones(1, 1, 32, 32), m, cond)[0, 0]

    first, second = answer(torch.ones(1, 3)), answer(-torch.ones(1, 3))
    inner = first[14:18, 14:18]  # its 12 convolutions do not reach the edge from there
    assert (float(inner.max() - inner.min()) > 1e-3) == knows
    assert (not torch.equal(first, second)) == knows


def test_a_map_of_a_text_is_each_channel_and_place_by_a_weighting_of_its_own():
    one = TextMap(width=3, channels=2, side=4)
    pooled = torch.randn(5, 3)
    weight, bias = (value.unflatten(0, (2, 4, 4)) for value in (one.linear.weight, one.linear.bias))
    torch.testing.assert_close(one(pooled), torch.einsum("chwp,bp->bchw", weight, pooled) + bias)


def test_a_map_of_a_text_where_there_is_none_is_refused():
    with pytest.raises(ValueError, match=r"text_map: there is no text to map; use text_map=0"):
        CrossAttentionUNet(num_labels=2, text_map=4, **SHAPE)


def test_pixels_are_folded_for_a_network_that_attends_to_tokens_and_what_is_stacked_begins_unheard():
    torch.manual_seed(0)
    net = CrossAttentionUNet(
        num_labels=2, patch=2, text_map=2, pooled_width=5, concat_channels=3, **{**SHAPE, "size": 16}
    ).eval()
    assert net.net.conv_in.in_channels == (4 + 3) * 4 + 2
    x, m = torch.randn(1, 4, 16, 16), CosineVP().at(torch.full((1,), 0.5))
    with torch.no_grad():
        answers = [
            net(
                x,
                m,
                Condition(
                    label=torch.tensor([1]), pooled=torch.ones(1, 5), concat=scale * torch.ones(1, 3, 16, 16)
                ),
            )
            for scale in (0.0, 5.0)
        ]
    assert answers[0].shape == x.shape
    assert torch.equal(*answers)


def test_a_token_network_without_anything_to_attend_to_says_so():
    net = CrossAttentionUNet(num_labels=0, **SHAPE)
    with pytest.raises(ValueError, match="tokens or labels"):
        net(torch.randn(1, 4, 8, 8), CosineVP().at(torch.full((1,), 0.5)), Condition())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention": [True]}, "UNet.attention"),
        ({"widths": [12, 24]}, "multiples of norm_groups=8"),
        ({"size": 9}, "multiple of 2, got 9"),
        ({"size": 12, "patch": 4}, "on patches of 4 need a size that is a multiple of 8, got 12"),
    ],
)
def test_shapes_that_cannot_work_are_refused_when_built(change, said):
    with pytest.raises(ValueError, match=said):
        UNet(num_labels=4, **{**SHAPE, **change})


@pytest.mark.parametrize("kind", [UNet, CrossAttentionUNet])
def test_what_is_stacked_under_x_begins_without_effect_and_is_learned(kind):
    """The widened first convolution is the narrow one, with zeros for the new channels."""
    torch.manual_seed(0)
    net = kind(num_labels=4, concat_channels=4, **SHAPE)
    assert net.net.conv_in.weight.shape[1] == 8
    assert not net.net.conv_in.weight[:, 4:].any()
    assert net.net.conv_in.weight[:, :4].any()
    m, x = CosineVP().at(torch.full((2,), 0.5)), torch.randn(2, 4, 8, 8)
    answers = [net(x, m, Condition(label=torch.tensor([1, 2]), concat=c)) for c in (x, torch.zeros_like(x))]
    assert torch.equal(*answers)
    answers[0].square().sum().backward()
    assert net.net.conv_in.weight.grad[:, 4:].any()


def test_a_denoiser_without_labels_is_not_told_any():
    torch.manual_seed(0)
    net, x = UNet(num_labels=0, **SHAPE).eval(), torch.randn(2, 4, 8, 8)
    m = CosineVP().at(torch.full((2,), 0.5))
    with torch.no_grad():
        answers = [net(x, m, cond) for cond in (labels(1, 2), labels(0, 0), Condition())]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("learned_variance", [False, True])
def test_a_network_on_patches_is_one_on_their_pixels_as_channels(learned_variance):
    """Row y, column x of patch 2 is channel 4 c + 2 (y % 2) + x % 2 at half the place, out as in."""
    torch.manual_seed(0)
    shape = {**SHAPE, "channels": 3, "size": 16, "learned_variance": learned_variance}
    net = UNet(num_labels=4, patch=2, **shape).eval()
    m, x = CosineVP().at(torch.full((2,), 0.5)), torch.randn(2, 3, 16, 16)
    assert net.net.conv_in.weight.shape[1] == 12
    folded = torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=2).flatten(1, 2)
    with torch.no_grad():
        inner = net.net(folded, 1000 * m.angle.flatten(), class_labels=torch.tensor([1, 2])).sample
        answer = net(x, m, labels(1, 2))
    assert answer.shape == (2, 6 if learned_variance else 3, 16, 16)
    for c in range(answer.shape[1]):
        for i in (0, 1):
            for j in (0, 1):
                assert torch.equal(answer[:, c, i::2, j::2], inner[:, 4 * c + 2 * i + j])


def test_what_is_stacked_is_folded_after_the_picture_and_begins_without_effect():
    torch.manual_seed(0)
    net = UNet(num_labels=4, concat_channels=4, patch=2, **{**SHAPE, "size": 16})
    weight = net.net.conv_in.weight
    assert weight.shape[1] == 32
    assert not weight[:, 16:].any()
    assert weight[:, :16].any()
    m, x = CosineVP().at(torch.full((2,), 0.5)), torch.randn(2, 4, 16, 16)
    answers = [net(x, m, Condition(label=torch.tensor([1, 2]), concat=c)) for c in (x, torch.zeros_like(x))]
    assert torch.equal(*answers)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_network_knows_its_type_as_diffusers_would_find_it(kind):
    net = UNet(num_labels=4, **SHAPE).to(kind).net
    assert net.dtype == UNet2DModel.dtype.fget(net) == kind
