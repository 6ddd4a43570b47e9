"""One name for studies on bases of any kind: what it chooses for each, but where the command says more."""

import json

import pytest
import yaml
from composed import checked, told

from tests.config.pipelines import SD, SD3, XL, left

NAMES = {"lora_style": "data.path=pictures", "dreambooth": "data.path=pictures"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "scale", "sampler", "size", "layers"),
    [(SD, 7.5, "DDIM", 512, 4), (XL, 5.0, "DDIM", 1024, 4), (SD3, 7.0, "Euler", 1024, 8)],
    ids=["sd", "xl", "sd3"],
)
def test_a_pipeline_is_adapted_and_drawn_as_its_kind_is(name, kind, scale, sampler, size, layers, tmp_path):
    cfg = checked(f"experiment={name}", f"base={left(tmp_path, kind)}", NAMES[name])
    assert cfg["name"] == name
    assert "by_base" not in cfg
    assert (cfg["guidance"]["scale"], cfg["data"]["size"]) == (scale, size)
    assert cfg["sampler"]["_target_"].endswith(sampler)
    assert len(cfg["adapter"]["tuning"]["names"]) == layers
    if name == "dreambooth":
        assert cfg["prior"]["sampler"] == cfg["sampler"]
        trainer = cfg["adapter"]["trainer"]
        assert (trainer["steps"], trainer["batch_size"], trainer["accumulate"]) == (
            500,
            8,
            4,
        )  # 4 of the subject


def test_what_the_command_line_says_comes_first(tmp_path):
    base = f"base={left(tmp_path, SD)}"
    words = ("adapter=attention", "guidance.scale=3", "data.size=256", "sampler.steps=7")
    cfg = checked("experiment=lora_style", base, NAMES["lora_style"], *words)
    assert (cfg["guidance"]["scale"], cfg["data"]["size"], cfg["sampler"]["steps"]) == (3.0, 256, 7)
    assert cfg["adapter"]["tuning"]["rank"] == 8
    assert cfg["sampler"]["grid"]["_target_"].endswith("Leading")


def test_what_is_said_of_a_part_does_not_hold_of_another_choice_of_it(tmp_path):
    base = f"base={left(tmp_path, SD)}"
    full = "adapter=stable_diffusion_full_with_text"
    assert (
        checked("experiment=dreambooth", base, NAMES["dreambooth"], full)["adapter"]["trainer"]["steps"]
        == 800
    )
    plain = checked("experiment=lora_style", base, NAMES["lora_style"], "guidance=none")
    assert "scale" not in plain["guidance"]
    with_prior = checked("experiment=dreambooth", base, NAMES["dreambooth"], "sampler=dpmpp_2m")
    assert with_prior["prior"]["sampler"]["grid"]["_target_"].endswith("Leading")
    assert with_prior["sampler"]["_target_"].endswith("DPMSolverPP2M")


@pytest.mark.parametrize("name", ["dreambooth", "dreambooth_sdxl"])
def test_a_subject_is_learned_with_its_prior_or_without(name, tmp_path):
    words = (f"experiment={name}", f"base={left(tmp_path, XL)}", "data.path=pictures")
    cfg = checked(*words)
    prior = cfg["prior"]
    assert cfg["adapter"]["trigger"] == ["sks"]
    assert " sks " in cfg["data"]["caption"]
    assert (prior["num"], prior["text"], prior["guidance"]["scale"]) == (100, "a photo of a dog", 5.0)
    assert prior["sampler"]["_target_"].endswith("DDIM")
    assert cfg["adapter"]["trainer"]["batch_size"] == 8  # half of it the prior's
    assert {"prior", "prior_latents"}.isdisjoint(checked(*words, "prior=none")["stages"])


@pytest.mark.parametrize("name", ["dreambooth", "dreambooth_sdxl"])
def test_a_subject_of_a_large_base_is_measured_as_published_with_its_class(name, tmp_path):
    words = (f"experiment={name}", f"base={left(tmp_path, XL)}", "data.path=pictures")
    measured = ("metrics=subject_published_and_class", "stages=[data,denoiser,samples,metrics]")
    metrics = checked(*words, *measured, "class_text='a photo of a dog'")["metrics"]
    sides = {name: (own.get("fake"), own.get("real")) for name, own in metrics.items() if name != "every"}
    assert sides == {
        "subject_dinov2": ("samples", "train"),
        "subject_clip": ("samples", "train"),
        "clip_score": (None, None),
        "class_subject_dinov2": ("class", "train"),
        "class_of_base_subject_dinov2": ("class_of_base", "train"),
        "class_drift_lpips": ("class", "class_of_base"),
        "lpips_diversity": ("samples", None),
        "class_lpips_diversity": ("class", None),
        "class_of_base_lpips_diversity": ("class_of_base", None),
    }


def test_a_finished_run_is_adapted_as_small_bases_are(tmp_path):
    cfg = finished(tmp_path, "cfg_latent")
    own = checked("experiment=lora_style", f"base={tmp_path}", "data=image_folder", "data.path=pictures")
    assert own["adapter"]["tuning"]["kinds"] == ["linear", "conv"]
    assert own["network"] == cfg["network"]
    assert own["data"]["size"] == cfg["data"]["size"] == 32


def test_of_the_data_of_a_finished_base_nothing_is_fitted(tmp_path):
    finished(tmp_path, "cfg_latent_emoji", "conditioner=text_in_few")
    cfg = checked("experiment=dreambooth_emoji", f"base={tmp_path}")
    assert cfg["adapter"]["trigger"] == ["sks"]
    metrics = cfg["metrics"]
    assert "class_subject_fidelity" in metrics
    assert "text_alignment" not in metrics


def test_how_far_samples_are_from_a_bases_data_is_measured_where_these_are_there(tmp_path):
    finished(tmp_path, "cfg_latent")
    own, given = checked("experiment=lora_digits"), checked("experiment=lora_digits", f"base={tmp_path}")
    assert own["metrics"].keys() - given["metrics"].keys() == {"fd_of_base_judge"}
    fake_and_real = {side: own["metrics"]["fd_of_base_judge"][side] for side in ("fake", "real")}
    assert fake_and_real == {"fake": "samples", "real": "base"}
    (line,) = told("experiment=lora_digits", f"base={tmp_path}", "metrics=guided_and_base")
    assert line == (
        "metrics.fd_of_base_judge.real: must be train where there is no base_data, got base; leave it out,"
        " with ~metrics.fd_of_base_judge"
    )


def finished(folder, study, *settings):
    """The config of a run that is only said to be there."""
    cfg = checked(f"experiment={study}", *settings)
    (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
    made = {stage: {"key": f"key{stage}", "path": f"/gone/{stage}"} for stage in cfg["stages"]}
    (folder / "stages.json").write_text(json.dumps(made))
    return cfg


def test_a_kind_that_a_study_has_nothing_for_is_told_with_those_it_has(tmp_path):
    base = left(tmp_path, SD3)
    (line,) = told("experiment=controlnet", f"base={base}", "data.pictures.path=pictures")
    assert line == (
        f"base: {base} is a StableDiffusion3Pipeline, which this study has no settings for, only for run,"
        " StableDiffusionPipeline; give one of them"
    )
    (line,) = told("experiment=lora_style", "data.path=pictures")
    assert line.startswith(
        "base: names nothing; give the folder of one of these: run, StableDiffusionPipeline,"
    )
