"""Emoji, captions and latents, shrunk: a base learns one subject beside its class, or another style."""

import json
from itertools import combinations
from pathlib import Path

import pytest
import torch

from condiff.adapters.tensor_files import read_names
from condiff.config.compose import check, register
from condiff.data.dataset import ShardDataset
from condiff.data.picture_sets import open_pictures
from condiff.data.sides import OF_CLASS
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.finished_adapters import FILE
from condiff.stages.pictures import load_pictures
from condiff.stages.stage import PICTURES_MADE
from condiff.stages.study import STAGES
from tests.smoke.conftest import ROOT

SOME = "[1f600,1f601,1f602,1f603,1f408,1f34e,1f34f,1f436]"
TINY = (
    *("logger.wandb=off", "runtime.accelerator=cpu", "num_samples=4"),
    *("data.size=16", "base_data.size=16", "base_data.held_out=0.3", f"base_data.only={SOME}"),
    *("autoencoder.trainer.steps=2", "autoencoder.network.width=16", "autoencoder.trainer.batch_size=4"),
    *("trainer.steps=2", "trainer.batch_size=4", "network.widths=[8,16]", "network.head_width=8"),
    *("network.attention=[false,true]", "network.text_map=2", "conditioner.whitened=4"),
    *("adapter.trainer.steps=2", "adapter.trainer.batch_size=4", "adapter.optimizer.lr=0.1"),
    "sampler.steps=2",
    "stages=[data,texts,autoencoder,latents,denoiser,samples]",
)


SUBJECT = ("experiment=dreambooth_emoji", *TINY)
PRIOR = ("prior.num=4", "prior.sampler.steps=2")
STYLE = ("experiment=lora_emoji", *TINY, "data.held_out=0.3", f"data.only={SOME}")


@pytest.fixture
def ran(tmp_path, cache):
    """Runs with overrides; gives the stages that it leaves."""
    register()

    def run(folder, *argv):
        names = [stage.name for stage in STAGES]
        (cfg,) = check([*argv, f"runtime.cache={cache}"], ROOT / "conf", names) or []
        run_study(cfg, tmp_path / folder, Interrupts())
        return json.loads((tmp_path / folder / "stages.json").read_text())

    return run


def test_a_subject_is_learned_beside_what_the_base_draws_of_its_class(ran, tmp_path):
    made = ran("own", *SUBJECT, *PRIOR)
    assert {"base_data", "base_texts", "base_latents", "prior", "prior_latents", "adapter"} < {*made}
    place = Path(made["prior"]["path"])
    assert ShardDataset(place, "train").text(3) == "twemoji emoji of cat"
    keys = {*ShardDataset(Path(made["base_data"]["path"]), "train").keys}
    assert keys.isdisjoint(ShardDataset(Path(made["data"]["path"]), "train").keys)
    page = (tmp_path / "own" / "report.html").read_text()
    assert "What was taught" in page
    assert 'the 4 that the base drew of "twemoji emoji of cat"' in page.replace("&quot;", '"')
    plain = ran("plain", *SUBJECT, "prior=none")
    assert {name for name, stage in plain.items() if stage["status"] == "run"} == {"adapter", "samples"}


def test_a_class_is_drawn_beside_its_subject_as_it_is_alone_and_by_the_base(ran, tmp_path):
    """Of the same noise; and its pictures are shown."""
    alone = ("text=twemoji emoji of cat", "class_text=null")
    asked = {"subject": (), "class": alone, "class_of_base": (*alone, "adapter.scale=0")}
    made = {name: ran(name, *SUBJECT, "prior=none", *own) for name, own in asked.items()}
    drawn = {name: load_pictures(Path(own["samples"]["path"]) / PICTURES_MADE) for name, own in made.items()}
    for name in OF_CLASS:
        assert torch.equal(drawn["subject"][name], drawn[name]["image"])
    beside = open_pictures(str(tmp_path / "subject"), "images").beside()  # as task=evaluate finds them
    for name in OF_CLASS:
        ((found, _),) = beside[name].batches(4)
        assert torch.equal(found, drawn[name]["image"])
    images = [drawn[name]["image"] for name in asked]
    assert not any(torch.equal(one, other) for one, other in combinations(images, 2))
    pages = {name: (tmp_path / name / "report.html").read_text() for name in asked}
    assert [name for name, page in pages.items() if "The class of the subject" in page] == ["subject"]


def test_one_base_learns_a_subject_or_another_style(ran):
    subject, style = ran("subject", *SUBJECT, "prior=none"), ran("style", *STYLE)
    assert subject["denoiser"]["key"] == style["denoiser"]["key"]
    assert {style[name]["status"] for name in ("base_data", "denoiser", "autoencoder")} == {"cached"}
    texts = ShardDataset(Path(style["data"]["path"]), "train")
    assert texts.text(0).startswith("openmoji emoji of ")
    names = read_names(Path(style["adapter"]["path"]) / FILE)
    assert any("attn2.to_k.lora_A" in name for name in names)
    assert any("conv_in.lora_A" in name for name in names)
