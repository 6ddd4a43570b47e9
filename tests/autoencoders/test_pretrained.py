"""A folder of diffusers is read as diffusers reads it, strictly, and nothing in it is run."""

import json
import shutil

import pytest
import torch
from autoencoders.models import KINDS, saved
from safetensors.torch import load_file, save_file

from condiff.autoencoders.pretrained import Pretrained
from condiff.autoencoders.space import draw

WEIGHTS = "diffusion_pytorch_model.safetensors"


def pictures(channels=3):
    return torch.rand(2, channels, 16, 16, generator=torch.Generator().manual_seed(0)).double() * 2 - 1


def filled(folder, channels=3):
    model = Pretrained(channels, str(folder))
    model.fill("autoencoder.network")
    return model.eval()


def refused(folder, channels=3) -> str:
    with pytest.raises(ValueError, match=r"^(Pretrained|autoencoder\.network)\.weights: ") as told:
        filled(folder, channels)
    said = str(told.value)
    assert "\n" not in said
    return said


def same(ours, own):
    torch.testing.assert_close(ours, own, rtol=0, atol=1e-12)


def latents_of(own, images):
    found = own.encode(images)
    return found.latents if hasattr(found, "latents") else found.latent_dist.mean


def changed(folder, **settings):
    """Its config.json with other settings, or without those that are None."""
    config = {**json.loads((folder / "config.json").read_text()), **settings}
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


