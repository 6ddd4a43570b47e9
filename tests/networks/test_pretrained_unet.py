"""A U-Net of diffusers' folder as a denoiser's network: strictly read, and told what it was trained with."""

import json
import re

import pytest
import torch
from autoencoders.models import randomized
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from condiff import hub
from condiff.diffusion.condition import Condition
from condiff.diffusion.process import ScaledLinear
from condiff.networks.pretrained import Pretrained
from condiff.networks.pretrained_settings import DENOISERS, FIXED, FREE, IGNORED

WEIGHTS = "diffusion_pytorch_model.safetensors"
STEPS = torch.tensor([0, 700])
RNG = torch.Generator().manual_seed(0)
X, TOKENS = torch.randn(2, 4, 8, 8, generator=RNG), torch.randn(2, 5, 24, generator=RNG)
M = ScaledLinear().at((STEPS + 1).double() / 1000).to(X)
_SHAPE = {"block_out_channels": (16, 32), "norm_num_groups": 8, "layers_per_block": 1, "sample_size": 8}


def attending(**other):
    """As Stable Diffusion's."""
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(
        **{**_SHAPE, **blocks, "cross_attention_dim": 24, "attention_head_dim": 2, **other}
    )


def plain(**other):
    """As those of DDPM, whose attention had other names in its first files."""
    blocks = {
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    odd = {"flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0}
    return UNet2DModel(
        **{**_SHAPE, **blocks, **odd, "in_channels": 4, "out_channels": 4, "attention_head_dim": 8, **other}
    )


def saved(folder, model, seed=1):
    torch.manual_seed(seed)
    randomized(model).eval().save_pretrained(folder)
    return model


def filled(folder, num_labels=0, **other) -> Pretrained:
    own = Pretrained(channels=4, num_labels=num_labels, size=8, weights=str(folder), **other)
    own.fill("network")
    return own.eval()


@pytest.mark.parametrize("inside", ["", "unet"])
@torch.no_grad()
def test_one_that_attends_answers_as_diffusers_does_at_whole_steps(inside, tmp_path):
    theirs = saved(tmp_path / inside, attending())
    ours = filled(tmp_path)(X, M, Condition(tokens=TOKENS))
    torch.testing.assert_close(ours, theirs(X, STEPS, TOKENS).sample, rtol=0, atol=1e-6)


@torch.no_grad()
def test_tokens_that_do_not_count_change_nothing(tmp_path):
    saved(tmp_path, attending())
    network, mask = filled(tmp_path), torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    other = torch.where(mask[:, :, None], TOKENS, 7.0)
    first, second = (network(X, M, Condition(tokens=t, token_mask=mask)) for t in (TOKENS, other))
    torch.testing.assert_close(first, second)
    assert (first - network(X, M, Condition(tokens=other))).abs().max() > 1e-4


@torch.no_grad()
def test_one_without_a_condition_answers_as_diffusers_does_with_the_names_of_old_files(tmp_path):
    theirs = saved(tmp_path, plain())
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(tmp_path / WEIGHTS)
    for ours, before in old.items():
        tensors = {name.replace(f".{ours}.", f".{before}."): value for name, value in tensors.items()}
    save_file(tensors, tmp_path / WEIGHTS)
    assert any(".query." in name for name in tensors)
    torch.testing.assert_close(
        filled(tmp_path)(X, M, Condition()), theirs(X, STEPS).sample, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("make", [plain, attending])
@torch.no_grad()
def test_labels_are_told_where_it_has_a_table_of_them(make, tmp_path):
    theirs, label = saved(tmp_path, make(num_class_embeds=11)), torch.tensor([3, 10])
    tokens = {} if make is plain else {"encoder_hidden_states": TOKENS}
    ours = filled(tmp_path, num_labels=11)(X, M, Condition(label=label, tokens=TOKENS))
    expected = theirs(X, STEPS, class_labels=label, **tokens).sample
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"num_class_embeds must be the 10 labels of the study, .* got 11"):
        filled(tmp_path, num_labels=10)


@torch.no_grad()
def test_a_picture_to_edit_is_stacked_under_x_t(tmp_path):
    theirs = saved(tmp_path, attending(in_channels=8))
    ours = filled(tmp_path, concat_channels=4)(X, M, Condition(tokens=TOKENS, concat=2 * X))
    expected = theirs(torch.cat([X, 2 * X], 1), STEPS, TOKENS).sample
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"in_channels must be the 4 of x_t, got 8; use the first stage"):
        filled(tmp_path)


def test_what_it_leaves_says_its_shape(tmp_path):
    saved(tmp_path / "model", attending())
    own = filled(tmp_path / "model")
    (tmp_path / "left").mkdir()
    own.leave(tmp_path / "left")
    save_file(own.net.state_dict(), tmp_path / "left" / "weights.safetensors")
    again = filled(tmp_path / "left")
    assert torch.equal(again(X, M, Condition(tokens=TOKENS)), own(X, M, Condition(tokens=TOKENS)))


def test_nothing_of_it_is_trained(tmp_path):
    saved(tmp_path, attending())
    assert not any(parameter.requires_grad for parameter in filled(tmp_path).parameters())


OUT = "conv_out.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {k: v for k, v in t.items() if k != OUT}, rf"it lacks {OUT}; the two must be of one"),
        (lambda t: {**t, "more.w": torch.zeros(1)}, r"it has nothing to do with more\.w; the two"),
        (
            lambda t: {**t, OUT: t[OUT][:3].contiguous()},
            rf"it has {OUT} as \[3, 16, 3, 3\], not \[4, 16, 3, 3\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_told_in_one_line(change, said, tmp_path):
    saved(tmp_path, attending())
    save_file(change(load_file(tmp_path / WEIGHTS)), tmp_path / WEIGHTS)
    where = re.escape(str(tmp_path / WEIGHTS))
    with pytest.raises(ValueError, match=rf"^network\.weights: {where} does not fit .* {said}"):
        filled(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"addition_embed_type": "text_time"}, r"addition_embed_type must be None, got text_time; SDXL"),
        ({"time_embedding_type": "fourier"}, r"time_embedding_type must be positional, got fourier"),
        ({"made_up": 3}, r"made_up=3 is a setting of UNet2DConditionModel that is not known here"),
        (
            {"_class_name": "FluxTransformer2DModel"},
            r"_class_name must be one of UNet2DConditionModel, UNet2D",
        ),
        ({"block_out_channels": "wide"}, r"block_out_channels must be int, or a list of such, got 'wide'"),
        ({"layers_per_block": 0}, r"layers_per_block must be >= 1, got 0"),
        ({"down_block_types": ["DownBlock2D"]}, r"down_block_types must have one for each of block_out_ch"),
        ({"down_block_types": ["os.system", "DownBlock2D"]}, r"makes no UNet2DConditionModel \(os\.system"),
        ({"out_channels": 3}, r"out_channels must be 4, got 3"),
    ],
)
def test_a_config_that_is_not_understood_is_told_with_its_file(settings, said, tmp_path):
    saved(tmp_path, attending())
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))
    with pytest.raises(ValueError, match=rf"^Pretrained\.weights: {re.escape(str(config))}: {said}") as told:
        filled(tmp_path)
    assert "\n" not in str(told.value)


