"""Adapters, shrunk: of a base that the study trains, and of the finished run of another study."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from condiff.adapters.tensor_files import read_names
from condiff.config.compose import check, register
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.finished_adapters import FILE
from condiff.stages.study import STAGES
from tests.smoke.conftest import LATENT, ROOT, TINY

NAMES = [stage.name for stage in STAGES]
TINY_ADAPTER = (
    "experiment=lora_digits",
    "judge.trainer.steps=3",
    "judge.trainer.batch_size=16",
    "adapter.trainer.steps=3",
    "adapter.trainer.batch_size=8",
    "adapter.optimizer.lr=0.1",  # so that it shows after three steps
    "sampler.steps=3",
    "num_samples=20",
    "logger.wandb=off",
    "runtime.accelerator=cpu",
)
TINY_BASE = (
    "trainer.steps=3",
    "trainer.batch_size=8",
    "network.widths=[8,16]",
    "network.head_width=8",
    "adapter=attention",
)


@pytest.fixture
def ran(tmp_path, cache):
    """Runs with overrides; gives the stages and the samples that it leaves."""
    register()

    def run(folder, *argv):
        (cfg,) = (
            check([*argv, f"runtime.cache={cache}"], ROOT / "conf", [stage.name for stage in STAGES]) or []
        )
        run_study(cfg, tmp_path / folder, Interrupts())
        stages = json.loads((tmp_path / folder / "stages.json").read_text())
        return stages, load_file(Path(stages["samples"]["path"]) / "samples.safetensors")["image"]

    return run


def test_a_base_is_trained_and_adapted_once_and_drawn_at_any_scale(ran):
    at = {s: ran(f"at{s}", *TINY_ADAPTER, *TINY_BASE, f"adapter.scale={s}") for s in (0, 1)}
    first, second = at[0][0], at[1][0]
    assert [*first] == ["base_data", "data", "judge", "denoiser", "adapter", "samples", "metrics"]
    assert {name for name, stage in second.items() if stage["status"] == "run"} == {"samples", "metrics"}
    plain = [word for word in TINY_ADAPTER if not word.startswith("adapter.")]
    without, drawn = ran("plain", *plain, *TINY_BASE[:-1], "adapter=none")
    assert without["denoiser"]["key"] == first["denoiser"]["key"]
    assert torch.equal(at[0][1], drawn)
    assert not torch.equal(at[1][1], drawn)
    names = read_names(Path(first["adapter"]["path"]) / FILE)
    assert names
    assert all(name.startswith("unet.") and ".lora_" in name for name in names)


@pytest.mark.slow
def test_a_finished_run_on_latents_is_adapted_in_its_own_space(ran, tmp_path):
    theirs, _ = ran("base", *TINY, *LATENT)
    data = ("data=digits", "data.size=16", "data.held_out_per_class=20")
    own, drawn = ran("own", *TINY_ADAPTER, *data, f"base={tmp_path / 'base'}", "adapter=full")
    for stage, taken in (
        ("denoiser", "denoiser"),
        ("autoencoder", "autoencoder"),
        ("base_latents", "latents"),
    ):
        assert (own[stage]["key"], own[stage]["status"]) == (theirs[taken]["key"], "cached")
    assert own["latents"]["key"] != theirs["latents"]["key"]
    assert drawn.shape == (20, 1, 16, 16)
    assert "The adapter through training" in (tmp_path / "own" / "report.html").read_text()


@pytest.mark.slow
def test_a_study_of_any_base_adapts_a_run_with_convolutions_too(ran, tmp_path):
    ran("base", *TINY, *LATENT)
    words = [word for word in TINY_ADAPTER[1:] if not word.startswith("judge.")]
    data = ("data=digits", "data.size=16", "data.held_out_per_class=20")
    own, drawn = ran("style", "experiment=lora_style", *words, *data, f"base={tmp_path / 'base'}")
    assert {own[stage]["status"] for stage in ("denoiser", "autoencoder", "base_latents")} == {"cached"}
    names = read_names(Path(own["adapter"]["path"]) / FILE)
    assert any("conv_in.lora_A" in name for name in names)
    assert drawn.shape == (20, 1, 16, 16)
