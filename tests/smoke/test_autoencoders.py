"""Studies of autoencoders, with the real configs shrunk: trained, decoded from, measured and diffused on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from condiff.autoencoders.space import is_certain, mode
from condiff.config.build import build
from condiff.config.compose import check, read_command, register
from condiff.data.dataset import ShardDataset
from condiff.errors import ConfigError
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.study import STAGES
from condiff.stages.weights import load_weights
from condiff.sweeps.sweep import run_sweep
from tests.smoke.conftest import ROOT

TINY = (
    "data=digits",
    "data.size=16",
    "judge.trainer.steps=3",
    "judge.trainer.batch_size=16",
    "autoencoder.network.width=16",
    "autoencoder.trainer.steps=6",
    "autoencoder.trainer.batch_size=8",
    "+autoencoder.trainer.log_every=2",
    "autoencoder.method.adversary.start=4",
    "autoencoder.method.adversary.width=16",
    "num_samples=40",
    "logger.wandb=off",
    "runtime.accelerator=cpu",
)
LATENT = (
    "trainer.steps=4",
    "trainer.batch_size=8",
    "network.widths=[8,16]",
    "network.attention=[false,false]",
    "sampler.steps=3",
)
# A network without a codebook, to be trained as if it had one.
PLAIN = (
    "autoencoder=vq",
    "autoencoder.network._target_=condiff.autoencoders.compact.CompactKL",
    "~autoencoder.network.codebook",
)


@pytest.fixture
def run(cache, tmp_path):
    register()

    def made(experiment, *overrides):
        argv = [f"experiment={experiment}", *TINY, f"runtime.cache={cache}", *overrides]
        (cfg,) = check(argv, ROOT / "conf", [stage.name for stage in STAGES])
        folder = tmp_path / "run"
        run_study(cfg, folder, Interrupts())
        return folder

    return made


def stages(folder):
    return json.loads((folder / "stages.json").read_text())


def of_stage(folder, stage, name):
    return Path(stages(folder)[stage]["path"]) / name


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_what_an_autoencoder_keeps_of_held_out_pictures_is_measured(run, kind):
    folder = run(f"autoencoder_{kind}")
    assert list(stages(folder)) == ["data", "judge", "autoencoder", "reconstructions", "metrics"]
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("psnr", "ssim", "class_accuracy", "rfd_judge_biased_n40", "fd_judge_biased_n40"):
        assert metrics[name]["n"] == 40
    assert metrics["rfd_judge_biased_n40"]["interval"] is None  # its pictures and their answers go together
    assert metrics["fd_judge_biased_n40"]["interval"] is not None
    made = load_file(of_stage(folder, "reconstructions", "samples.safetensors"))
    assert made["image"].shape == made["target"].shape == (40, 1, 16, 16)
    error = (made["image"].astype(float) - made["target"]) / 255
    assert metrics["psnr"]["value"] == pytest.approx(-10 * np.log10(np.mean(error**2)), abs=1e-3)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    own = {row["step"]: row for row in rows if row["stage"] == "autoencoder"}
    assert ["adversarial" in own[step] for step in (2, 4, 6)] == [False, False, True]
    found = json.loads(of_stage(folder, "autoencoder", "autoencoder.json").read_text())
    page = (folder / "report.html").read_text()
    if kind == "vq":
        assert 0 < own[6]["codes_used"] <= 1
        assert 1 <= found["perplexity"] <= found["codes"] * found["codes_used"] + 1e-3
        assert "1024 codes" in page
        assert metrics["perplexity"]["value"] == found["perplexity"]
        assert metrics["codes_used"]["protocol"] == "share of 1024 codes that held-out pictures choose"
    else:
        assert found["kl_per_dimension"] > 0
        assert "nats of KL a dimension" in page
        assert metrics["kl_per_dimension"]["value"] == found["kl_per_dimension"]
        assert "perplexity" not in metrics
    assert "Pictures and their reconstructions" in page
    assert Image.open(folder / "samples.png").width > 100


@pytest.mark.parametrize("kind", [pytest.param("kl_f4", marks=pytest.mark.slow), "vq_f4"])
def test_those_of_latent_diffusion_learn_with_all_that_is_theirs(cache, tmp_path, kind):
    """Diffusers' layers of a few channels, trained as their yaml has it but for its size, start and rate."""
    register()
    words = (
        *(word for word in TINY if not word.startswith(("autoencoder", "+autoencoder"))),
        *("experiment=autoencoder_kl", f"autoencoder={kind}", "metrics=reconstructed_features"),
        *("stages=[data,autoencoder]", f"runtime.cache={cache}"),
        *("autoencoder.network.widths=[32,32,32]", "autoencoder.network.blocks=1"),
        *("autoencoder.trainer.steps=8", "autoencoder.trainer.batch_size=8", "autoencoder.optimizer.lr=2e-3"),
        *("+autoencoder.trainer.log_every=1", "autoencoder.method.adversary.start=6"),
        *("autoencoder.method.adversary.width=16", "autoencoder.method.adversary.halvings=1"),
    )
    (cfg,) = check([*words], ROOT / "conf", [stage.name for stage in STAGES])
    run_study(cfg, tmp_path, Interrupts())
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    own = {row["step"]: row for row in rows if row["stage"] == "autoencoder"}
    assert own[8]["psnr"] > own[1]["psnr"] + 1
    assert ["adaptive_weight" in own[step] for step in (6, 7, 8)] == [False, True, True]
    torch.manual_seed(0)
    begun = build(cfg["autoencoder"]["network"], "autoencoder.network", channels=1)
    learned = load_file(of_stage(tmp_path, "autoencoder", "weights.safetensors"))
    names = {name for name, parameter in begun.named_parameters() if parameter.requires_grad}
    still = {name for name in names if np.array_equal(learned[name], begun.state_dict()[name].numpy())}
    assert still == set()


