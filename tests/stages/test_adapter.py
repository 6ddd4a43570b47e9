"""An adapter is trained on what a stage has left, and leaves a file that is used at any scale."""

import json
import logging

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from safetensors.torch import load_file, save_file

from condiff.adapters.formats import detect, load
from condiff.adapters.low_rank import base_of
from condiff.adapters.tensor_files import read_tensors
from condiff.conditioners.label import ClassLabel
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError, CondiffError, ConfigError
from condiff.interrupts import Interrupted, Interrupts
from condiff.methods.adaptation import Adaptation
from condiff.stages import adapter, rehearsal
from condiff.stages.adapted import adapted
from condiff.stages.adapter import TRAINS
from condiff.stages.denoiser import build_conditioner, built_network, load_denoiser
from condiff.stages.exported_adapter import PLACES, leave_adapter
from condiff.stages.finished_adapters import FILE
from condiff.stages.ranks_group import joined
from condiff.stages.stage import LOG, Artifact, Runtime

STEPS = 6


def of(room, name, **arguments):
    return {"_target_": f"condiff.{room}.{name}", **arguments}


BASE = {
    "seed": 0,
    "conditioner": of("conditioners.label", "ClassLabel"),
    "process": of("diffusion.process", "CosineVP"),
    "objective": {
        "parameterization": of("diffusion.parameterization", "V"),
        "times": of("diffusion.times", "Uniform"),
        "weight": of("diffusion.weights", "Unit"),
    },
    "network": of("networks.unet", "UNet", widths=[8, 8], attention=[False, True], head_width=8, dropout=0.1),
    "method": of("methods.diffusion", "Diffusion", drop_condition=0.1),
}
LOW_RANK = of("adapters.low_rank", "LowRank", kinds=["linear", "conv"], rank=2, dropout=0.1)

PISSA = of("adapters.low_rank", "LowRank", kinds=["linear"], rank=2, init="pissa")


