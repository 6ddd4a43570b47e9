"""From data to a report, with the real configs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from condiff.config.compose import check
from condiff.data.packaged import Table
from condiff.data.source import DataInfo
from condiff.errors import ConfigError, DataError
from condiff.evaluation.features.weights import WeightFile
from condiff.stages.driver import can_be_measured, fits
from tests.smoke.conftest import LATENT, PIXELS, ROOT, TINY

ALL = ["data", "judge", "autoencoder", "latents", "denoiser", "samples", "metrics"]


def stages(folder):
    return json.loads((folder / "stages.json").read_text())


def statuses(folder):
    return {name: stage["status"] for name, stage in stages(folder).items()}


def drawn(folder):

    return load_file(Path(stages(folder)["samples"]["path"]) / "samples.safetensors")


def test_a_run_leaves_everything_and_a_second_one_makes_nothing(study):
    first = study()
    assert list(stages(first)) == ALL
    for stage in stages(first).values():
        assert set(stage) == {"key", "path", "status", "seconds"}
    metrics = json.loads((first / "metrics.json").read_text())
    assert set(metrics) == {"class_accuracy", "fd_judge_biased_n20", "fd_judge_floor"}
    for metric in metrics.values():
        assert set(metric) == {"value", "n", "protocol", "interval"}
    assert metrics["class_accuracy"]["n"] == 20
    rows = [json.loads(line) for line in (first / "log.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"judge", "autoencoder", "denoiser"}
    assert Image.open(first / "samples.png").width > 100
    page = (first / "report.html").read_text()
    assert "What does classifier-free guidance buy" in page
    assert "<script" not in page
    for name in ("config.yaml", "run.log"):
        assert (first / name).is_file()
    again = study(folder="again")
    assert set(statuses(again).values()) == {"cached"}
    assert json.loads((again / "metrics.json").read_text()) == metrics


def test_everything_that_can_be_measured_is(study):
    folder = study("metrics=full", "judge.network.feature_dim=6")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics) == 19
    assert "memorisation_judge_authenticity_floor" in metrics
    assert metrics["fd_judge"]["interval"] is not None
    assert {metric["n"] for name, metric in metrics.items() if "floor" not in name} == {20}
    assert "prdc judge coverage" in (folder / "report.html").read_text()


def test_features_of_a_package_measure_a_study_and_once_measured_it_needs_them_no_more(
    study, cache, monkeypatch
):
    chosen = ("metrics=efficientnet_lite0", "metrics.fd_efficientnet_lite0.extractor.resolution=32")
    metrics = json.loads((study(*chosen) / "metrics.json").read_text())
    assert set(metrics) == {
        "fd_efficientnet_lite0_biased_n20",
        "fd_efficientnet_lite0_biased_n180_floor",
        "kid_efficientnet_lite0",
        "diversity_efficientnet_lite0",
        "diversity_efficientnet_lite0_floor",
    }
    assert metrics["diversity_efficientnet_lite0"]["interval"] is not None
    monkeypatch.setattr(WeightFile, "find", lambda self, path: Path("gone"))
    argv = [*TINY, *LATENT, f"runtime.cache={cache}", *chosen]
    (cfg,) = check(argv, ROOT / "conf", ALL) or []
    can_be_measured(cfg, set())
    with pytest.raises(ConfigError, match=r"metrics\.fd_efficientnet_lite0\.extractor: gone cannot be read"):
        can_be_measured({**cfg, "num_samples": 21}, set())


def test_what_a_metric_refuses_is_told_under_its_name(study):
    refused = "metrics.fd_judge_floor: FrechetDistance needs at least 9999 held_out pictures, got 180"
    with pytest.raises(DataError, match=refused):
        study("+metrics.fd_judge_floor.least=9999")


def test_another_guidance_or_sampler_trains_nothing_and_shares_its_noise(study):
    study()
    plain = study("guidance.scale=1", "sampler.steps=1", folder="plain")
    assert {name for name, status in statuses(plain).items() if status != "cached"} == {"samples", "metrics"}
    fewer = study("guidance.scale=1", "sampler.steps=1", "num_samples=10", folder="fewer")
    assert np.array_equal(drawn(fewer)["image"], drawn(plain)["image"][:10])


def test_two_and_two_point_nought_are_one_study(study):
    study("guidance.scale=2")
    assert set(statuses(study("guidance.scale=2.0", folder="again")).values()) == {"cached"}


@pytest.mark.parametrize(
    "choices",
    [
        ("process=rectified_flow", "objective=velocity", "sampler=euler", "sampler.steps=3"),
        ("process=ve", "objective=edm", "sampler=heun_karras", "sampler.steps=3"),
        ("process=linear", "objective=eps", "sampler=ddpm", "sampler.steps=3"),
        (
            "process=linear",
            "objective=eps",
            "sampler=ancestral_learned",
            "network.learned_variance=true",
            "sampler.steps=3",
        ),
        ("process=scaled_linear", "objective=x0", "sampler=ddim", "sampler.steps=3"),
        ("network=unet_cross_attention", "guidance=cfg_interval", "sampler=heun", "sampler.steps=3"),
        ("guidance=chain", "objective=v"),
        ("guidance=none", "method.drop_condition=0"),
    ],
    ids=lambda choices: choices[0],
)
def test_every_choice_runs_in_pixels(study, choices):
    folder = study(*choices, "network.widths=[8,16]", "network.attention=[false,true]", space=PIXELS)
    assert list(stages(folder)) == ["data", "judge", "denoiser", "samples", "metrics"]
    assert drawn(folder)["image"].shape == (20, 1, 16, 16)


SECOND = {
    "weaker": ("guidance=autoguidance", "weaker.trainer.steps=2", "weaker.trainer.batch_size=8"),
    "classifier": (
        "guidance=classifier",
        "classifier.trainer.steps=2",
        "classifier.trainer.batch_size=8",
        "classifier.network.widths=[8,16]",
    ),
}


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize(
    "space", [LATENT, pytest.param(PIXELS, marks=pytest.mark.slow)], ids=["latents", "pixels"]
)
def test_a_guidance_trains_its_second_model_once_and_no_other_guidance_does(study, space, name):
    plain = study(space=space, folder="plain")
    assert name not in stages(plain)
    first = study(*SECOND[name], space=space)
    # at 4x4 latents the classifier of two levels still has places to pool
    assert statuses(first)[name] == "run"
    assert statuses(first)["denoiser"] == "cached"
    again = study(*SECOND[name], "guidance.scale=1.5", space=space, folder="again")
    assert {key for key, status in statuses(again).items() if status != "cached"} == {"samples", "metrics"}
    assert not np.array_equal(drawn(first)["image"], drawn(again)["image"])


def test_a_classifier_is_told_of_by_noise_level(study):
    run = study(*SECOND["classifier"])
    assert "classifier by noise level" in (run / "report.html").read_text()
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (last,) = (row for row in rows if row["stage"] == "classifier" and "accuracy_noise_00_10" in row)
    assert last["step"] == 2
    found = [value for name, value in last.items() if name.startswith("accuracy_noise_")]
    assert len(found) == 10
    key = json.loads((run / "stages.json").read_text())["classifier"]["key"]
    (measured,) = run.parents[1].rglob(f"classifier/{key}/classifier.json")
    assert json.loads(measured.read_text())["accuracy"] == found


def test_the_weaker_model_may_be_another_network(study):
    narrow = ("weaker=narrow", "weaker.network.widths=[8,8]", "weaker.network.head_width=8")
    folder = study(*SECOND["weaker"], *narrow)
    weak, strong = (
        load_file(Path(stages(folder)[name]["path"]) / "weights.safetensors")
        for name in ("weaker", "denoiser")
    )
    assert sum(map(np.size, weak.values())) < sum(map(np.size, strong.values()))


def test_a_variance_of_latents_is_learned_by_their_density(study, monkeypatch):
    def refuse(x):
        raise AssertionError("latents have no levels")

    monkeypatch.setattr("condiff.diffusion.variational.log_ndtr", refuse)
    folder = study("network.learned_variance=true", "sampler=ancestral_learned", "sampler.steps=3")
    assert drawn(folder)["image"].shape == (20, 1, 16, 16)


def test_samples_do_not_depend_on_how_many_are_drawn_at_a_time(study):
    settings = ("guidance.scale=3", "sampler=ddpm", "sampler.steps=3")
    whole = drawn(study(*settings))["image"]
    parts = study(*settings, "runtime.sample_batch=7", folder="parts", fresh=True)
    assert np.abs(drawn(parts)["image"].astype(int) - whole.astype(int)).max() <= 1  # rounding of one level


def pictures(folder, size=20, channels=3):
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for i in range(15):
            noise = rng.integers(0, 255, (size, size + 4, channels), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name / f"{i}.png")


def test_own_pictures_need_nothing_but_their_path(study, tmp_path):
    pictures(tmp_path / "own")
    folder = study("data=image_folder", f"data.path={tmp_path / 'own'}", "~data.size")
    # 20 pixels, rounded down to a multiple of 8
    assert drawn(folder)["image"].shape == (20, 3, 16, 16)
    assert set(drawn(folder)["label"].tolist()) == {0, 1}
    assert "image_folder" in (folder / "config.yaml").read_text()


def test_a_changed_picture_makes_everything_anew(study, tmp_path):
    pictures(tmp_path / "own")
    own = ("data=image_folder", f"data.path={tmp_path / 'own'}", "~data.size")
    before = stages(study(*own))
    Image.new("RGB", (20, 24)).save(tmp_path / "own" / "cats" / "3.png")
    after = stages(study(*own, folder="after"))
    assert all(before[name]["key"] != after[name]["key"] for name in before)


def test_wandb_that_cannot_be_reached_does_not_stop_a_study(study, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    folder = study("logger.wandb=auto")
    assert (folder / "report.html").is_file()
    assert "offline" in (folder / "run.log").read_text()


def test_wandb_is_offline_without_a_login(study, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    folder = study("logger.wandb=auto")
    assert list((folder / "wandb").glob("offline-run-*"))


def test_pictures_are_edited_and_each_is_measured_against_its_true_answer(study, monkeypatch):
    read = Table.read  # one digit of 25: of those there are, 10,000 pairs would be written and encoded
    monkeypatch.setattr(Table, "read", lambda table: [part[::25] for part in read(table)])
    tiny = ("experiment=instruct_pix2pix", "data=edits", "data.size=32", "data.held_out_per_class=2")
    folder = study(*tiny, fresh=True)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"psnr", "psnr_unedited", "edge_f1", "mask_iou", "class_accuracy"} <= metrics.keys()
    stored = drawn(folder)
    assert stored["source"].shape == stored["target"].shape == stored["image"].shape == (20, 1, 32, 32)
    assert "the true answer" in (folder / "report.html").read_text()
    pixels = study(*tiny, "data.size=28", folder="pixels", space=PIXELS, fresh=True)
    assert drawn(pixels)["image"].shape == (20, 1, 28, 28)


def test_a_picture_to_edit_is_refused_where_the_data_has_none():
    argv = [*TINY, *LATENT, "conditioner=label_and_picture"]
    (cfg,) = check(argv, ROOT / "conf", ALL) or []
    info = DataInfo(10, [*"0123456789"], 1, 16, 100, 10, has_text=False, source="", left_out=[])
    with pytest.raises(ConfigError, match="needs pictures that were made from others, and data is Digits"):
        fits(cfg, info)
