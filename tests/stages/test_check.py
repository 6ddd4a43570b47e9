"""What a check counts, where it can be counted by hand."""

import json
from dataclasses import replace
from typing import Any

import pytest
import tiny_pipelines
import torch
from choices import CONF
from torch import nn

from condiff.config.compose import check as composed
from condiff.config.nodes import class_of
from condiff.data.circles import Circles
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.interrupts import Interrupts
from condiff.reports.checked import check_tables, check_told, on_a_device, short, size
from condiff.stages.check import _passed, check, counted, differences
from condiff.stages.driver import run_study
from condiff.stages.stage import Runtime
from condiff.stages.study import STAGES

NAMES = [stage.name for stage in STAGES]
INFO = DataInfo(10, [str(k) for k in range(10)], 1, 32, 0, 0, False, "", [])


def study(*argv: str) -> dict[str, Any]:
    (cfg,) = composed([*argv, "task=check"], CONF, NAMES) or [{}]
    return cfg


def test_operations_and_kept_bytes_of_a_network_that_can_be_counted_by_hand():
    """A matrix [6, 4] on 3 rows: 2 x 3 x 4 x 6 operations; kept are its input, and the tanh's result."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    x = torch.empty(3, 4, device="meta")
    flop, kept = _passed(net, lambda: net(x))
    assert flop == 2 * 3 * (4 * 6 + 6 * 2)
    assert kept == 4 * (3 * 4 + 3 * 6)


def test_a_convolution_has_its_operations_at_every_place():
    with torch.device("meta"):
        net = nn.Conv2d(3, 5, 3, padding=1)
    x = torch.empty(1, 3, 8, 8, device="meta")
    assert _passed(net, lambda: net(x)) == (2 * 3 * 9 * 5 * 64, 4 * 3 * 64)


def test_training_is_three_passes_a_sample_and_five_numbers_a_weight():
    found = counted(study("experiment=cfg_latent", "trainer.steps=10", "trainer.batch_size=7"), INFO)
    own = found["networks"]["denoiser"]
    assert found["shape"] == [4, 8, 8]
    assert own["flop_step"] == 3 * 7 * own["flop"]
    assert own["flop_training"] == 10 * own["flop_step"]
    assert own["bytes_states"] == 5 * 4 * own["parameters"]
    judge_free = counted(study("experiment=cfg_latent", "trainer.ema_decay=null"), INFO)["networks"][
        "denoiser"
    ]
    assert judge_free["bytes_states"] == 4 * 4 * own["parameters"]


def test_an_adapter_is_counted_with_the_weights_that_it_trains_beside_those_it_passes_through():
    found = counted(study("experiment=lora_digits", "adapter=attention"), INFO)["networks"]
    base, own = found["denoiser"], found["adapter"]
    trains = own["parameters"] - base["parameters"]  # rank 8, in and out, four matrices of 64, four places
    assert own["trainable"] == trains == 8 * 2 * 4 * 64 * 4
    assert own["bytes_states"] == 4 * (own["parameters"] + 4 * trains)
    way = 2 + trains / own["parameters"]
    assert own["flop_step"] == pytest.approx(way * own["batch_size"] * own["flop"])
    assert base["flop"] < own["flop"] < 1.1 * base["flop"]
    whole = counted(study("experiment=lora_digits", "adapter=full"), INFO)["networks"]["adapter"]
    assert whole["flop_step"] == 3 * whole["batch_size"] * base["flop"]


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    tiny_pipelines.saved_xl(folder := tmp_path_factory.mktemp("xl"))
    return folder


def test_encoders_of_text_that_are_trained_too_are_counted_with_what_trains_in_each(xl):
    """Two layers of attention, four matrices each, of rank 2, in and out."""
    cfg = study(
        *("experiment=lora_sd15", f"base={xl}", "data.path=none", "data.size=32"),
        *("adapter=stable_diffusion_text", "adapter.text.rank=2"),
    )
    found = counted(cfg, replace(INFO, channels=3))
    for part, width in (("text_encoder", 24), ("text_encoder_2", 16)):
        own = found["networks"][f"adapter.text {part}"]
        assert own["trainable"] == 2 * 4 * 2 * 2 * width
        assert own["flop"] > 0
        base = own["parameters"] - own["trainable"]  # the matrices of a LoRA are beside it
        share = f"{own['trainable'] / base:.1%} of the base's {base:,}"
        said = f"adapter.text {part} trains {own['trainable']:,} parameters ({share})"
        assert any(line.startswith(said) for line in check_told({**found, "recipe": None}))


def test_a_base_that_is_used_as_it_is_is_not_trained_and_what_it_draws_of_the_class_is_counted(xl):
    cfg = study(
        *("experiment=dreambooth_sdxl", f"base={xl}", "data.path=none", "data.size=32"),
        *("sampler.steps=5", "prior.num=7", "prior.sampler.steps=3"),
        "prior.guidance.scale=4",
    )
    found = counted(cfg, replace(INFO, channels=3))
    base, one = found["networks"]["denoiser"], found["networks"]["denoiser"]["flop"]
    assert (base["steps"], base["batch_size"], base["flop_training"]) == (0, 0, 0)
    assert base["bytes_states"] == 4 * base["parameters"]  # its weights alone
    assert (found["networks"]["autoencoder"]["steps"], found["networks"]["adapter"]["steps"]) == (0, 500)
    assert found["sampling"]["calls"] == {"denoiser": 2 * 5}  # with the text and without it
    assert found["prior"]["calls"] == {"denoiser": 2 * 3}
    assert (found["prior"]["flop_picture"], found["prior"]["num_samples"]) == (6 * one, 7)
    (line,) = (line for line in check_told({**found, "recipe": None}) if line.startswith("prior: "))
    assert line.endswith(f"in 3 steps of DDIM with ClassifierFree, {short(42 * one, 'FLOP')} for 7.")
    assert "7 pictures" in check_tables({**found, "recipe": None})


def test_a_controlnet_is_counted_beside_the_base_that_it_passes_through():
    found = counted(study("experiment=controlnet_circles"), Circles().info())["networks"]
    base, own = found["denoiser"], found["adapter"]
    assert own["trainable"] == own["parameters"] - base["parameters"] > 0
    assert own["flop"] > 1.3 * base["flop"]


def test_a_controlnet_for_pictures_without_hints_is_refused():
    with pytest.raises(ConfigError, match=r"adapter\.tuning: ControlNet needs a hint beside each picture"):
        counted(study("experiment=cfg_latent", "adapter=controlnet"), INFO)


def test_sampling_counts_the_calls_of_every_network():
    plain = counted(study("experiment=cfg_latent", "guidance=none"), INFO)
    free = counted(study("experiment=cfg_latent"), INFO)
    heun = counted(study("experiment=cfg_latent", "guidance=none", "sampler=heun", "sampler.steps=18"), INFO)
    part = counted(study("experiment=cfg_latent", "guidance=cfg_interval_trajectory"), INFO)
    both = counted(study("experiment=cfg_latent", "guidance=autoguidance"), INFO)
    one = plain["networks"]["denoiser"]["flop"]
    assert plain["sampling"]["calls"] == {"denoiser": 16}
    assert plain["sampling"]["flop_picture"] == 16 * one
    assert free["sampling"]["calls"] == {"denoiser": 32}
    assert free["sampling"]["flop_picture"] == 32 * one
    assert heun["sampling"]["calls"] == {"denoiser": 35}  # the last of 18 steps asks once
    low, high = 0.25, 0.95  # the part of the way in which it guides, from its yaml
    told = sum(low < 1 - place / 16 <= high for place in range(16))
    assert part["sampling"]["calls"] == {"denoiser": 16 + told}
    assert both["sampling"]["calls"] == {"denoiser": 16, "weaker": 16}


@pytest.mark.parametrize(
    ("choices", "asked"),
    [(("sampler=ddim", "guidance=classifier"), 50), (("sampler=ancestral", "guidance=classifier_mean"), 49)],
)
def test_a_classifier_is_asked_forward_and_back_where_a_step_has_a_use_for_it(choices, asked):
    """An ancestral step to the data has no variance to move its mean by."""
    found = counted(study("experiment=classifier_guided", "sampler.steps=50", *choices), INFO)
    denoiser, classifier = (found["networks"][name]["flop"] for name in ("denoiser", "classifier"))
    own = found["sampling"]
    assert own["calls"] == {"denoiser": 50, "classifier": asked}
    # forward, and back to the picture only: no gradient of a weight is made
    assert 1.9 < (own["flop_picture"] - 50 * denoiser) / (asked * classifier) < 2.1


def recipe(**paper: Any) -> dict[str, Any]:
    return {"source": "a paper", "paper": paper, "differs": ["Colour."]}


def test_a_recipe_names_what_is_not_the_papers():
    cfg = {
        "recipe": recipe(**{"trainer.steps": 5, "optimizer.lr": 0.1}),
        "trainer": {"steps": 5},
        "optimizer": {},
    }
    found = differences(cfg)
    assert found == {
        "source": "a paper",
        "same": 1,
        "changed": [{"key": "optimizer.lr", "paper": 0.1, "here": None}],
        "differs": ["Colour."],
    }
    assert differences({"recipe": None}) is None


@pytest.mark.parametrize("data", ["image_folder", "shards"])
def test_without_data_their_size_and_classes_must_be_said(data, tmp_path):
    with pytest.raises(ConfigError) as told:
        check(study("experiment=cfg_latent", f"data={data}", "data.size=32"), {}, Runtime(), tmp_path)
    assert told.value.lines == ("data.num_classes: is null; give it, or data.path, to count",)


def test_a_check_leaves_its_counts_in_the_run_folder_and_tells_them(tmp_path, capsys):
    cache, folder = tmp_path / "cache", tmp_path / "run"
    cfg = study("experiment=cfg_latent", "data=digits", f"runtime.cache={cache}", "logger.wandb=off")
    run_study(cfg, folder, Interrupts())
    found = json.loads((folder / "check.json").read_text())
    assert f"{short(found['networks']['denoiser']['parameters'])}" in capsys.readouterr().out
    assert "of 64 pictures" in (folder / "report.html").read_text()
    assert not (cache / "data").exists()


def test_data_that_are_not_there_are_no_mistake_of_a_check_and_are_one_of_a_study():
    argv = ("experiment=cfg_latent", "data=image_folder", "data.size=32", "data.num_classes=3")
    assert study(*argv)["stages"] == ["check"]
    assert "denoiser" in study(*argv)["check"]
    with pytest.raises(ConfigError, match=r"data\.path: is required"):
        composed([*argv], CONF, NAMES)


def test_a_setting_of_a_second_model_is_checked_with_it():
    assert study("experiment=cfg_latent", "guidance=classifier", "classifier=patches")["classifier"]
    with pytest.raises(ConfigError, match="has no effect"):
        study("experiment=cfg_latent", "classifier=patches")


def test_what_was_counted_is_told_in_tables_and_in_sentences():
    cfg = study("experiment=classifier_guided")
    found = {
        **counted(cfg, INFO),
        "recipe": {"source": "a paper", "same": 3, "changed": [], "differs": ["Red."]},
    }
    text, lines = check_tables(found), check_told(found)
    for words in ("classifier", "ClassifierMean", "3 of 3 values", "Not the paper's: Red."):
        assert words in text
        assert any(words in line for line in lines)
    changed = {"key": "trainer.steps", "paper": 300, "here": None}
    other = {**found, "recipe": {**found["recipe"], "changed": [changed]}}
    assert "trainer.steps: 300 in the paper, null here" in check_tables(other)
    assert "states no recipe" in check_tables({**found, "recipe": None})


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (999, "999"), (763536, "763.5 k"), (553838086, "553.8 M"), (2.24e12, "2.24 T")],
)
def test_numbers_have_four_digits_and_a_letter(number, said):
    assert short(number) == said
    assert short(number, "FLOP") == (f"{said}FLOP" if said[-1].isalpha() else f"{said} FLOP")


def test_bytes_are_in_the_unit_that_fits():
    assert (size(3 * 2**29), size(2**19)) == ("1.5 GiB", "0.5 MiB")


# Dhariwal & Nichol 2021, tables 11 and 12, from memory, and the flags of their code's README, read.
# By pixels: millions of parameters of both networks; batch, steps and rate of both; weight decay of the
# classifier; scale.
ADM = {
    64: (296, 65, 2048, 540_000, 3e-4, 1024, 300_000, 6e-4, 0.2, 1.0),
    128: (422, 43, 256, 4_360_000, 1e-4, 256, 300_000, 3e-4, 0.05, 0.5),
    256: (554, 54, 256, 1_980_000, 1e-4, 256, 500_000, 3e-4, 0.05, 1.0),
    512: (559, 54, 256, 1_940_000, 1e-4, 256, 500_000, 3e-4, 0.05, 4.0),
}
GMAC = {256: 1120, 512: 1983}  # of one picture: Peebles & Xie 2023, tables of ImageNet, from memory


def stated(cfg: dict[str, Any]) -> tuple[float, ...]:
    """The same of a config."""
    both = [
        (cfg["trainer"], cfg["optimizer"]),
        (cfg["classifier"]["trainer"], cfg["classifier"]["optimizer"]),
    ]
    numbers = [n for trainer, own in both for n in (trainer["batch_size"], trainer["steps"], own["lr"])]
    return (*numbers, cfg["classifier"]["optimizer"]["weight_decay"], cfg["guidance"]["scale"])


@pytest.mark.parametrize("size", ADM)
def test_the_recipes_of_adm_are_the_papers_and_its_networks_have_their_size(size):
    cfg = study(f"experiment=adm/imagenet{size}")
    recipe = differences(cfg)
    assert recipe is not None
    assert recipe["changed"] == []
    assert recipe["same"] >= 40
    assert stated(cfg) == ADM[size][2:]
    assert (cfg["optimizer"]["beta2"], cfg["trainer"]["ema_decay"]) == (0.999, 0.9999)
    assert class_of(cfg["process"]) == ("CosineDDPM" if size == 64 else "LinearDDPM")
    assert cfg["data"]["size"] == size
    info = DataInfo(1000, [], 3, size, 0, 0, False, "", [])
    found = counted({**cfg, "check": ["denoiser", "classifier"]}, info)["networks"]
    assert (
        tuple(round(found[name]["parameters"] / 1e6) for name in ("denoiser", "classifier")) == ADM[size][:2]
    )
    if size in GMAC:
        assert found["denoiser"]["flop"] / 2e9 == pytest.approx(GMAC[size], rel=0.005)


# Rombach 2022, the code's configs and its logs, from memory: the latent of 256 pixels, and of two of them the
# millions of parameters.
LDM = {
    "kl_f4": ([3, 64, 64], None),
    "kl_f8": ([4, 32, 32], 83.7),
    "kl_f16": ([16, 16, 16], None),
    "kl_f32": ([64, 8, 8], None),
    "vq_f4": ([3, 64, 64], 55.3),
    "vq_f8": ([4, 32, 32], None),
    "vq_f16": ([8, 16, 16], None),
}


@pytest.mark.parametrize("name", LDM)
def test_the_recipes_of_the_first_stages_of_latent_diffusion_are_the_papers(name):
    cfg = study(f"experiment=ldm/{name}")
    recipe = differences(cfg)
    assert recipe is not None
    assert recipe["changed"] == []
    assert recipe["same"] >= 14
    own = cfg["autoencoder"]
    assert own["optimizer"]["lr"] == pytest.approx(4.5e-6 * own["trainer"]["batch_size"])
    assert own["method"]["adversary"]["optimizer"] == own["optimizer"]
    info = DataInfo(1000, [], 3, 256, 0, 0, False, "", [])
    found = counted({**cfg, "check": ["autoencoder", "latents"]}, info)
    shape, millions = LDM[name]
    assert found["shape"] == shape
    if millions is not None:
        assert found["networks"]["autoencoder"]["parameters"] / 1e6 == pytest.approx(millions, abs=0.05)


# first step and weight of the discriminator, its layers, pictures of a step, parts, weight of the divergence
PUBLISHED = {
    "kl_f4": (50001, 0.5, 3, 24, 2, 1e-6),
    "kl_f8": (50001, 0.5, 3, 24, 2, 1e-6),
    "kl_f16": (50001, 0.5, 3, 24, 2, 1e-6),
    "kl_f32": (50001, 0.5, 3, 24, 2, 1e-6),
    "vq_f4": (0, 0.75, 3, 8, 1, None),
    "vq_f8": (1, 0.6, 2, 10, 1, None),
    "vq_f16": (250001, 0.75, 2, 14, 1, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_losses_of_the_first_stages_are_the_published_configs(name):
    own = study(f"experiment=ldm/{name}")["autoencoder"]
    against, trainer = own["method"]["adversary"], own["trainer"]
    found = (against["start"], against["weight"], against["halvings"], trainer["batch_size"])
    assert (*found, trainer["accumulate"], own["method"].get("kl_weight")) == PUBLISHED[name]


def test_what_a_command_changes_in_a_recipe_is_named():
    found = differences(study("experiment=adm/imagenet256", "trainer.batch_size=64", "process=cosine_ddpm"))
    assert found is not None
    assert found["changed"] == [
        {
            "key": "process._target_",
            "paper": "condiff.diffusion.process.LinearDDPM",
            "here": "condiff.diffusion.process.CosineDDPM",
        },
        {"key": "trainer.batch_size", "paper": 256, "here": 64},
    ]


def test_devices_share_a_batch_and_not_the_states():
    own = {"batch_size": 10, "accumulate": 1, "bytes_states": 100, "bytes_activations": 8}
    own["precision"] = "32-true"
    assert [on_a_device(own, n) for n in (1, 2, 4)] == [180, 140, 124]  # 10, 5 and 3 pictures
    assert [on_a_device({**own, "accumulate": 2}, n) for n in (1, 2, 4)] == [140, 124, 116]
    assert on_a_device({**own, "precision": "bf16-mixed"}, 2) == 120
    assert on_a_device(own, 2, parts=2) == 90