def test_a_perceptual_distance_is_chosen_by_name_and_trained_by(run):
    plain, seen = (
        load_file(of_stage(run("autoencoder_kl", choice), "autoencoder", "weights.safetensors"))
        for choice in ("perceptual=none", "perceptual=efficientnet_lite0")
    )
    assert any((plain[name] != seen[name]).any() for name in plain)


def test_reconstructions_are_measured_in_features_without_a_judge(run):
    folder = run("autoencoder_kl", "metrics=reconstructed_features")
    assert "judge" not in stages(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {
        "psnr",
        "ssim",
        "distance_efficientnet_lite0",
        "rfd_efficientnet_lite0_biased_n40",
        "kl_per_dimension",
    }


def test_diffusion_runs_on_latents_that_are_not_yet_rounded_and_ends_in_codes(run):
    folder = run("cfg_latent", *LATENT, "autoencoder=vq", "metrics=judged")
    config = json.loads(of_stage(folder, "autoencoder", "manifest.json").read_text())["config"]
    torch.manual_seed(0)
    autoencoder = build(config["autoencoder"]["network"], "autoencoder.network", channels=1)
    load_weights(autoencoder, of_stage(folder, "autoencoder", "manifest.json").parent)
    pictures = ShardDataset(Path(stages(folder)["data"]["path"]), "train").__getitems__([(0, 0, 5)])
    cached = ShardDataset(Path(stages(folder)["latents"]["path"]), "train").__getitems__([(0, 0, 5)])
    with torch.no_grad():
        latents = autoencoder.encoded(pictures["image"])
        torch.testing.assert_close(mode(cached["moments"]), latents, rtol=1e-4, atol=1e-5)
        assert is_certain(cached["moments"])
        rounded = autoencoder.codebook.lookup(autoencoder.codebook.nearest(latents))
        assert (latents - rounded).abs().max() > 1e-3
        torch.testing.assert_close(autoencoder.decode(latents), autoencoder.decoded(rounded))
        assert (autoencoder.decoded(latents) - autoencoder.decoded(rounded)).abs().max() > 1e-4
    samples = load_file(of_stage(folder, "samples", "samples.safetensors"))
    assert samples["image"].shape == (40, 1, 16, 16)
    assert json.loads((folder / "metrics.json").read_text())["class_accuracy"]["n"] == 40


def test_a_sweep_compares_autoencoders_on_the_same_pictures(cache, tmp_path, monkeypatch):
    register()
    monkeypatch.chdir(tmp_path)
    words = ["-m", "experiment=autoencoder_kl", *TINY, "autoencoder.method.adversary.weight=0,0.5"]
    command = read_command(
        [*words, f"runtime.cache={cache}"], ROOT / "conf", [stage.name for stage in STAGES]
    )
    assert run_sweep(command, "run.py", Interrupts()) == 0
    (ledger,) = tmp_path.rglob("sweep.json")
    page = (ledger.parent / "comparison.html").read_text()
    assert "psnr" in page
    jobs = sorted(folder for folder in ledger.parent.iterdir() if (folder / "stages.json").is_file())
    targets = [load_file(of_stage(job, "reconstructions", "samples.safetensors"))["target"] for job in jobs]
    assert len(jobs) == 2
    assert np.array_equal(*targets)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("autoencoder.trainer.steps=4",), r"start: must be below autoencoder.trainer.steps=4, got 4"),
        (("data.size=18",), r"data.size: must be a multiple of 4 \(autoencoder 4\), got 18"),
        (("autoencoder.method.adversary.halvings=3",), r"halvings: 3 needs pictures of at least 24 pixels"),
        (PLAIN, r"autoencoder.method: must be AutoencoderKL where the network, CompactKL, has no codebook"),
        (("stages=[data,autoencoder,metrics]",), r"metrics needs samples or reconstructions"),
        (("metrics=paired",), r"metrics.psnr_unedited: compares sources"),
    ],
)
def test_what_cannot_work_is_told_before_anything_runs(run, words, said):
    with pytest.raises(ConfigError, match=said):
        run("autoencoder_kl", *words)


