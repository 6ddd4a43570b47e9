"""Names of layers in files: kohya's for real networks, older ones of diffusers, and both of CLIP's."""

import pytest
import torch
from adapters import bases
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from condiff.adapters import diffusers_file, kohya_names
from condiff.adapters.base import Base
from condiff.adapters.formats import export, load

SD = {
    "unet.conv_in": "lora_unet_conv_in",
    "unet.time_embedding.linear_1": "lora_unet_time_embedding_linear_1",
    "unet.down_blocks.0.attentions.0.proj_in": "lora_unet_down_blocks_0_attentions_0_proj_in",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0": (
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0"
    ),
    "unet.up_blocks.1.resnets.0.conv_shortcut": "lora_unet_up_blocks_1_resnets_0_conv_shortcut",
    "text_encoder.encoder.layers.1.mlp.fc1": "lora_te_text_model_encoder_layers_1_mlp_fc1",
}
SDXL = {
    "unet.conv_in": "lora_unet_input_blocks_0_0",
    "unet.conv_out": "lora_unet_out_2",
    "unet.time_embedding.linear_2": "lora_unet_time_embed_2",
    "unet.add_embedding.linear_1": "lora_unet_label_emb_0_0",
    "unet.down_blocks.0.downsamplers.0.conv": "lora_unet_input_blocks_3_0_op",
    "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k": (
        "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k"
    ),
    "unet.down_blocks.1.resnets.0.conv_shortcut": "lora_unet_input_blocks_4_0_skip_connection",
    "unet.mid_block.resnets.1.time_emb_proj": "lora_unet_middle_block_2_emb_layers_1",
    "unet.up_blocks.0.attentions.2.transformer_blocks.0.ff.net.0.proj": (
        "lora_unet_output_blocks_2_1_transformer_blocks_0_ff_net_0_proj"
    ),
    "unet.up_blocks.0.upsamplers.0.conv": "lora_unet_output_blocks_2_2_conv",
    "text_encoder.encoder.layers.0.self_attn.out_proj": (
        "lora_te1_text_model_encoder_layers_0_self_attn_out_proj"
    ),
    "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj": (
        "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"
    ),
    "text_encoder_2.text_projection": "lora_te2_text_projection",
}
# Stable Diffusion's published configurations, of which only names and shapes are made.
UNET_SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
UNET_SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@pytest.mark.parametrize(("kind", "wanted"), [("sd", SD), ("sdxl", SDXL)])
def test_kohya_calls_layers_so(kind, wanted):
    base = Base.of(bases.parts_of(getattr(bases, kind)()))
    assert {name: kohya_names.written(base)[name] for name in wanted} == wanted


# Numbers of layers in kohya's log of a training with its defaults ("create LoRA for U-Net"), from memory.
@pytest.mark.parametrize(("config", "inside"), [(UNET_SD15, 192), (UNET_SDXL, 722)], ids=["sd15", "sdxl"])
def test_no_name_of_a_real_network_can_mean_two_layers(config, inside):
    with torch.device("meta"):
        base = Base.of({"unet": UNet2DConditionModel(**config)})
    written, meant = kohya_names.written(base), kohya_names.meant(base)
    assert len(set(written.values())) == len(written) == len(base.shapes)
    assert all(len(names) == 1 for names in meant.values())
    assert all(meant[theirs] == [ours] for ours, theirs in written.items())
    assert sum(".attentions." in name for name in written) == inside


def test_a_file_of_sdxl_in_diffusers_names_is_read_too(tmp_path):
    base = Base.of(bases.parts_of(bases.sdxl()))
    wanted = "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"
    adapter = bases.adapter_of(base, lambda name: name == wanted)
    export(adapter, tmp_path / "a.safetensors", base, "kohya")
    ours, theirs = SDXL[wanted], "lora_unet_" + wanted.removeprefix("unet.").replace(".", "_")
    tensors = {
        key.replace(ours, theirs): value for key, value in load_file(tmp_path / "a.safetensors").items()
    }
    save_file(tensors, tmp_path / "b.safetensors")
    assert list(load(tmp_path / "b.safetensors", base).layers) == [wanted]


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("unet.a.to_q.lora_A.weight", ("unet.a.to_q", "down")),
        ("unet.a.to_out.0.lora.up.weight", ("unet.a.to_out.0", "up")),
        ("unet.a.attn1.processor.to_q_lora.down.weight", ("unet.a.attn1.to_q", "down")),
        ("unet.a.attn1.processor.to_out_lora.up.weight", ("unet.a.attn1.to_out.0", "up")),
        ("text_encoder.b.self_attn.to_out_lora.up.weight", ("text_encoder.b.self_attn.out_proj", "up")),
        ("text_encoder.b.q_proj.lora_linear_layer.down.weight", ("text_encoder.b.q_proj", "down")),
        ("unet.a.to_q.lora_magnitude_vector", ("unet.a.to_q", "magnitude")),
        ("text_encoder.b.q_proj.lora_magnitude_vector.weight", ("text_encoder.b.q_proj", "magnitude")),
        ("unet.a.to_q.alpha", ("unet.a.to_q", "alpha")),
        ("unet.a.to_q.weight", None),
        ("unet.a.to_q.lora_B.bias", None),
        ("unet.a.to_q.hada_w1_a", None),
    ],
)
def test_keys_of_diffusers_old_and_new_are_of_these_layers(key, wanted):
    assert diffusers_file.placed(key) == wanted


@pytest.mark.parametrize("spelling", [{"lora_A": "lora.down", "lora_B": "lora.up"}, {"text_model.": ""}])
def test_a_file_in_another_spelling_is_the_same_adapter(spelling, tmp_path):
    base = Base.of(bases.parts_of(bases.sd()))
    adapter = bases.adapter_of(base, alpha=3.0)
    export(adapter, tmp_path / "a.safetensors", base, "diffusers")
    tensors = load_file(tmp_path / "a.safetensors")
    for ours, theirs in spelling.items():
        assert any(ours in key for key in tensors)
        tensors = {key.replace(ours, theirs): value for key, value in tensors.items()}
    save_file(tensors, tmp_path / "b.safetensors")
    again = load(tmp_path / "b.safetensors", base)
    assert again.layers.keys() == adapter.layers.keys()
    assert all(torch.equal(again.layers[name].up, layer.up) for name, layer in adapter.layers.items())
    assert all(again.layers[name].alpha == layer.alpha for name, layer in adapter.layers.items())