@torch.no_grad()
@pytest.mark.parametrize("place", ["", "vae", "vqvae"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_encodes_and_decodes_as_diffusers_does(kind, place, tmp_path):
    own = saved(tmp_path / place, kind).double()
    if place:
        (tmp_path / "model_index.json").write_text("{}")
    ours = filled(tmp_path).double()
    moments, latents = ours.encode(pictures()), latents_of(own, pictures())
    mean, log_variance = moments.chunk(2, 1)
    assert (ours.latent_channels, ours.downsampling) == (latents.shape[1], 2)
    same(mean, latents)
    same(ours.decode(latents), own.decode(latents).sample)
    if kind == "kl":
        same(log_variance, own.encode(pictures()).latent_dist.logvar)
    else:
        assert torch.equal(draw(moments, torch.full_like(mean, 1e30)), mean)


def test_nothing_of_it_is_trained(tmp_path):
    saved(tmp_path)
    assert not any(parameter.requires_grad for parameter in filled(tmp_path).parameters())


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_grey_goes_in_as_three_alike_and_comes_out_as_their_mean(kind, tmp_path):
    own, grey = saved(tmp_path, kind).double(), pictures(1)
    ours, latents = filled(tmp_path, channels=1).double(), latents_of(own, grey.repeat(1, 3, 1, 1))
    assert ours.channels == 1
    same(ours.encode(grey).chunk(2, 1)[0], latents)
    expected = own.decode(latents).sample.mean(1, keepdim=True)
    same(ours.decode(latents), expected)


@pytest.mark.parametrize(("own", "asked"), [(1, 3), (4, 1), (4, 3), (3, 4)])
def test_pictures_of_other_channels_are_refused(own, asked, tmp_path):
    saved(tmp_path, channels=own)
    said = refused(tmp_path, asked)
    assert f"is for pictures of {own} channel" in said
    assert f"those of the data have {asked};" in said


def test_half_precision_is_taken_into_single(tmp_path):
    saved(tmp_path)
    half = {name: tensor.half() for name, tensor in load_file(tmp_path / WEIGHTS).items()}
    save_file(half, tmp_path / WEIGHTS)
    weight = filled(tmp_path).last
    assert weight.dtype == torch.float32
    assert torch.equal(weight, half["decoder.conv_out.weight"].float())


def test_the_attention_of_old_files_is_read_too(tmp_path):
    saved(tmp_path)
    tensors, old = load_file(tmp_path / WEIGHTS), {}
    words = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name, tensor in tensors.items():
        for now, then in words.items():
            name = name.replace(f".{now}.", f".{then}.")  # noqa: PLW2901
        old[name] = tensor
    assert sum("proj_attn" in name for name in old) == 4
    save_file(old, tmp_path / WEIGHTS)
    query = filled(tmp_path).state_dict()["inner.encoder.mid_block.attentions.0.to_q.weight"]
    assert torch.equal(query, tensors["encoder.mid_block.attentions.0.to_q.weight"])


def test_parts_of_weights_are_put_together(tmp_path):
    own = saved(tmp_path)
    whole = filled(tmp_path).state_dict()
    shutil.rmtree(tmp_path)
    own.save_pretrained(tmp_path, max_shard_size="60KB")
    parts = sorted(tmp_path.glob("*.safetensors"))
    assert len(parts) > 1
    assert all(torch.equal(tensor, whole[name]) for name, tensor in filled(tmp_path).state_dict().items())
    parts[-1].unlink()
    assert f"has only {len(parts) - 1} of the parts of its weights" in refused(tmp_path)


def test_a_tensor_that_does_not_fit_is_told_with_the_file(tmp_path):
    saved(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    lacking = {name: tensor for name, tensor in tensors.items() if name != "quant_conv.bias"}
    save_file(lacking, tmp_path / WEIGHTS)
    assert refused(tmp_path) == (
        f"autoencoder.network.weights: {tmp_path / WEIGHTS} does not fit the AutoencoderKL of its"
        " config.json: it lacks quant_conv.bias; the two must be of one model"
    )
    save_file({**tensors, "more.weight": torch.zeros(1)}, tmp_path / WEIGHTS)
    assert "it has nothing to do with more.weight;" in refused(tmp_path)
    save_file({**tensors, "quant_conv.bias": torch.zeros(3)}, tmp_path / WEIGHTS)
    assert "it has quant_conv.bias as [3], not [8];" in refused(tmp_path)
    save_file({"more.weight": torch.zeros(1)}, tmp_path / WEIGHTS)
    assert f"and {len(tensors)} more; the two" in refused(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\0" * 20)
    assert f"{tmp_path / WEIGHTS} is damaged" in refused(tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("kl", {"_class_name": "AutoencoderDC"}, "_class_name must be one of AutoencoderKL, VQModel, Auto"),
        ("kl", {"_class_name": None}, "_class_name must be one of AutoencoderKL, VQModel, AutoencoderTiny,"),
        ("kl", {"patch_size": [2, 2]}, "patch_size=[2, 2] is a setting of AutoencoderKL that is not known"),
        ("kl", {"act_fn": "relu"}, "act_fn must be silu or swish, got relu"),
        ("kl", {"latent_channels": "4"}, "latent_channels must be int >= 1, got '4'"),
        ("kl", {"latent_channels": 0}, "latent_channels must be int >= 1, got 0"),
        ("kl", {"block_out_channels": []}, "block_out_channels must be a list of int >= 1, got []"),
        ("kl", {"block_out_channels": [8, 12]}, "block_out_channels must be multiples of 8, got [8, 12]"),
        ("kl", {"out_channels": 4}, "out_channels must be in_channels=3, got 4"),
        ("kl", {"down_block_types": ["DownEncoderBlock2D", "Odd"]}, "down_block_types must have one of"),
        ("kl", {"up_block_types": ["UpDecoderBlock2D"]}, "up_block_types must have one of"),
        ("kl", {"up_block_types": ["AttnUpDecoderBlock2D"] * 2}, "up_block_types must attend where"),
        ("vq", {"norm_type": "batch"}, "norm_type must be group or spatial, got batch"),
        ("vq", {"norm_type": "spatial", "vq_embed_dim": 5}, "vq_embed_dim must be latent_channels=3 with"),
        ("tiny", {"act_fn": "silu"}, "act_fn must be relu, got silu"),
        ("tiny", {"upsampling_scaling_factor": 4}, "upsampling_scaling_factor must be 2, got 4"),
        ("tiny", {"encoder_block_out_channels": [8, 16]}, "encoder_block_out_channels must be one number"),
        (
            "tiny",
            {"decoder_block_out_channels": [8] * 3, "num_decoder_blocks": [1] * 3},
            "num_decoder_blocks",
        ),
    ],
)
def test_a_config_that_is_not_understood_is_refused(kind, settings, said, tmp_path):
    saved(tmp_path, kind)
    filled(tmp_path)
    told = refused(changed(tmp_path, **settings))
    assert told.startswith(f"Pretrained.weights: {tmp_path / 'config.json'}: {said}"), told


@torch.no_grad()
def test_a_setting_that_is_left_out_is_the_default_of_diffusers(tmp_path):
    own = saved(tmp_path, "kl").double()
    changed(
        tmp_path, in_channels=None, out_channels=None, act_fn=None, latent_channels=None, sample_size=None
    )
    latents = latents_of(own, pictures())
    same(filled(tmp_path).double().encode(pictures()).chunk(2, 1)[0], latents)


def test_pickled_weights_are_never_read(tmp_path):
    saved(tmp_path).save_pretrained(tmp_path, safe_serialization=False)
    (tmp_path / WEIGHTS).unlink()
    said = refused(tmp_path)
    assert "has its weights in diffusion_pytorch_model.bin, which can hold code and is never read" in said
    assert "M.from_pretrained('FOLDER').save_pretrained('NEW')" in said


def test_what_is_no_folder_of_an_autoencoder_is_told(tmp_path):
    assert f"{tmp_path} has no config.json; give a folder" in refused(tmp_path)
    assert f"{tmp_path / 'gone'} is no folder; give a folder" in refused(tmp_path / "gone")
    saved(tmp_path)
    assert f"{tmp_path / 'config.json'} is no folder; give a folder" in refused(tmp_path / "config.json")
    (tmp_path / WEIGHTS).rename(tmp_path / "mine.safetensors")
    filled(tmp_path)
    shutil.copy(tmp_path / "mine.safetensors", tmp_path / "other.safetensors")
    assert "has several files of weights, mine.safetensors, other.safetensors" in refused(tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    assert "has no *.safetensors" in refused(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    (tmp_path / WEIGHTS).touch()
    assert "config.json must hold the settings of a model by name" in refused(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "config.json cannot be read" in refused(tmp_path)


def test_what_it_leaves_beside_its_weights_makes_it_again(tmp_path):
    saved(tmp_path / "theirs", "vq")
    ours = filled(tmp_path / "theirs")
    (tmp_path / "left").mkdir()
    ours.leave(tmp_path / "left")
    save_file(dict(ours.state_dict()), tmp_path / "left" / "weights.safetensors")
    save_file({"image": torch.zeros(1)}, tmp_path / "left" / "reconstructions.safetensors")
    shutil.rmtree(tmp_path / "theirs")
    again = Pretrained(3, str(tmp_path / "left"))
    again.load_state_dict(load_file(tmp_path / "left" / "weights.safetensors"), strict=True)
    assert again.published.settings == ours.published.settings
    state = again.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())
