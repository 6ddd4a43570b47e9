"""ADM's networks with published weights do what the original layout's arithmetic does."""

import pytest
import torch
from networks.adm_original import Encoder, Flags, forward, random
from safetensors.torch import save_file

from condiff.diffusion.ancestral import AncestralLearned
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.grids import Leading, Linspace
from condiff.diffusion.parameterization import Epsilon
from condiff.diffusion.process import LinearDDPM
from condiff.diffusion.randomness import SampleNoise
from condiff.networks.adm import ADM
from condiff.networks.adm_blocks import step_of
from condiff.networks.adm_classifier import ADMClassifier

SMALL = Flags(16, 32, 1, (1, 2), (8,), num_heads=2)
FULL_64 = Flags(
    64,
    192,
    3,
    (1, 2, 3, 4),
    (32, 16, 8),
    num_head_channels=64,
    resblock_updown=True,
    use_new_attention_order=True,
    num_classes=1000,
)
VARIANTS = {
    "plain": SMALL,
    "no scale": SMALL.but(use_scale_shift_norm=False),
    "blocks halve": SMALL.but(resblock_updown=True),
    "blocks halve, no scale": SMALL.but(resblock_updown=True, use_scale_shift_norm=False),
    "new order": SMALL.but(use_new_attention_order=True),
    "head width": SMALL.but(num_head_channels=16),
    "labels": SMALL.but(num_classes=5),
    "fixed variance": SMALL.but(outputs=3),
    "attention everywhere": SMALL.but(attention_resolutions=(16, 8), resblock_updown=True),
    "attention in the middle alone": SMALL.but(attention_resolutions=()),
    "three levels, two blocks": SMALL.but(
        channel_mult=(1, 2, 3), num_res_blocks=2, attention_resolutions=(8, 4), resblock_updown=True
    ),
    "a narrow first level": SMALL.but(num_channels=64, channel_mult=(0.5, 1, 2), resblock_updown=True),
    "upsampler": SMALL.but(inputs=6, num_classes=5),
    "one level": SMALL.but(channel_mult=(1,), attention_resolutions=(16,)),
}
CLASSIFIERS = {
    "plain": Encoder(16, 64, 1, (1, 2), (8,), outputs=7),
    "convolutions halve, no scale": Encoder(
        16, 64, 2, (1, 2), (8,), outputs=7, resblock_updown=False, use_scale_shift_norm=False
    ),
    "narrow heads, first level and all": Encoder(
        16, 64, 1, (0.5, 1, 2), (16, 4), outputs=7, num_head_channels=16
    ),
}


def arguments(flags: Flags) -> dict:
    """What a config calls the flags."""
    by_width = flags.num_head_channels != -1
    return {
        "channels": 3,
        "size": flags.image_size,
        "width": flags.num_channels,
        "multipliers": [*flags.channel_mult],
        "attention": [*flags.attention_resolutions],
        "blocks": flags.num_res_blocks,
        "head_width": flags.num_head_channels if by_width else None,
        "scale_shift": flags.use_scale_shift_norm,
        "block_resampling": flags.resblock_updown,
        "joint_heads": flags.use_new_attention_order,
    }


def built(flags: Flags, **change) -> ADM | ADMClassifier:
    if isinstance(flags, Encoder):
        return ADMClassifier(num_classes=flags.outputs, **{**arguments(flags), **change})
    own = {
        "num_labels": flags.num_classes or 0,
        "heads": flags.num_heads if flags.num_head_channels == -1 else None,
        "learned_variance": flags.outputs == 6,
        "concat_channels": flags.inputs - 3,
    }
    return ADM(**{**arguments(flags), **own, **change})


def filled(flags: Flags, weights: dict, folder) -> ADM | ADMClassifier:
    save_file(weights, folder / "weights.safetensors")
    net = built(flags, weights=str(folder / "weights.safetensors"))
    net.fill("network")
    return net.eval()


def asked(flags: Flags, batch: int, dtype: torch.dtype) -> tuple:
    """x, steps, labels and a smaller picture, as a network of these flags takes them."""
    torch.manual_seed(1)
    x = torch.randn(batch, 3, flags.image_size, flags.image_size, dtype=dtype)
    step = torch.tensor([0, 417, 999])[:batch]
    label = torch.arange(batch) if flags.num_classes else None
    size = flags.image_size // 4
    return x, step, label, torch.rand(batch, 3, size, size, dtype=dtype) if flags.inputs == 6 else None


