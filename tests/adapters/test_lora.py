"""What is trained of a network, and what of it is put to use: at the start, at any scale, taken back."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from condiff.adapters.about import KEY, parsed
from condiff.adapters.base import digest_of
from condiff.adapters.low_rank import LowRank
from condiff.adapters.tensor_files import read_tensors
from condiff.adapters.tuning import inside, merged, part_of
from condiff.adapters.whole import Whole
from condiff.diffusion.condition import Condition
from condiff.diffusion.process import CosineVP
from condiff.networks.adm import ADM
from condiff.networks.unet import CrossAttentionUNet, UNet

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TUNINGS = {
    "attention": LowRank(["linear"], ATTENTION, rank=2, alpha=4),
    "linear": LowRank(["linear"], rank=2),
    "linear and conv": LowRank(["linear", "conv"], rank=3, alpha=1.5, init="gaussian"),
    "rsLoRA": LowRank(["linear", "conv"], rank=4, alpha=3, root_scale=True),
    "DoRA": LowRank(["linear", "conv"], rank=2, dora=True),
    "orthogonal": LowRank(["linear"], rank=2, alpha=4, init="orthogonal"),
    "OLoRA": LowRank(["linear"], rank=2, alpha=4, init="olora"),
    "PiSSA": LowRank(["linear"], rank=3, root_scale=True, init="pissa"),
    "PiSSA by rounds": LowRank(["linear"], rank=2, init="pissa_niter_4"),
    "PiSSA and DoRA": LowRank(["linear"], rank=2, dora=True, init="pissa"),
    "full": Whole(),
}
# of matrices that are not zero at the start, or of lengths that are computed
ROUNDED = ("DoRA", "orthogonal", "OLoRA", "PiSSA", "PiSSA by rounds", "PiSSA and DoRA")


def randomized(network: nn.Module) -> nn.Module:
    """Values that no layer starts with, so that none of them is without effect."""
    rng = torch.Generator().manual_seed(3)
    for weight in network.parameters():
        weight.data.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return network.eval()


def made(kind):
    torch.manual_seed(0)
    return randomized(kind(1, 4, 8, [8, 8], [False, True], head_width=8, patch=2))


@pytest.fixture
def base():
    return made(UNet)


@pytest.fixture(params=[UNet, CrossAttentionUNet])
def either(request):
    return made(request.param)


def answer(network):
    rng = torch.Generator().manual_seed(5)
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    x, m = CosineVP().perturb(torch.randn(2, 1, 8, 8, generator=rng), torch.ones(2, 1, 8, 8), t)
    with torch.no_grad():
        return network(x, m, Condition(label=torch.tensor([1, 3])))


def trained(network, tuning):
    """The network as a training might leave it."""
    own = copy.deepcopy(network)
    torch.manual_seed(1)
    tuning.begin(own)
    rng = torch.Generator().manual_seed(7)
    for weight in own.parameters():
        if weight.requires_grad:
            weight.data.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return own


def changes(network, tuning, path):
    tuning.write(trained(network, tuning), path, digest_of(inside(network)), ["a word"])
    return tuning.changes(path, network)


def apart(one, other):
    """The largest difference, as a share of the largest value."""
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("name", [name for name in TUNINGS if name not in ROUNDED])
def test_a_training_starts_at_the_base_to_the_bit(base, name):
    begun = copy.deepcopy(base)
    TUNINGS[name].begin(begun)
    base.requires_grad_(name == "full")  # torch has another kernel for weights that ask for no gradient
    assert torch.equal(answer(begun), answer(base))


@pytest.mark.parametrize("name", ROUNDED)
def test_other_beginnings_are_the_base_but_for_rounding(base, name):
    begun = copy.deepcopy(base)
    TUNINGS[name].begin(begun)
    assert apart(answer(begun), answer(base)) < 1e-5


@pytest.mark.parametrize(("name", "rank"), [("orthogonal", 2), ("OLoRA", 4), ("PiSSA", 6)])
def test_a_file_of_any_beginning_adds_nothing_before_a_step_was_taken(base, name, rank, tmp_path):
    """What is taken from the base at first is taken off again, in matrices of twice the rank."""
    begun, path = copy.deepcopy(base), tmp_path / "a.safetensors"
    TUNINGS[name].begin(begun)
    TUNINGS[name].write(begun, path, digest_of(inside(base)), [])
    found = TUNINGS[name].changes(path, base)
    assert max(float(change.abs().max()) for change in found.values()) < 1e-5
    assert parsed(read_tensors(path)[1][KEY], "the file")["rank"] == [rank]


def test_pissa_begins_with_the_largest_singular_values(base):
    begun = copy.deepcopy(base)
    TUNINGS["PiSSA"].begin(begun)
    name = "time_embedding.linear_1"
    theirs, own = inside(begun).get_submodule(name), inside(base).get_submodule(name)
    left, all_ = (torch.linalg.svdvals(layer.weight.detach()) for layer in (theirs.base_layer, own))
    torch.testing.assert_close(left[: len(all_) - 3], all_[3:], atol=1e-5, rtol=1e-4)
    assert float(left[len(all_) - 3 :].max()) < 1e-5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ["linear", "conv"], "init": "pissa"}, r"init: pissa is for kinds \[linear\] alone; use"),
        ({"kinds": ["linear"], "rank": 3, "init": "orthogonal"}, "orthogonal needs an even rank, got 3"),
    ],
)
def test_a_beginning_that_peft_does_not_have_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LowRank(**options)


@pytest.mark.parametrize("name", TUNINGS)
def test_what_a_file_adds_to_the_base_is_what_was_trained(base, name, tmp_path):
    found = changes(base, TUNINGS[name], tmp_path / "a.safetensors")
    wanted = answer(trained(base, TUNINGS[name]))
    assert apart(answer(base), wanted) > 0.02
    with merged(base, [(found, 1.0)]):
        assert apart(answer(base), wanted) < 1e-5


@pytest.mark.parametrize("name", TUNINGS)
def test_after_a_merge_the_base_is_what_it_was_to_the_bit(base, name, tmp_path):
    found, before = changes(base, TUNINGS[name], tmp_path / "a.safetensors"), copy.deepcopy(base.state_dict())
    with pytest.raises(KeyError, match="inside"), merged(base, [(found, 0.7)]):
        raise KeyError("inside")
    assert all(torch.equal(before[key], value) for key, value in base.state_dict().items())
    with merged(base, [(found, 0.0)]):
        assert all(torch.equal(before[key], value) for key, value in base.state_dict().items())


@pytest.mark.parametrize("name", ["linear and conv", "rsLoRA", "DoRA", "orthogonal"])
def test_peft_merges_to_the_same_weights_and_back(base, name, tmp_path):
    found, theirs = changes(base, TUNINGS[name], tmp_path / "a.safetensors"), trained(base, TUNINGS[name])
    layers = {key: module for key, module in theirs.named_modules() if hasattr(module, "merge")}
    start = {key: module.base_layer.weight.detach().clone() for key, module in layers.items()}
    for module in layers.values():
        module.merge()
    with merged(base, [(found, 1.0)]):
        for key, module in layers.items():
            torch.testing.assert_close(
                module.base_layer.weight, base.get_parameter(f"{key}.weight"), atol=2e-6, rtol=1e-5
            )
    for key, module in layers.items():
        module.unmerge()
        torch.testing.assert_close(module.base_layer.weight, start[key], atol=2e-6, rtol=1e-5)
    assert layers.keys() == {key.removesuffix(".weight") for key in found}


def test_pefts_own_model_of_the_same_matrices_answers_the_same(either):
    base, own = either, trained(either, TUNINGS["attention"])
    config = LoraConfig(r=2, lora_alpha=4, target_modules=ATTENTION)
    theirs = get_peft_model(copy.deepcopy(inside(base)), config)
    matrices = {f"base_model.model.{key}": value for key, value in inside(own).state_dict().items()}
    theirs.load_state_dict(matrices, strict=True)
    whole = copy.deepcopy(base)
    whole.net = theirs.base_model.model
    assert torch.equal(answer(own), answer(whole))


def test_several_adapters_add_up_each_at_its_scale(base, tmp_path):
    one = changes(base, TUNINGS["attention"], tmp_path / "one.safetensors")
    two = changes(base, TUNINGS["linear and conv"], tmp_path / "two.safetensors")
    before = {key: base.get_parameter(key).detach().clone() for key in two}
    with merged(base, [(one, 0.7), (two, -0.4)]):
        for key, weight in before.items():
            wanted = weight - 0.4 * two[key] + (0.7 * one[key] if key in one else 0)
            torch.testing.assert_close(base.get_parameter(key), wanted)
    assert one.keys() < two.keys()


def test_changes_are_added_in_float32_and_rounded_once():
    """Of bfloat16, whose next number after 1 is 1 + 2^-7: half of that way is a tie, which falls to 1."""
    network = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    network.weight.data.fill_(1)

    def whole(*changes):
        with merged(network, [({"weight": torch.full((1, 1), change)}, 1.0) for change in changes]):
            return float(network.weight.detach())

    assert whole(0.003) == whole(0.0039) == 1
    assert whole(0.00391) == 1 + 2**-7  # which is 2^-8, the tie, where it is rounded before it is added
    assert whole(0.003, 0.003) == 1 + 2**-7  # which are both lost where they are added one by one
    assert float(network.weight.detach()) == 1


@pytest.mark.parametrize("name", TUNINGS)
def test_only_what_is_written_is_trained(base, name, tmp_path):
    own, begun = trained(base, TUNINGS[name]), copy.deepcopy(base)
    torch.manual_seed(1)
    TUNINGS[name].begin(begun)
    start = begun.state_dict()
    asking = {key for key, weight in own.named_parameters() if weight.requires_grad}
    moved = {key for key, weight in own.named_parameters() if not torch.equal(weight, start[key])}
    assert asking == moved
    assert name == "full" or all(".lora_" in key for key in asking)


def test_layers_are_chosen_by_kind_and_by_the_ends_of_their_names(base):
    def chosen(*kinds, names=None):
        return LowRank([*kinds], names).chosen(inside(base))

    every = {key: m for key, m in inside(base).named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    assert chosen("linear", "conv") == [*every]
    assert chosen("conv") == [key for key, module in every.items() if isinstance(module, nn.Conv2d)]
    assert chosen("linear", names=["to_q"]) == [key for key in every if key.endswith(".to_q")]
    assert chosen("conv", names=["conv_in"]) == ["conv_in"]
    (first,) = [key for key in every if key.endswith("mid_block.resnets.0.conv1")]
    assert chosen("linear", "conv", names=[first]) == [first]
    below = [key for key in every if key.startswith("up_blocks.") and key.endswith("to_q")]
    assert below
    assert chosen("linear", names=["up_blocks.*.to_q"]) == below
    assert chosen("linear", names=["attentions.*"]) == [
        key for key in chosen("linear") if ".attentions." in key
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["to_q", "q_proj"], "adapter.tuning.names: 'q_proj' is the end of none of the"),
        (["o_*q"], "adapter.tuning.names: 'o_*q' is the end of none of the"),
        (["o_q"], "adapter.tuning.names: 'o_q' is the end of none of the"),
    ],
)
def test_an_end_that_no_layer_has_is_refused_with_those_that_there_are(base, names, said):
    with pytest.raises(ValueError, match=r"linear_1, linear_2.* to_k, to_out, to_q") as told:
        LowRank(["linear"], names).check(base)
    assert str(told.value).startswith(said)


def test_adms_own_network_has_the_same_attention():
    network = ADM(1, 0, 8, width=32, multipliers=[1], attention=[], blocks=1, head_width=32)
    assert len(LowRank(["linear"], ATTENTION).chosen(network)) == len(ATTENTION)


def test_a_network_without_such_layers_is_refused():
    with pytest.raises(ValueError, match=r"kinds: Flatten has no linear layer; use adapter=full"):
        LowRank(["linear"]).check(nn.Flatten())


@pytest.mark.parametrize("name", ["linear", "full"])
def test_a_file_of_another_base_is_refused(base, name, tmp_path):
    changes(base, TUNINGS[name], tmp_path / "a.safetensors")
    other = copy.deepcopy(base)
    next(inside(other).parameters()).data.add_(1)
    with pytest.raises(ValueError, match=r"trained on .*give the one that it|base that it was trained on"):
        TUNINGS[name].changes(tmp_path / "a.safetensors", other)
    smaller = randomized(UNet(1, 4, 16, [8], [True], head_width=8))
    with pytest.raises(ValueError, match=r"a\.safetensors: "):
        TUNINGS[name].changes(tmp_path / "a.safetensors", smaller)


def test_the_file_says_rank_alpha_targets_base_and_trigger(base, tmp_path):
    changes(base, TUNINGS["rsLoRA"], tmp_path / "a.safetensors")
    said = parsed(read_tensors(tmp_path / "a.safetensors")[1][KEY], "the file")
    assert said["rank"] == [4]
    assert said["alpha"] == [pytest.approx(6.0)]  # for a scale of alpha / rank: 3 / sqrt(4) = 6 / 4
    assert said["base"] == {part_of(base): digest_of(inside(base))}
    assert said["trigger"] == ["a word"]
    assert "to_q" in said["targets"]
