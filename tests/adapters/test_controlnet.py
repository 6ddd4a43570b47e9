"""A ControlNet starts as its base, learns where the paper says, and is diffusers' own on the same weights."""

import copy

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from condiff.adapters import control_files
from condiff.adapters.base import digest_of
from condiff.adapters.branch import Branch
from condiff.adapters.control import Even, GuessDiffusers, GuessOriginal
from condiff.adapters.controlled import Controlled
from condiff.adapters.controlnet import ControlNet, Unlocked, decoder_changes
from condiff.adapters.tuning import inside, merged
from condiff.conditioners.control import WithControl
from condiff.conditioners.label import ClassLabel
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import ClassifierFree, Models
from condiff.diffusion.parameterization import X0
from condiff.diffusion.process import CosineVP
from condiff.networks.unet import CrossAttentionUNet, UNet

TUNING = ControlNet(channels=1, stride=2)
TEXT = {"text_width": 12, "text_map": 2, "pooled_width": 6, "concat_channels": 3}


def made(**options):
    torch.manual_seed(0)
    network = CrossAttentionUNet(
        1, 4, 8, [8, 8], [False, True], head_width=8, patch=2, token_width=12, **options
    )
    return moved(network, 3).eval()


def moved(module: nn.Module, seed: int) -> nn.Module:
    """Values that no layer starts with, so that none of them is without effect."""
    rng = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        weight.data.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return module


def asked(network, m=None, **changes):
    """The network's answer to two fixed pictures, their labels, texts and hints."""
    rng = torch.Generator().manual_seed(5)
    m = m or CosineVP().at(torch.tensor([0.2, 0.7]))
    x, hint = torch.randn(2, 1, 8, 8, generator=rng), torch.rand(2, 1, 8, 8, generator=rng)
    told = {"label": torch.tensor([1, 3]), "control": hint, **changes}
    return network(x, m, Condition(**told))


