"""Studies that take a base of any kind, on a denoiser of text that was trained here."""

import json
from pathlib import Path

import pytest
from choices import CONF
from safetensors.torch import load_file

from condiff.adapters.tensor_files import read_header
from condiff.config.compose import check
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.finished_adapters import FILE
from tests.smoke.adapting import NAMES, pictures
from tests.smoke.test_text_study import TEXT

SMALL = (
    *("num_samples=2", "sampler.steps=2", "adapter.trainer.steps=2", "adapter.trainer.batch_size=4"),
    *("logger.wandb=off", "logger.pictures_every=0", "runtime.accelerator=cpu"),
)
# What each is told besides, where its pictures are, and what the header of its file begins with.
STUDIES = {
    "lora_style": ((), "data", "condiff_adapter"),
    "dreambooth": (("prior.num=4", "prior.sampler.steps=2"), "data", "condiff_base"),
    "controlnet": (("metrics.every=0",), "data.pictures", "condiff_controlnet"),
}


@pytest.mark.slow
def test_one_name_adapts_a_denoiser_that_was_trained_here(study, tmp_path, cache):
    base = study(*TEXT, folder="base")
    pictures(tmp_path / "pictures")
    taken = json.loads((base / "stages.json").read_text())
    for name, (more, data, header) in STUDIES.items():
        given = (f"base={base}", f"{data}.path={tmp_path / 'pictures'}", f"{data}.held_out=0.25")
        words = (f"experiment={name}", *given, *more, *SMALL, f"runtime.cache={cache}")
        (cfg,) = check([*words], CONF, NAMES) or []
        run_study(cfg, tmp_path / name, Interrupts())
        made = json.loads((tmp_path / name / "stages.json").read_text())
        assert made["denoiser"]["key"] == taken["denoiser"]["key"]
        assert any(key.startswith(header) for key in read_header(Path(made["adapter"]["path"]) / FILE)), name
        drawn = load_file(Path(made["samples"]["path"]) / "samples.safetensors")["image"]
        assert drawn.shape == (2, 3, 32, 32)