@torch.no_grad()
def both(flags: Flags, folder, dtype: torch.dtype, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Ours and the original layout's."""
    weights = random(flags, dtype)
    net = filled(flags, {name: value.float() for name, value in weights.items()}, folder).to(dtype)
    weights = {name: value.float().to(dtype) for name, value in weights.items()}
    x, step, label, low_res = asked(flags, batch, dtype)
    m = LinearDDPM().at((step + 1) / 1000)
    ours = net(x, m) if isinstance(net, ADMClassifier) else net(x, m, Condition(label=label, concat=low_res))
    return ours, forward(flags, weights, x, step, label, low_res)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_u_net_is_that_of_the_original_layout(name, tmp_path):
    ours, theirs = both(VARIANTS[name], tmp_path, torch.float64)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_classifier_is_that_of_the_original_layout(name, tmp_path):
    ours, theirs = both(CLASSIFIERS[name], tmp_path, torch.float64)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.slow
def test_the_whole_u_net_of_64_pixels_is_that_of_the_original_layout(tmp_path):
    ours, theirs = both(FULL_64, tmp_path, torch.float32, batch=1)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_steps", [1, 7, 1000, 4000])
def test_the_step_of_a_chain_is_a_whole_number_from_zero(num_steps):
    steps = torch.arange(num_steps)
    process = LinearDDPM(num_steps=num_steps)
    for dtype in (torch.float32, torch.float64):
        m = process.at((steps + 1).to(dtype) / num_steps)
        assert torch.equal(step_of(m, num_steps), steps.double())


def test_a_time_between_two_steps_is_between_their_numbers():
    m = LinearDDPM().at(torch.tensor([0.5005, 0.25025]).double())
    torch.testing.assert_close(step_of(m, 1000), torch.tensor([499.5, 249.25]).double())


@pytest.mark.parametrize(
    ("grid", "steps"),
    [(Leading(0), [750, 500, 250, 0]), (Linspace(), [999, 666, 333, 0])],
    ids=["ddim4", "4"],
)
@torch.no_grad()
def test_respaced_sampling_tells_the_steps_of_the_whole_chain(grid, steps):
    seen, net = [], built(SMALL).eval()
    net.time.waves.register_forward_pre_hook(lambda _, given: seen.append(given[0].unique().item()))
    denoiser, rng = NetworkDenoiser(net, LinearDDPM(), Epsilon()), SampleNoise(0, range(2))
    AncestralLearned(4, grid)(denoiser, rng.normal(3, 16, 16), Condition(), rng)
    assert seen == steps


@torch.no_grad()
def test_an_untrained_network_answers_zero_and_an_untrained_residual_adds_nothing():
    net, x = built(SMALL).eval(), torch.randn(2, 3, 16, 16)
    m = LinearDDPM().at(torch.full((2,), 0.5))
    assert not net(x, m, Condition()).any()
    first, attention = net.middle_block[0], net.middle_block[1]
    h = torch.randn(2, 64, 8, 8)
    assert torch.equal(first(h, torch.randn(2, 128)), h)
    assert torch.equal(attention(h), h)


def test_a_network_of_labels_wants_one_and_one_of_none_does_not_look():
    x, m = torch.zeros(1, 3, 16, 16), LinearDDPM().at(torch.full((1,), 0.5))
    with pytest.raises(ValueError, match="use conditioner=label"):
        built(SMALL.but(num_classes=5))(x, m, Condition())
    built(SMALL)(x, m, Condition(label=torch.tensor([3])))


def test_its_self_attention_can_be_perturbed(tmp_path):
    net = filled(SMALL, random(SMALL), tmp_path)
    x, m = torch.randn(1, 3, 16, 16), LinearDDPM().at(torch.full((1,), 0.5))
    with torch.no_grad():
        plain = net(x, m, Condition())
        assert not torch.equal(net.perturbed(["mid"])(x, m, Condition()), plain)
        assert torch.equal(net(x, m, Condition()), plain)


def test_a_classifier_says_log_probabilities(tmp_path):
    flags = CLASSIFIERS["plain"]
    net = filled(flags, random(flags), tmp_path)
    x, m = torch.randn(2, 3, 16, 16), LinearDDPM().at(torch.full((2,), 0.3))
    labels = [Condition(label=torch.full((2,), k)) for k in range(flags.outputs)]
    with torch.no_grad():
        p = torch.stack([net.log_probability(x, m, cond).exp() for cond in labels]).sum(0)
    torch.testing.assert_close(p, torch.ones(2))
    with pytest.raises(ValueError, match="use conditioner=label"):
        net.log_probability(x, m, Condition())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"heads": None}, "ADM.heads: give heads or head_width, and null for the other, got None and None"),
        ({"head_width": 16}, "ADM.heads: give heads or head_width, and null for the other, got 2 and 16"),
        ({"heads": 3}, r"ADM.heads: must divide the widths that attend, \[64\], got 3"),
        ({"multipliers": [1, 1.5]}, r"ADM.multipliers: times width must be multiples of 32, got \[32, 48\]"),
        ({"multipliers": []}, "ADM.multipliers: must name at least one level"),
        ({"size": 17}, "ADM.multipliers: 2 levels need a size that is a multiple of 2, got 17"),
        ({"attention": [4]}, r"ADM.attention: must be sizes of the levels \[16, 8\], got \[4\]"),
        ({"width": 0}, "ADM.width must be >= 1, got 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        built(SMALL, **change)
