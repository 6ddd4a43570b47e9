"""First stages in single files of latent diffusion: their names, their shape and their outputs."""

import re

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from networks.ldm_files import first_stage, of_first_stage, of_u_net, saved, u_net
from safetensors.torch import save_file

from condiff.autoencoders.original import original_name
from condiff.autoencoders.pretrained import Pretrained
from condiff.autoencoders.published import found
from condiff.files import read_json
from condiff.single_file import FIRST_STAGE

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def filled(file) -> Pretrained:
    own = Pretrained(3, str(file))
    own.fill("autoencoder.network")
    return own.eval()


@torch.no_grad()
def test_a_kl_is_what_diffusers_makes_of_the_file(tmp_path):
    """diffusers' own conversion of our names."""
    tensors, theirs = of_first_stage(first_stage("kl", seed=1)), first_stage("kl", seed=2)
    levels = {key: [*theirs.config[key]] for key in ("down_block_types", "up_block_types")}
    theirs.load_state_dict(convert_ldm_vae_checkpoint(dict(tensors), levels), strict=True)
    ours = filled(saved(tmp_path / "model.safetensors", {**tensors, **of_u_net(u_net())}))
    moments = theirs.encode(IMAGES).latent_dist
    torch.testing.assert_close(ours.encode(IMAGES).chunk(2, 1)[0], moments.mean, rtol=0, atol=1e-6)
    decoded = theirs.decode(moments.mean).sample
    torch.testing.assert_close(ours.decode(moments.mean), decoded, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["kl", "kl_attending", "vq"])
@pytest.mark.parametrize("prefix", [FIRST_STAGE, ""])
@torch.no_grad()
def test_a_first_stage_is_read_whole_alone_or_with_the_rest(kind, prefix, tmp_path):
    model = first_stage(kind, seed=1)
    tensors = of_first_stage(model, prefix)
    rest = of_u_net(u_net()) if prefix else {"loss.logvar": torch.zeros(())}
    file = tmp_path / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in {**tensors, **rest}.items()}, file)
    ours, model, images = filled(file).double(), model.double(), IMAGES.double()
    own = model.encode(images)
    latents = own.latent_dist.mean if kind != "vq" else own.latents
    torch.testing.assert_close(ours.encode(images).chunk(2, 1)[0], latents, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.decode(latents), model.decode(latents).sample, rtol=0, atol=1e-12)
    assert (ours.latent_channels, ours.downsampling) == ((3 if kind == "vq" else 4), 4)


def test_what_it_leaves_says_its_shape(tmp_path):
    """The config that is written beside its weights is one that a folder is read by."""
    ours = filled(saved(tmp_path / "model.safetensors", of_first_stage(first_stage("vq"))))
    (tmp_path / "left").mkdir()
    ours.leave(tmp_path / "left")
    save_file(ours.state_dict(), tmp_path / "left" / "weights.safetensors")
    again = found(str(tmp_path / "left"))
    assert again.settings == found(str(tmp_path / "model.safetensors")).settings
    assert read_json(tmp_path / "left" / "config.json")["block_out_channels"] == [32, 64, 64]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {**t, f"{FIRST_STAGE}more.w": torch.zeros(1)}, r"it has nothing to do with more\.w"),
        (
            lambda t: {k: v for k, v in t.items() if k != f"{FIRST_STAGE}decoder.mid.attn_1.k.bias"},
            r"it lacks decoder\.mid_block\.attentions\.0\.to_k\.bias",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(change, said, tmp_path):
    file = saved(tmp_path / "model.safetensors", change(of_first_stage(first_stage())))
    where = re.escape(str(file))
    with pytest.raises(ValueError, match=rf"^autoencoder\.network\.weights: {where} does not fit .*{said}"):
        filled(file)


def test_a_file_without_a_first_stage_is_told(tmp_path):
    file = saved(tmp_path / "model.safetensors", of_u_net(u_net()))
    with pytest.raises(
        ValueError, match=r"has no first stage of latent diffusion: it lacks encoder\.conv_in"
    ):
        found(str(file))
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"broken\.safetensors is damaged, or no file of safetensors"):
        found(str(tmp_path / "broken.safetensors"))


def test_a_pickle_is_never_read(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"cos\nsystem\n(S'touch /nowhere'\ntR.")
    with pytest.raises(ValueError, match=r"model\.ckpt is a pickle, which can hold code and is never read"):
        found(str(tmp_path / "model.ckpt"))


def test_published_first_stages_have_the_names_of_their_files():
    """As they stand in the files of kl-f8 and vq-f8, from memory; decoders count from the finest level."""
    names = {
        "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": "encoder.down.1.block.0.nin_shortcut.weight",
        "encoder.down_blocks.2.downsamplers.0.conv.bias": "encoder.down.2.downsample.conv.bias",
        "encoder.mid_block.attentions.0.group_norm.weight": "encoder.mid.attn_1.norm.weight",
        "decoder.mid_block.resnets.1.norm2.bias": "decoder.mid.block_2.norm2.bias",
        "decoder.up_blocks.0.resnets.2.conv1.weight": "decoder.up.3.block.2.conv1.weight",
        "decoder.up_blocks.0.attentions.2.to_out.0.weight": "decoder.up.3.attn.2.proj_out.weight",
        "decoder.up_blocks.2.upsamplers.0.conv.weight": "decoder.up.1.upsample.conv.weight",
        "decoder.conv_norm_out.bias": "decoder.norm_out.bias",
        "quantize.embedding.weight": "quantize.embedding.weight",
        "post_quant_conv.weight": "post_quant_conv.weight",
    }
    assert {name: original_name(name, 4) for name in names} == names
