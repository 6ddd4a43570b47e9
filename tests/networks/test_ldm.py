"""Latent diffusion's U-Net: its published files, by their names, shapes and outputs."""

import re

import pytest
import torch
from choices import choices
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from networks.ldm_files import first_stage, of_first_stage, of_u_net, saved, u_net

from condiff.config.build import build
from condiff.diffusion.condition import Condition
from condiff.diffusion.process import ScaledLinear
from condiff.networks.ldm import LDM, fill
from condiff.single_file import AVERAGED, CONDITION, FIRST_STAGE, U_NET, averaged, part

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))
STEPS = torch.tensor([0, 700])  # of the chain, counted from 0
M = ScaledLinear().at((STEPS + 1).double() / 1000).to(X)


@torch.no_grad()
def answer(network, cond=None):
    return network(X, M, cond or Condition(tokens=TOKENS))


@pytest.mark.parametrize("linear", [False, True])
@torch.no_grad()
def test_it_is_what_diffusers_makes_of_the_authors_file(linear):
    """diffusers' own conversion of our names, told the integer step."""
    ours = u_net(linear_projection=linear)
    config = {"layers_per_block": 2}
    theirs = UNet2DConditionModel.from_config(ours.net.config)
    theirs.load_state_dict(convert_ldm_unet_checkpoint(of_u_net(ours), config), strict=True)
    expected = theirs.eval()(X, STEPS, TOKENS).sample
    torch.testing.assert_close(answer(ours), expected, rtol=0, atol=1e-6)


def test_tokens_that_do_not_count_change_nothing():
    network, mask = u_net(), torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    other = torch.where(mask[:, :, None], TOKENS, 7.0)
    first, second = (answer(network, Condition(tokens=t, token_mask=mask)) for t in (TOKENS, other))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    assert not torch.allclose(first[0], answer(network)[0], atol=1e-4)


def test_a_single_file_is_taken_in_whole(tmp_path):
    given = u_net(seed=1)
    file = saved(tmp_path / "model.safetensors", {**of_u_net(given), **of_first_stage(first_stage())})
    ours = u_net()
    assert not torch.equal(answer(ours), answer(given))
    fill(ours, file, "network")
    assert torch.equal(answer(ours), answer(given))


def test_classes_are_the_tokens_of_the_authors_embedder(tmp_path):
    """One row for each, the null among them."""
    given, label = u_net(num_labels=11, seed=1), Condition(label=torch.tensor([3, 10]))
    file = saved(tmp_path / "model.safetensors", of_u_net(given))
    ours = u_net(num_labels=11)
    fill(ours, file, "network")
    bare = u_net()
    bare.net.load_state_dict(given.net.state_dict())
    rows = given.label_tokens.weight[label.label][:, None]
    assert torch.equal(answer(ours, label), answer(bare, Condition(tokens=rows)))


def test_the_moving_average_is_taken_where_there_is_one(tmp_path):
    last, average = of_u_net(u_net(seed=1)), of_u_net(u_net(seed=2))
    both = {averaged(name.removeprefix(U_NET)): tensor for name, tensor in average.items()}
    assert f"{AVERAGED}diffusion_modelinput_blocks00weight" in both
    counters = {f"{AVERAGED}decay": torch.zeros(()), f"{AVERAGED}num_updates": torch.zeros(())}
    file = saved(tmp_path / "model.safetensors", {**last, **both, **counters})
    ours = u_net()
    fill(ours, file, "network")
    assert torch.equal(answer(ours), answer(u_net(seed=2)))


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