def words(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {
        "tokens": torch.randn(2, 5, 12, generator=rng),
        "token_mask": torch.tensor([[True] * 2 + [False] * 3, [True] * 5]),
        "pooled": torch.randn(2, 6, generator=rng),
        "concat": torch.randn(2, 3, 8, 8, generator=rng),
    }


def begun(network):
    return TUNING.begin(copy.deepcopy(network))


@pytest.fixture
def base():
    return made()


@pytest.fixture
def trained(base):
    """As a training might leave it."""
    whole = begun(base)
    moved(whole.branch, 7)
    return whole


def test_a_training_starts_at_the_base_to_the_bit(base):
    assert torch.equal(asked(begun(base)), asked(base))
    told = made(**TEXT)
    assert torch.equal(asked(begun(told), **words()), asked(told, **words()))


@pytest.mark.parametrize("tuning", [ControlNet, Unlocked])
def test_a_base_in_half_the_memory_is_locked_so_and_what_learns_keeps_its_precision(base, tuning):
    whole = tuning(channels=1, stride=2, frozen="bfloat16").begin(copy.deepcopy(base))
    plain = tuning(channels=1, stride=2).begin(copy.deepcopy(base))
    plain.branch.load_state_dict(whole.branch.state_dict())
    assert {w.dtype for w in whole.parameters() if w.requires_grad} == {torch.float32}
    assert {w.dtype for w in whole.parameters() if not w.requires_grad} == {torch.bfloat16}
    moved(whole.branch, 7), moved(plain.branch, 7)
    found, wanted = asked(whole), asked(plain)
    assert 0 < (found.float() - wanted).norm() < 0.05 * wanted.norm()
    for one in (found, wanted):
        one.float().square().mean().backward()
    own, theirs = (
        torch.cat([w.grad.flatten() for w in one.parameters() if w.requires_grad]) for one in (whole, plain)
    )
    assert own.dtype == torch.float32
    assert torch.cosine_similarity(own, theirs, 0) > 0.99


def test_the_copy_has_the_weights_of_the_encoder_key_by_key(base):
    own, copied = inside(base).state_dict(), begun(base).branch.net.state_dict()
    encoder = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")
    wanted = {name for name in own if name.startswith(encoder)}
    assert wanted == {name for name in copied if not name.startswith("controlnet_")}
    assert all(torch.equal(own[name], copied[name]) for name in wanted)


def test_the_copy_takes_up_the_last_weights_of_a_base_that_is_their_average(base):
    last = {name: value + 1 for name, value in base.state_dict().items()}
    whole = begun(base)
    before = copy.deepcopy(whole.branch.net.state_dict())
    TUNING.take_up(whole, last)
    copied = whole.branch.net.state_dict()
    assert all(torch.equal(copied[name], last.get(f"net.{name}", value)) for name, value in before.items())
    assert not torch.equal(copied["conv_in.weight"], before["conv_in.weight"])
    assert torch.equal(asked(whole), asked(base))


def test_what_its_authors_have_no_name_for_is_one_line_after_diffusers_folder(tmp_path):
    branch = begun(made(**TEXT)).branch
    with pytest.raises(
        ValueError, match=r"^has no name for class_embedding\.linear_1\.weight in the layout of"
    ):
        control_files.export(branch, tmp_path)
    theirs = ControlNetModel.from_pretrained(tmp_path).state_dict()
    assert torch.equal(theirs["conv_in.weight"], branch.net.conv_in.weight)


def test_zero_convolutions_are_one_for_each_skip_and_the_middle_without_weights_and_biases(base):
    net = begun(base).branch.net
    zero = [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]
    assert len(net.controlnet_down_blocks) == 1 + sum(
        len(block.resnets) + bool(block.downsamplers) for block in net.down_blocks
    )
    assert all(not weight.any() for layer in zero for weight in layer.parameters())
    assert all(layer.kernel_size == (1, 1) for layer in zero[:-1])


def test_of_stable_diffusion_1_it_is_the_published_one_by_its_sizes():
    """Zhang 2023, cldm.py: 13 zero convolutions, a network for hints of stride 8, 361 million weights."""
    with torch.device("meta"):
        net = Branch.of(UNet2DConditionModel(cross_attention_dim=768), 3, 8).net
        hint = net.controlnet_cond_embedding
        assert len(net.controlnet_down_blocks) + 1 == 13
        convs = [hint.conv_in, *hint.blocks, hint.conv_out]
        assert [conv.out_channels for conv in convs] == [16, 16, 32, 32, 96, 96, 256, 320]
        assert hint(torch.zeros(1, 3, 512, 512)).shape == (1, 320, 64, 64)
    assert sum(weight.numel() for weight in net.parameters()) == 361_279_120


def test_gradients_reach_the_zero_convolutions_first_then_the_copy_then_the_hint(base):
    """What a zero convolution multiplies by is zero, and what it is multiplied with is not (sec. 3.1)."""
    whole = begun(base)
    step, seen = torch.optim.SGD(whole.branch.parameters(), 1e-2), []
    for _ in range(3):
        step.zero_grad()
        asked(whole).square().mean().backward()
        reached = {name for name, weight in whole.branch.net.named_parameters() if weight.grad.any()}
        seen.append(reached)
        step.step()
    every = {name for name, _ in whole.branch.net.named_parameters()}
    hint = {name for name in every if "cond_embedding" in name}
    last = {name for name in hint if "conv_out" in name}
    first = {name for name in every if name.startswith(("controlnet_down", "controlnet_mid"))}
    copied = {name for name in every if not name.startswith("controlnet_")}
    assert seen[0] == first
    one_token = {name for name in copied if any(of in name for of in ("attn2.to_q", "attn2.to_k", "norm2"))}
    assert seen[1] - copied == first | last
    assert copied - seen[1] <= one_token  # who attends to one token need not look for it
    assert hint <= seen[2]
    assert all(weight.grad is None for weight in whole.network.parameters())


def test_of_the_locked_encoder_nothing_is_kept_for_a_gradient(base):
    whole, needed = begun(base), []
    net = inside(whole.network)
    net.down_blocks[-1].register_forward_hook(lambda _, __, out: needed.append(out[0].requires_grad))
    net.up_blocks[0].register_forward_hook(lambda _, __, out: needed.append(out.requires_grad))
    asked(whole)
    assert needed == [False, True]


@pytest.mark.parametrize("curve", [Even(), GuessDiffusers()], ids=["even", "guess"])
def test_it_is_what_diffusers_makes_of_the_same_weights(trained, curve):
    net, unet = trained.branch.net, inside(trained.network)
    rng = torch.Generator().manual_seed(1)
    hint, folded = torch.rand(2, 1, 8, 8, generator=rng), torch.randn(2, 4, 4, 4, generator=rng)
    x, m = torch.pixel_shuffle(folded, 2), CosineVP().at(torch.tensor([0.2, 0.7]))
    label = torch.tensor([1, 3])
    tokens, time = trained.network.label_tokens(label)[:, None], 1000 * m.angle.flatten()
    is_guess = isinstance(curve, GuessDiffusers)
    skips, middle = net(folded, time, tokens, hint, 0.7, guess_mode=is_guess, return_dict=False)
    theirs = unet(
        folded, time, tokens, down_block_additional_residuals=skips, mid_block_additional_residual=middle
    )
    weights = [0.7 * weight for weight in curve.weights(trained.branch.num)]
    own = Controlled(trained.network, trained.branch, weights)(x, m, Condition(label=label, control=hint))
    torch.testing.assert_close(own, torch.pixel_shuffle(theirs.sample, 2), atol=1e-6, rtol=1e-6)


def test_the_copy_hears_no_more_of_a_text_than_the_base():
    whole = begun(made(**TEXT))
    moved(whole.branch, 7)
    text, other = words(), words(1)
    hidden = torch.where(text["token_mask"][..., None], text["tokens"], other["tokens"])
    torch.testing.assert_close(asked(whole, **{**text, "tokens": hidden}), asked(whole, **text))
    for name in ("tokens", "pooled", "concat"):
        assert not torch.allclose(asked(whole, **{**text, name: other[name]}), asked(whole, **text))


def test_a_file_is_the_control_that_was_trained_and_of_its_base_alone(base, trained, tmp_path):
    path = tmp_path / "a.safetensors"
    TUNING.write(trained, path, digest_of(inside(base)), ["a word"])
    found = TUNING.beside(path, base)
    torch.testing.assert_close(asked(Controlled(base, found)), asked(trained))
    assert not torch.allclose(asked(trained), asked(base))
    next(inside(base).parameters()).data.add_(1)
    with pytest.raises(ValueError, match=r"a\.safetensors: was trained on another base; give the one"):
        TUNING.beside(path, base)


def test_the_hint_counts_and_only_where_there_is_control(trained):
    black = torch.zeros(2, 1, 8, 8)
    assert not torch.allclose(asked(trained), asked(trained, control=black))
    off = torch.tensor([0.0, 1.0])
    plain, some = asked(trained.network), asked(trained, control_scale=off)
    assert torch.equal(some[0], plain[0])
    assert torch.equal(some[1], asked(trained)[1])


def test_the_published_curves_of_guess_mode():
    original, diffusers = GuessOriginal().weights(13), GuessDiffusers().weights(13)
    assert original[-1] == 1
    assert original[0] == pytest.approx(0.825**12)
    assert original[1] / original[0] == pytest.approx(1 / 0.825)
    assert diffusers == pytest.approx(torch.logspace(-1, 0, 13).tolist())
    assert Even().weights(13) == [1.0] * 13


def test_the_null_condition_keeps_the_control_and_in_guess_mode_it_has_none(base, trained):
    process = CosineVP()
    label, hint = torch.tensor([1, 2]), torch.rand(2, 1, 8, 8)
    conditioner = WithControl(ClassLabel(3, with_null=True))
    cond = conditioner({"label": label, "control": hint})
    assert cond.null is not None
    assert torch.equal(cond.null.control, hint)
    x, m = torch.randn(2, 1, 8, 8), process.at(torch.tensor([0.5, 0.5]))
    guessed = WithControl(ClassLabel(3, with_null=True), in_null=False)({"label": label, "control": hint})
    denoiser = NetworkDenoiser(trained, process, X0())
    free = ClassifierFree(0)(Models(denoiser))  # the null alone
    null = Condition(label=torch.tensor([3, 3]), control=hint)
    torch.testing.assert_close(free(x, m, cond).x0, denoiser(x, m, null).x0)
    plain = NetworkDenoiser(base, process, X0())
    torch.testing.assert_close(free(x, m, guessed).x0, plain(x, m, null).x0)
    one = ClassifierFree(1)(Models(denoiser))
    assert torch.equal(one(x, m, guessed).x0, denoiser(x, m, cond).x0)


def test_texts_are_dropped_and_hints_never():
    conditioner = WithControl(ClassLabel(3, with_null=True))
    batch = {"label": torch.tensor([0, 1, 2, 0]), "control": torch.rand(4, 1, 8, 8)}
    cond, lacking = conditioner.dropped(batch, lambda _: torch.tensor([0.0, 0.4, 0.6, 0.9]), 0.5)
    assert cond.label.tolist() == [3, 3, 2, 0]
    assert lacking["label"].tolist() == [True, True, False, False]
    assert torch.equal(cond.control, batch["control"])


SIZES = [(1, 1, [16]), (2, 1, [16, 32]), (8, 1, [16, 32, 96, 256]), (4, 4, [96]), (8, 2, [32, 96, 256])]


@pytest.mark.parametrize(("stride", "folded", "widths"), SIZES)
def test_a_hint_is_brought_to_the_size_of_what_the_network_sees(base, stride, folded, widths):
    hint = Branch.of(inside(base), 3, stride, folded).net.controlnet_cond_embedding
    halving = [layer.out_channels for layer in hint.blocks if layer.stride == (2, 2)]
    assert [hint.conv_in.out_channels, *halving] == widths
    side = 8 * stride // folded
    assert hint(torch.zeros(1, 3 * folded**2, side, side)).shape == (1, 8, 8, 8)
    with pytest.raises(ValueError, match=r"1, 2, 4, \.\.\. times as large as what the U-Net sees, got 3"):
        Branch.of(inside(base), 3, 3)
    with pytest.raises(ValueError, match=r"the U-Net sees in patches of 4, got 0\.5"):
        Branch.of(inside(base), 3, 2, 4)


def test_of_patches_it_sees_those_of_the_hint_with_every_pixel_in_its_place(base):
    """A network for hints that halves nothing is given them as the U-Net is given x_t."""
    whole = ControlNet(channels=1, stride=2, folded=2).begin(copy.deepcopy(base))
    assert torch.equal(asked(whole), asked(base))
    moved(whole.branch, 7)
    rng, seen = torch.Generator().manual_seed(9), []
    hint = torch.rand(2, 1, 8, 8, generator=rng)
    whole.branch.net.controlnet_cond_embedding.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    plain = asked(whole, control=hint)
    for row, column in [(0, 0), (3, 6)]:
        other = hint.clone()
        other[:, :, row, column] += 1
        assert not torch.allclose(asked(whole, control=other), plain)
        places = (seen[-1] - seen[0]).nonzero()[:, 1:].unique(dim=0)
        assert places.tolist() == [[2 * (row % 2) + column % 2, row // 2, column // 2]]


def test_a_network_without_an_encoder_to_copy_is_refused():
    with pytest.raises(ValueError, match=r"network is UNet; use network=unet_cross_attention"):
        TUNING.check(UNet(1, 4, 8, [8, 8], [False, True], head_width=8))
    with pytest.raises(ValueError, match=r"a ControlNet needs a hint for each sample, and got none"):
        asked(begun(made()), control=None)


def test_two_controls_add_up(base, trained):
    other = moved(begun(base).branch, 11)
    net, seen = inside(base), []
    forward = net.forward
    net.forward = lambda *args, **told: seen.append(told) or forward(*args, **told)
    uses = [(trained.branch, [0.5] * other.num), (other, [2.0] * other.num)]
    one, two = (Controlled(base, branch, weights) for branch, weights in uses)
    for own in (one, two, Controlled(one, *uses[1])):
        asked(own)
    skips = [told["down_block_additional_residuals"] for told in seen]
    middle = [told["mid_block_additional_residual"] for told in seen]
    for first, second, both in [*zip(*skips, strict=True), middle]:
        torch.testing.assert_close(both, first + second)


def test_a_folder_of_diffusers_is_written_and_read_back_with_equal_outputs(base, trained, tmp_path):
    control_files.export(trained.branch, tmp_path / "own")
    theirs, own = ControlNetModel.from_pretrained(tmp_path / "own"), trained.branch.net.state_dict()
    found = control_files.read(tmp_path / "own", inside(base), "any", channels=1).net.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in found.items())
    moved(theirs, 2).save_pretrained(tmp_path / "theirs")
    assert control_files.is_control(tmp_path / "theirs")
    found = control_files.read(tmp_path / "theirs", inside(base), "any")
    torch.testing.assert_close(asked(Controlled(base, found)), asked(Controlled(base, Branch(theirs))))
    other = inside(made(**TEXT))
    with pytest.raises(ValueError, match=r"theirs: is no copy of the base's encoder, conv_in\.weight"):
        control_files.read(tmp_path / "theirs", other, "any")


def test_unlocked_the_decoder_learns_too_and_its_changes_are_taken_back(base, tmp_path):
    tuning, path = Unlocked(channels=1, stride=2), tmp_path / "a.safetensors"
    whole = tuning.begin(copy.deepcopy(base))
    assert torch.equal(asked(whole), asked(base))
    asked(whole).square().mean().backward()
    reached = {name for name, weight in inside(whole).named_parameters() if weight.grad is not None}
    assert reached == {
        name for name in inside(base).state_dict() if name.startswith(("up_b", "conv_norm", "conv_o"))
    }
    rng = torch.Generator().manual_seed(4)
    for weight in whole.parameters():
        if weight.requires_grad:
            weight.data.add_(0.1 * torch.randn(weight.shape, generator=rng))
    tuning.write(whole, path, digest_of(inside(base)), [])
    before, branch = asked(base), tuning.beside(path, base)
    with merged(base, [(tuning.changes(path, base), 1.0)]):
        torch.testing.assert_close(asked(Controlled(base, branch)), asked(whole))
    assert torch.equal(asked(base), before)
    TUNING.write(whole, path, digest_of(inside(base)), [])
    assert decoder_changes(path, base) == {}
