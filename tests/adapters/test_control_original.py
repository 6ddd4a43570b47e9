"""ControlNets in their authors' layout: the names are those that diffusers reads."""

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from condiff.adapters import control_files, control_original
from condiff.adapters.branch import Branch, thirds, whole


@pytest.fixture(scope="module")
def unet():
    """Of the layout of Stable Diffusion 1, thin."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 8),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=2,
        norm_num_groups=4,
    )


@pytest.fixture(scope="module")
def branch(unet):
    own = Branch.of(unet, 3, 8)
    with torch.no_grad():
        for weight in own.parameters():
            weight.normal_()
    return own.eval().requires_grad_(False)


def test_diffusers_reads_the_exported_file_as_the_same_weights(branch, tmp_path):
    control_files.export(branch, tmp_path)
    theirs = convert_controlnet_checkpoint(load_file(tmp_path / control_files.ORIGINAL), branch.net.config)
    own = branch.net.state_dict()
    assert theirs.keys() == own.keys()
    assert all(torch.equal(theirs[name], value) for name, value in own.items())


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_it_is_read_back_and_answers_the_same(unet, branch, tmp_path, prefix):
    control_files.export(branch, tmp_path)
    tensors = load_file(tmp_path / control_files.ORIGINAL)
    assert "control_model.zero_convs.0.0.weight" in tensors
    assert "control_model.input_hint_block.14.bias" in tensors
    path = tmp_path / "theirs.safetensors"
    save_file(
        {f"{prefix}{name.removeprefix('control_model.')}": value for name, value in tensors.items()}, path
    )
    assert control_files.is_control(path)
    found = control_files.read(path, unet, "any")
    args = torch.rand(1, 3, 64, 64), (torch.randn(1, 4, 8, 8), torch.tensor([7.0]), torch.randn(1, 2, 12)), {}
    for one, other in zip(found(*args), branch(*args), strict=True):
        assert torch.equal(one, other)


@pytest.fixture(scope="module")
def grey(unet):
    """Of hints of one channel."""
    own = Branch.of(unet, 1, 8)
    with torch.no_grad():
        for weight in own.parameters():
            weight.normal_()
    return own.eval().requires_grad_(False)


ARGS = (torch.randn(1, 4, 8, 8), torch.tensor([7.0]), torch.randn(1, 2, 12)), {}


def test_one_of_grey_hints_is_exported_for_hints_in_colours(unet, grey, tmp_path):
    control_files.export(grey, tmp_path)
    net, hint = ControlNetModel.from_pretrained(tmp_path).eval(), torch.rand(1, 1, 64, 64)
    assert net.config["conditioning_channels"] == 3
    x, t, tokens = ARGS[0]
    theirs = net(x, t, tokens, controlnet_cond=hint.expand(-1, 3, -1, -1))
    own = grey(hint, *ARGS)
    torch.testing.assert_close(
        theirs.mid_block_res_sample, own[-1], rtol=1e-4, atol=1e-4 * own[-1].abs().max()
    )


@pytest.mark.parametrize("place", ["", control_files.ORIGINAL])
def test_read_back_for_grey_hints_it_is_the_same_bit_for_bit(unet, grey, tmp_path, place):
    control_files.export(grey, tmp_path)
    found = control_files.read(tmp_path / place, unet, "any", channels=1)
    assert found.net.config["conditioning_channels"] == 1
    state = grey.net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in found.net.state_dict().items())
    coloured = control_files.read(tmp_path / place, unet, "any", channels=3)
    assert coloured.net.config["conditioning_channels"] == 3


def test_one_that_tells_colours_apart_is_left_as_it_is(unet, branch, tmp_path):
    control_files.export(branch, tmp_path)
    found = control_files.read(tmp_path, unet, "any", channels=1).net.state_dict()
    assert all(torch.equal(found[name], value) for name, value in branch.net.state_dict().items())


def test_thirds_add_up_to_what_they_were_made_of():
    """For a share of all that a float32 has behind its point; where channels differ there are no thirds."""
    every = torch.arange(2**23, 2**24, 61, dtype=torch.int32).float().view(-1, 1, 1, 1)
    parts = thirds(every)
    assert torch.equal(whole(parts), every)
    torch.testing.assert_close(parts, (every / 3).expand(-1, 3, -1, -1), rtol=4e-7, atol=0)
    assert whole(torch.ones(2, 3, 1, 1)).unique() == 3
    assert whole(parts[:8] * torch.tensor([1, 1, 1.01]).view(3, 1, 1)) is None
    assert whole(every[:8]) is None


def test_a_file_of_one_that_sees_patches_is_read_back(unet, tmp_path):
    control_files.export(Branch.of(unet, 1, 4, 4), tmp_path)
    found = control_files.read(tmp_path / control_files.ORIGINAL, unet, "any").net.controlnet_cond_embedding
    assert [*found.conv_in.weight.shape] == [96, 16, 3, 3]
    assert not found.blocks


def test_a_file_of_another_network_is_told_in_one_line(unet, branch, tmp_path):
    control_files.export(branch, tmp_path)
    tensors = load_file(tmp_path / control_files.ORIGINAL)
    del tensors["control_model.zero_convs.3.0.weight"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match=r"part\.safetensors: is no copy of the base's encoder, zero"):
        control_files.read(tmp_path / "part.safetensors", unet, "any")


def test_of_a_file_with_a_whole_base_the_controlnet_is_read_and_nothing_else(unet, branch, tmp_path):
    control_files.export(branch, tmp_path)
    tensors, path = load_file(tmp_path / control_files.ORIGINAL), tmp_path / "control_sd15.safetensors"
    diverged = torch.full((2,), float("nan"))  # of what is not read nothing is said
    parts = ("model.diffusion_model.out.2.bias", "first_stage_model.decoder.conv_in.bias", "betas")
    save_file({**tensors, **{name: diverged.clone() for name in parts}}, path)
    assert control_files.is_control(path)
    assert control_files.read_decoder(path) == {}
    found = control_files.read(path, unet, "any").net.state_dict()
    assert all(torch.equal(found[name], value) for name, value in branch.net.state_dict().items())
    save_file({**tensors, "lora.up": diverged.zero_()}, path)
    with pytest.raises(ValueError, match=r"is no copy of the base's encoder, lora\.up for one"):
        control_files.read(path, unet, "any")


def test_a_pickle_is_told_with_the_command_that_converts_it(unet, branch, tmp_path, monkeypatch):
    state = control_original.written(branch)
    torch.save(state, tmp_path / "control_sd15.pth")
    with pytest.raises(ValueError, match=r"only \*.safetensors is read") as told:
        control_files.read(tmp_path / "control_sd15.pth", unet, "any")
    command = str(told.value).partition("with: python -c ")[2]
    assert "\n" not in command
    monkeypatch.chdir(tmp_path)
    exec(command.strip('"'), {})  # noqa: S102
    found = control_files.read(tmp_path / "NEW.safetensors", unet, "any").net.state_dict()
    assert all(torch.equal(found[name], value) for name, value in branch.net.state_dict().items())