OUT, MORE = f"{U_NET}out.2.weight", f"{U_NET}more.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: without(t, OUT), rf"it lacks {OUT}; set network to"),
        (lambda t: {**t, MORE: torch.zeros(1)}, rf"it has nothing to do with {MORE}; set"),
        (lambda t: {**t, OUT: t[OUT][:3]}, rf"it has {OUT} as \[3, 32, 3, 3\], not \[4, 32, 3, 3\]"),
        (
            lambda t: {**t, "control_model.w": torch.zeros(1)},
            r"has control_model\.w, which no single file",
        ),
        (lambda t: {f"{CONDITION}embedding.weight": torch.zeros(3, 24)}, r"it lacks .*, and \d+ more"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(change, said, tmp_path):
    file = saved(tmp_path / "model.safetensors", change(of_u_net(u_net())))
    with pytest.raises(ValueError, match=rf"^network\.weights: {re.escape(str(file))} .*{said}") as told:
        fill(u_net(), file, "network")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "model", "pipeline"),
    [
        ("cond_stage_model.model.ln_final.bias", "Stable Diffusion 2", "StableDiffusionPipeline"),
        ("conditioner.embedders.0.transformer.w", "Stable Diffusion XL", "StableDiffusionXLPipeline"),
        ("text_encoders.clip_l.transformer.w", "Stable Diffusion 3", "StableDiffusion3Pipeline"),
        (f"{U_NET}joint_blocks.0.w", "Stable Diffusion 3", "StableDiffusion3Pipeline"),
    ],
)
def test_a_file_of_a_later_stable_diffusion_is_to_become_a_folder(name, model, pipeline, tmp_path):
    file = saved(tmp_path / "model.safetensors", {name: torch.zeros(1), OUT: torch.zeros(1)})
    for prefix in (U_NET, FIRST_STAGE, CONDITION):
        with pytest.raises(ValueError, match=r"^.*model\.safetensors is a single file of ") as told:
            part(file, prefix)
        said = str(told.value)
        assert "\n" not in said
        assert f" is a single file of {model}, and of these only Stable Diffusion 1's" in said
        assert f'to a folder of diffusers, with: python -c "from diffusers import {pipeline} as P' in said


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt"])
def test_a_pickle_is_never_read(name, tmp_path):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch /nowhere'\ntR.")
    network = u_net(weights=str(tmp_path / name))
    said = rf"^network\.weights: .*{name} is a pickle, .* never read; .* convert it elsewhere, with: python"
    with pytest.raises(ValueError, match=said):
        network.fill("network")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"attention": [3]}, r"LDM\.attention must be among \[1, 2, 4\], .* got 3"),
        ({"heads": None}, r"LDM\.heads must be given or head_width, one of both"),
        ({"head_width": 8}, r"LDM\.heads must be given or head_width, one of both"),
        ({"heads": 5}, r"LDM\.heads must divide each width that attends, \[64, 96, 96\], got 5"),
        ({"width": 16}, r"LDM\.width times each multiplier must be a multiple of 32, got \[16, 32, 48\]"),
        ({"size": 6}, r"LDM\.multipliers: 3 levels need a size that is a multiple of 4, got 6"),
    ],
)
def test_shapes_that_cannot_work_are_told(other, said):
    with pytest.raises(ValueError, match=rf"^{said}"):
        u_net(**other)


# Of published models: channels and pixels of latents, labels; parameters of the U-Net. The first is exact,
# the others are in millions, as LDM's program prints it and table 10 of Rombach 2022 has it, from memory.
PUBLISHED = {
    "stable_diffusion_1": (4, 64, 0, lambda count: count == 859_520_964),
    "ldm_f4": (3, 64, 1001, lambda count: f"{count / 1e6:.2f}" == "400.92"),
    "ldm_f8": (4, 32, 1001, lambda count: f"{count / 1e6:.0f}" == "395"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_configs_of_published_models_have_their_size(name):
    channels, size, labels, is_published = PUBLISHED[name]
    with torch.device("meta"):
        network = build(choices("network")[name], "network", channels=channels, size=size, num_labels=labels)
    assert isinstance(network, LDM)
    assert is_published(sum(p.numel() for p in network.net.parameters()))
    assert len({*network.names().values()}) == len(network.state_dict())


def test_stable_diffusion_has_the_names_of_its_file():
    """Some that differ from level to level, as they stand in the published file (686 in all), from memory."""
    with torch.device("meta"):
        network = build(
            choices("network")["stable_diffusion_1"], "network", channels=4, size=64, num_labels=0
        )
    names = {name.removeprefix(U_NET) for name in network.names().values()}
    assert len(names) == 686
    assert names >= {
        "input_blocks.3.0.op.weight",
        "input_blocks.4.0.skip_connection.weight",
        "input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight",
        "input_blocks.11.0.out_layers.3.bias",
        "middle_block.1.proj_in.weight",
        "output_blocks.2.1.conv.weight",
        "output_blocks.5.2.conv.weight",
        "output_blocks.11.1.transformer_blocks.0.ff.net.0.proj.weight",
        "time_embed.2.weight",
        "out.2.weight",
    }