def test_own_pictures_too_small_for_the_discriminator_are_told_and_trained_on_without_it(run, tmp_path):
    torch.manual_seed(0)
    for name in "ab":
        (tmp_path / "own" / name).mkdir(parents=True)
        for k in range(6):
            pixels = torch.randint(0, 255, (8, 8, 3), dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{k}.png")
    words = ("data=image_folder", f"data.path={tmp_path / 'own'}", "data.size=null")
    with pytest.raises(ConfigError, match=r"halvings: 2 needs pictures of at least 12 pixels .* have 8;"):
        run("autoencoder_kl", *words)
    alone = ("autoencoder.method.adversary=null", "data.held_out=0.5", "metrics=reconstructed_features")
    folder = run("autoencoder_kl", *words, *alone, "stages=[data,autoencoder,reconstructions]")
    made = load_file(of_stage(folder, "reconstructions", "samples.safetensors"))
    assert made["image"].shape == made["target"].shape
    assert made["image"].shape[1:] == (3, 8, 8)


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_own_pictures_in_colour_and_without_labels_go_through_either_to_metrics(run, tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    (tmp_path / "own").mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "own" / f"{number}.png")
    own = ("data=image_folder", f"data.path={tmp_path / 'own'}", "data.size=null", "data.held_out=0.5")
    folder = run(f"autoencoder_{kind}", *own, "metrics=reconstructed_features")
    assert list(stages(folder)) == ["data", "autoencoder", "reconstructions", "metrics"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["psnr"]["n"] == metrics["ssim"]["n"] >= 2
    assert any(name.startswith("rfd_") for name in metrics)
    made = load_file(of_stage(folder, "reconstructions", "samples.safetensors"))
    assert made["image"].shape[1:] == (3, 16, 16)
    if kind == "vq":
        with pytest.raises(ConfigError, match=r"needs labelled data.*use .*metrics=reconstructed_features"):
            run("autoencoder_vq", *own)