def config(tuning=None, scale=1.0):
    own = {
        "tuning": tuning or LOW_RANK,
        "method": of("methods.adaptation", "Adaptation", drop_condition=0.1),
        "optimizer": of("methods.optimizers", "AdamW", lr=1e-2),
        "trainer": of("methods.settings", "Training", steps=STEPS, batch_size=8, clip=1.0, ema_decay=0.9),
        "trigger": ["an eight"],
    }
    return {"seed": 0, "objective": BASE["objective"], "adapter": {**own, "scale": scale}, "adapters": None}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Digits, and a denoiser of them that was never trained, as stages leave them."""
    data, denoiser = (tmp_path_factory.mktemp(name) for name in ("data", "denoiser"))
    prepare(Digits(size=8), data)
    conditioner = build_conditioner(BASE, DataInfo.read(data))
    assert isinstance(conditioner, ClassLabel)
    network = built_network(BASE, conditioner, [1, 8, 8])
    save_file(network.state_dict(), denoiser / "weights.safetensors")
    (denoiser / "shape.json").write_text("[1, 8, 8]")
    # keys that no other test has: a process remembers what it has loaded by them
    return {
        "data": Artifact(f"data {data}", data, {}),
        "denoiser": Artifact(f"denoiser {denoiser}", denoiser, {"config": BASE}),
    }


def trained(inputs, out, cfg=None, **runtime):
    out.mkdir(exist_ok=True)
    cfg = cfg or config()
    adapter.train(cfg, inputs, Runtime(accelerator="cpu", **runtime), out)
    return Artifact(f"adapter {out}", out, {"config": cfg})


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    return trained(inputs, tmp_path_factory.mktemp("adapter") / "whole")


def weights(inputs):
    network = load_denoiser(inputs["denoiser"], inputs["data"])[0].network
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_it_leaves_its_file_and_says_what_was_trained(inputs, whole):
    tensors, header = read_tensors(whole.path / FILE)
    counts = json.loads((whole.path / TRAINS).read_text())
    assert sum(value.numel() for value in tensors.values()) == sum(counts.values())
    assert len(tensors) == len(counts)
    assert "an eight" in header["condiff_adapter"]
    assert {path.name for path in whole.path.glob("*.safetensors")} == {FILE}
    model = json.loads((whole.path / "model.json").read_text())
    assert model["trainable"] == sum(counts.values()) < model["parameters"]


def test_the_file_is_of_the_averaged_weights_and_without_an_average_of_the_last_ones(inputs, whole, tmp_path):
    cfg = config()
    cfg["adapter"]["trainer"] = {**cfg["adapter"]["trainer"], "ema_decay": None}
    last = trained(inputs, tmp_path / "run", cfg)
    assert {path.name for path in last.path.glob("*.safetensors")} == {FILE}
    averaged, raw = (load_file(place.path / FILE) for place in (whole, last))
    ups = [name for name in raw if "lora_B" in name]  # which start at 0 and go one way for a while
    assert all(averaged[name].norm() < raw[name].norm() for name in ups)


def test_what_is_trained_is_told_once_with_counts(inputs, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="condiff"):
        made = trained(inputs, tmp_path / "run")
    (line,) = [record.message for record in caplog.records if "trains" in record.message]
    counts = json.loads((made.path / TRAINS).read_text())
    base = sum(value.numel() for value in weights(inputs).values())
    share = f"{sum(counts.values()) / base:.1%} of the base's {base:,}"
    assert f"trains {sum(counts.values()):,} parameters ({share}) in" in line
    assert f"in {len(counts)} tensors: " in line
    assert "4 to_q" in line


@pytest.mark.parametrize(
    "tuning", [LOW_RANK, pytest.param(PISSA, marks=pytest.mark.slow)], ids=["low rank", "pissa"]
)
def test_interrupted_it_ends_bit_for_bit_the_same_and_checkpoints_hold_no_base(
    inputs, whole, tmp_path, tuning
):
    """Also where the matrices begin with a share of the base, which is then less by it."""
    wanted = whole if tuning is LOW_RANK else trained(inputs, tmp_path / "once", config(tuning))
    interrupts = Interrupts()

    def log(_, step, __):
        interrupts.pending = 15 if step == 3 else None

    cfg = config(tuning)
    cfg["adapter"]["trainer"] = {**cfg["adapter"]["trainer"], "log_every": 1}
    with pytest.raises(Interrupted):
        trained(inputs, tmp_path / "run", cfg, interrupts=interrupts, log=log)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("*.safetensors")
    size = sum(value.numel() for value in weights(inputs).values())
    trains = sum(json.loads((wanted.path / TRAINS).read_text()).values())
    held = sum(value.numel() for value in load_file(checkpoint).values() if value.is_floating_point())
    assert 4 * trains <= held < 4 * trains + 0.2 * size  # itself, two moments and its average
    made = trained(inputs, tmp_path / "run", cfg)
    once, again = (load_file(place.path / FILE) for place in (wanted, made))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert steps == [*range(1, STEPS + 1)]


@pytest.mark.slow
def test_a_base_that_is_held_in_parts_is_adapted_as_ever(inputs, whole, tmp_path, monkeypatch):
    """By one process that holds the one part of it, to the end, and stopped on the way."""
    monkeypatch.setattr(UNet2DModel, "_no_split_modules", ["ResnetBlock2D"])
    interrupts, out, cfg = Interrupts(), tmp_path / "run", config()
    cfg["adapter"]["trainer"] = {**cfg["adapter"]["trainer"], "log_every": 1}

    def log(_, step, __):
        interrupts.pending = 15 if step == 3 else None

    with joined(0, 1, tmp_path, on_gpu=False, strategy="fsdp") as rank:
        with pytest.raises(Interrupted):
            trained(inputs, out, cfg, ranks=rank, interrupts=interrupts, log=log)
        again = trained(inputs, out, cfg, ranks=rank)
        once = trained(inputs, tmp_path / "once", cfg, ranks=rank)
    one, two, plain = (load_file(made.path / FILE) for made in (once, again, whole))  # dropout: other draws
    assert one.keys() == two.keys() == plain.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "tuning", [LOW_RANK, PISSA, of("adapters.whole", "Whole")], ids=["low rank", "pissa", "whole"]
)
def test_at_scale_0_it_is_the_base_and_after_any_scale_it_is_again(inputs, whole, tmp_path, tuning):
    made = whole if tuning is LOW_RANK else trained(inputs, tmp_path / "run", config(tuning))
    before, own = weights(inputs), load_denoiser(inputs["denoiser"], inputs["data"])
    seen = {}
    for scale in (0.0, 0.5, 1.0, 0.0):
        with adapted(config(tuning, scale), {**inputs, "adapter": made}, own):
            seen[scale] = weights(inputs)
        assert all(torch.equal(before[name], value) for name, value in weights(inputs).items())
    assert all(torch.equal(before[name], value) for name, value in seen[0.0].items())
    moved = [name for name in before if not torch.equal(before[name], seen[1.0][name])]
    assert moved
    for name in moved:
        torch.testing.assert_close(2 * seen[0.5][name] - before[name], seen[1.0][name], atol=1e-6, rtol=1e-5)


def test_without_an_adapter_nothing_happens(inputs):
    own = load_denoiser(inputs["denoiser"], inputs["data"])
    with adapted({"adapters": None}, inputs, own):
        assert all(torch.equal(value, own[0].network.state_dict()[n]) for n, value in weights(inputs).items())


def test_an_adapter_of_another_base_is_refused_by_its_file(inputs, whole, tmp_path):
    other = load_file(inputs["denoiser"].path / "weights.safetensors")
    save_file({name: value + 1 for name, value in other.items()}, tmp_path / "weights.safetensors")
    (tmp_path / "shape.json").write_text("[1, 8, 8]")
    foreign = {**inputs, "denoiser": Artifact(f"denoiser {tmp_path}", tmp_path, {"config": BASE})}
    own = load_denoiser(foreign["denoiser"], foreign["data"])
    with (
        pytest.raises(ArtifactError, match=r"layers fit, but were trained on the unet \w+, and this one is"),
        adapted(config(), {**foreign, "adapter": whole}, own),
    ):
        pass


def test_a_part_of_the_base_that_asks_for_a_gradient_ends_it_before_a_step(inputs, tmp_path, monkeypatch):
    every = Adaptation.trainable
    monkeypatch.setattr(Adaptation, "trainable", lambda method: every(method)[:-1])
    with pytest.raises(CondiffError, match=r"adapter: (\d+) tensors ask .* of \1 in all; they must be"):
        trained(inputs, tmp_path / "run")
    assert not (tmp_path / "run" / LOG).read_text()


def test_names_of_no_layer_are_refused_before_and_when_it_is_trained(inputs, tmp_path):
    tuning = of("adapters.low_rank", "LowRank", kinds=["linear"], names=["q_proj"])
    with pytest.raises(ConfigError, match=r"adapter\.tuning\.names: 'q_proj' is the end of none of the"):
        trained(inputs, tmp_path / "run", config(tuning))
    study = {
        **BASE,
        **config(tuning),
        "stages": ["data", "denoiser", "adapter", "samples"],
        "guidance": of("diffusion.guidance", "NoGuidance"),
        "sampler": of("diffusion.samplers", "DDIM", steps=2),
        "runtime": {"sample_compile": "none", "strategy": "ddp"},
    }
    with pytest.raises(ConfigError, match=r"adapter\.tuning\.names: 'q_proj' is the end of none of the"):
        rehearsal.rehearse(study, DataInfo.read(inputs["data"].path))
    rehearsal.rehearse({**study, **config()}, DataInfo.read(inputs["data"].path))


def test_layers_have_rates_by_their_names_and_a_name_of_none_is_refused(inputs, whole, tmp_path):
    cfg, moved = config(), {}
    cfg["adapter"]["rates"] = {"to_q": 1e-3, "mid_block.*.to_q": 1.0}
    made = trained(inputs, tmp_path / "run", cfg)
    for place in (whole, made):
        ups = {name: value for name, value in load_file(place.path / FILE).items() if "lora_B" in name}
        for of in ("mid", "up", "other"):
            moved.setdefault(of, []).append(
                sum(float(v.abs().sum()) for name, v in ups.items() if _kind_of(name) == of)
            )
    assert moved["up"][1] < 0.01 * moved["up"][0]
    assert all(0.5 < moved[of][1] / moved[of][0] < 2 for of in ("mid", "other"))
    cfg["adapter"]["rates"] = {"q_proj": 0.5}
    with pytest.raises(ConfigError, match=r"adapter\.rates: 'q_proj' is the end of none of the \d+ layers"):
        trained(inputs, tmp_path / "none", cfg)


def _kind_of(name):
    if ".to_q." not in name:
        return "other"
    return "mid" if "mid_block" in name else "up"


def test_an_adapter_is_exported_in_every_format_and_comes_back_the_same(inputs, whole, tmp_path):
    leave_adapter("run", {**inputs, "adapter": whole}, tmp_path)
    base = base_of(load_denoiser(inputs["denoiser"], inputs["data"])[0].network)
    wanted = load(whole.path / FILE, base)
    assert {place.name for place in tmp_path.iterdir()} == {*PLACES.values()}
    for name, place in PLACES.items():
        found = load(tmp_path / place, base)
        assert detect(tmp_path / place) == name
        assert (found.base, found.trigger) == (wanted.base, ("an eight",))
        assert found.layers.keys() == wanted.layers.keys()
        for layer, other in ((found.layers[key], wanted.layers[key]) for key in wanted.layers):
            torch.testing.assert_close(layer.delta(), other.delta(), atol=1e-7, rtol=1e-6)


def test_all_weights_are_no_adapter_to_export(inputs, tmp_path):
    made = {**inputs, "adapter": trained(inputs, tmp_path / "run", config(of("adapters.whole", "Whole")))}
    assert not leave_adapter("run", made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