def test_text_of_another_width_is_told(tmp_path):
    saved(tmp_path / "text", attending())
    saved(tmp_path / "none", plain())
    assert filled(tmp_path / "text", text_width=24).width == 24
    said = r"cross_attention_dim must be the width 16 of the text encoder, got 24; use the encoder that"
    with pytest.raises(ValueError, match=said):
        filled(tmp_path / "text", text_width=16)
    with pytest.raises(ValueError, match=r"has no attention to text; use conditioner=label or none"):
        filled(tmp_path / "none", text_width=16)
    with pytest.raises(
        ValueError, match=r"needs tokens to attend to, and got none; use a conditioner of text"
    ):
        filled(tmp_path / "text")(X, M, Condition())


def test_a_pickle_is_never_read(tmp_path):
    saved(tmp_path, attending())
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /nowhere'\ntR.")
    with pytest.raises(ValueError, match=r"weights in diffusion_pytorch_model\.bin, which can hold code"):
        DENOISERS.found(str(tmp_path))


@pytest.mark.parametrize("make", [plain, attending])
def test_every_setting_of_diffusers_is_known(make):
    """A new version of the library with a new setting is told here first; defaults are its own."""
    model = make()
    kind, known = type(model).__name__, {key: value for key, value in model.config.items() if key[0] != "_"}
    assert {*FREE[kind], *FIXED[kind], *(IGNORED & {*known})} == {*known}
    assert {key: known[key] for key in FIXED[kind]} == FIXED[kind]


def test_of_the_hub_only_what_is_read_is_fetched(monkeypatch, tmp_path):
    """The U-Net of a pipeline, and the scheduler that says what it was trained on."""
    there = [
        *("unet/config.json", f"unet/{WEIGHTS}", "unet/diffusion_pytorch_model.bin", "vae/config.json"),
        *("scheduler/scheduler_config.json", "model_index.json", "run.py"),
    ]
    asked = []
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "download", lambda name, chosen: asked.append((name, chosen(there, name))))
    DENOISERS.fetch("owner/name")
    assert asked == [
        ("owner/name", ["unet/config.json", f"unet/{WEIGHTS}", "scheduler/scheduler_config.json"])
    ]
