"""The command itself, in a process of its own."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condiff.data.detectors import Edges
from condiff.data.pictures import to_png
from condiff.data.shard_files import ShardFiles
from condiff.files import file_digest
from tests.smoke.conftest import ALONE, LATENT, ROOT, TINY, until
from tests.smoke.forks import NO_TORCH, Command


def start(folder, *argv, without=()):
    folder.mkdir(parents=True, exist_ok=True)
    return Command(folder, argv, without)


def told(folder, *argv, without=()):
    """Exit code, standard output and standard error."""
    process = start(folder, *argv, without=without)
    out, err = process.communicate()
    return process.returncode, out, err


def test_weights_that_are_not_there_are_told_without_torch(tmp_path):
    given = ("network=adm_256", "process=linear", "network.weights=gone.pt", "data=image_folder")
    study = ("experiment=cfg_latent", "stages=[data,denoiser,samples]", "data.path=pictures", "data.size=256")
    code, out, err = told(tmp_path / "cwd", *study, *given, "~autoencoder", without=NO_TORCH)
    assert (code, out) == (2, "")
    assert err.startswith("error[2]: network.weights: gone.pt is no file; give one in the layout of ADM's")
    assert err.count("\n") == 1


def test_help_needs_no_torch(tmp_path):
    """As a user starts it, which names all that is imported."""
    words = [sys.executable, "-X", "importtime", str(ROOT / "run.py"), "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "experiment=cfg_latent" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert "torch" not in imported
    assert all(line.startswith("import time:") for line in done.stderr.splitlines())
    assert not list(tmp_path.iterdir())


BAD = {
    "group": (2, ["experiment=cfg_latnt"], ["experiment", "cfg_latent"]),
    "no experiment": (2, [], ["cfg_latent"]),
    "key": (2, ["guidance.scal=2"], ["guidance.scal", "'scale'"]),
    "part": (2, ["gudance.scale=2"], ["gudance", "guidance"]),
    "type": (2, ["trainer.steps=many"], ["trainer.steps", "'many'"]),
    "range": (2, ["sampler.steps=0"], ["sampler.steps", ">= 1", "got 0"]),
    "eps at zero SNR": (
        2,
        ["objective=eps", "process=rectified_flow"],
        ["objective.parameterization", "process"],
    ),
    "no dropout": (2, ["method.drop_condition=0"], ["method.drop_condition", "guidance"]),
    "size": (2, ["data.size=30"], ["data.size", "multiple of 8", "30"]),
    "path": (3, ["data=image_folder", "data.path=absent"], ["data.path", "absent"]),
    "empty": (3, ["data=image_folder", "data.path=../empty"], ["data.path", "../empty"]),
    "undecodable": (3, ["data=image_folder", "data.path=../broken"], ["b.png"]),
    "label": (3, ["data=image_folder", "data.path=../labels", "data.num_classes=2"], ["label 7", "0..1"]),
    "class": (2, ["guidance=negative", "guidance.label=10"], ["guidance.label", "0..9", "got 10"]),
    "picture": (2, ["guidance=text_and_image"], ["guidance", "concat", "ClassLabel"]),
    "study": (2, ["experment=cfg_latent"], ["experment", "did you mean 'experiment'?"]),
    "no link": (
        2,
        ["guidance=chain", "guidance.links=[]"],
        ["guidance.links", "at least one", "guidance=none"],
    ),
    "no effect": (2, ["weaker=narrow"], ["weaker=narrow", "no effect", "guidance=autoguidance"]),
    "how often": (2, ["metrics.every=-5"], ["metrics.every", ">= 0", "got -5"]),
    "checkpoint": (2, ["trainer.keep=[9]", "checkpoint=7"], ["checkpoint", "trainer.keep=[9]", "got 7"]),
    "class null": (2, ["guidance=negative", "guidance.label=null"], ["guidance.label: is null"]),
    "classes": (2, ["guidance=composition", "guidance.scales=[1.0,2.0]"], ["guidance.labels", "as many as"]),
    "rise": (
        2,
        ["guidance=cfg_monotone", "guidance.schedule.scales=[1.0,3.0,2.0]"],
        ["only rise or only fall"],
    ),
    "sweep": (2, ["guidance.scale=1,two", "-m"], ["guidance.scale", "'two'"]),
    "target": (2, ["guidance._target_=os.system"], ["guidance._target_", "os.system"]),
}


@pytest.fixture
def bad_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("broken", "labels"):
        for kind in ("one", "two"):
            (tmp_path / name / kind).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(tmp_path / name / kind / "a.png")
    (tmp_path / "broken" / "one" / "b.png").write_bytes(b"no picture")
    rows = [{"file_name": "one/a.png", "label": 0}, {"file_name": "two/a.png", "label": 7}]
    (tmp_path / "labels" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_and_nothing_is_made(tmp_path, bad_folders, case):
    code, argv, words = BAD[case]
    study = [] if case in ("group", "no experiment") else ["experiment=cfg_latent"]
    got, out, err = told(tmp_path / "cwd", *study, *argv, without=NO_TORCH)
    lines = err.splitlines()
    assert got == code, err
    assert len(lines) == 1
    assert lines[0].startswith(f"error[{code}]: ")
    assert all(word in lines[0] for word in words), lines[0]
    assert out == ""
    assert not list((tmp_path / "cwd").iterdir())


RULES = "condiff.diffusion.guidance"
REHEARSED = {
    "layers": (["guidance=pag", "guidance.layers=[mid],[midd]", "-m"], "guidance.layers: no self-attention"),
    "order": (
        [
            "guidance=chain",
            f"guidance.links=[{{_target_: {RULES}.ClassifierFree, scale: 2.0}},"
            f"{{_target_: {RULES}.references.PerturbedAttention, scale: 2.0, layers: [mid]}}]",
        ],
        "first link of its chain",
    ),
}


@pytest.mark.parametrize("case", ["order", pytest.param("layers", marks=pytest.mark.slow)])
def test_what_cannot_be_sampled_is_one_line_before_any_job_starts(tmp_path, case):
    argv, said = REHEARSED[case]
    code, out, err = told(tmp_path / "cwd", "experiment=cfg_latent", *argv)
    assert code == 2, err
    assert len(err.splitlines()) == 1
    assert err.startswith("error[2]: guidance")
    assert said in err
    assert out == ""
    assert not list((tmp_path / "cwd").iterdir())


WITHOUT = {
    "fid": ["metrics.fid.extractor", "inception-2015-12-05-6726825d.pth", "6726825d0af5f729", "put it"],
    "dinov2": ["metrics.fd_dinov2.extractor", "facebook/dinov2-large", "path=FOLDER"],
    "clip": ["metrics.cmmd.extractor", "openai/clip-vit-large-patch14-336", "path=FOLDER"],
    "lpips": ["metrics.lpips_diversity.distance", "vgg16-397923af.pth", "397923af8e79cdbb", "put it"],
}


@pytest.mark.parametrize("choice", WITHOUT)
def test_weights_that_are_not_there_are_told_before_anything_is_made(tmp_path, monkeypatch, choice):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME", raising=False)
    code, out, err = told(tmp_path / "cwd", "experiment=cfg_latent", "data=digits", f"metrics={choice}")
    (line,) = err.splitlines()
    assert (code, out) == (2, "")
    assert all(word in line for word in WITHOUT[choice]), line
    assert not list((tmp_path / "cwd").iterdir())


def test_every_mistake_is_told_at_once(tmp_path):
    argv = ("experiment=cfg_latent", "guidance.scal=2", "sampler.steps=0", "network=unett", "data.size=30")
    code, _, err = told(tmp_path / "cwd", *argv, without=NO_TORCH)
    assert code == 2
    for word in ("guidance.scal", "sampler.steps", "network=unett", "data.size"):
        assert sum(word in line.split(":")[1] for line in err.splitlines()) == 1, err


def test_a_typo_inside_a_yaml_is_named(tmp_path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(
        "# @package _global_\nname: own\nstages: [data, judge]\nguidance:\n  scall: 3.0\n"
    )
    code, _, err = told(
        tmp_path / "cwd", "--config-dir", str(folder.parent), "experiment=own", without=NO_TORCH
    )
    assert code == 2
    assert "guidance.scall" in err
    assert len(err.splitlines()) == 1


def tiny(tmp_path, *argv):
    return [*TINY, *LATENT, f"runtime.cache={tmp_path / 'cache'}", *argv]


def weights(folder):
    path = Path(json.loads((folder / "stages.json").read_text())["denoiser"]["path"])
    return [file_digest(path / name) for name in ("weights.safetensors", "ema.safetensors")]


def test_pictures_that_are_there_are_measured_like_the_samples_of_the_study(tmp_path):
    """A finished run, and its statistics of the data, once more and by another task."""
    code, _, err = told(tmp_path, *tiny(tmp_path, "hydra.run.dir=run"))
    assert code == 0, err
    own = [text for text in TINY if text.startswith(("data", "judge", "logger", "runtime"))]
    own += [f"runtime.cache={tmp_path / 'cache'}", "metrics=judged"]
    code, out, err = told(
        tmp_path, "task=evaluate", "images=run", "reference=data", *own, "hydra.run.dir=again"
    )
    assert code == 0, err
    expected, found = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("run", "again")
    )
    assert {k: (v["value"], v["n"]) for k, v in found.items()} == {
        k: (v["value"], v["n"]) for k, v in expected.items()
    }
    assert "judge" in out
    assert "What was measured" in (tmp_path / "again" / "report.html").read_text()
    code, out, err = told(tmp_path, "task=statistics", "reference=data", *own, "hydra.run.dir=moments")
    assert code == 0, err
    assert f"statistics: {tmp_path / 'moments' / 'fd_judge.npz'}" in out


def test_prepared_shards_are_read_with_their_hints(tmp_path):
    """A picture and its hint under one key, by a task that leaves them in the run folder."""
    own = ["data=hinted_edges", "data@data.pictures=shapes", "data.pictures.num_train=5"]
    own += ["data.pictures.num_held_out=3", f"runtime.cache={tmp_path / 'cache'}", "hydra.run.dir=run"]
    code, out, err = told(tmp_path, "task=prepare", *own, without=NO_TORCH)
    assert code == 0, err
    left = tmp_path / "run" / "shards"
    assert f"shards: {left}: 5 pictures to train on, 3 held out" in out
    assert f"data=shards data.path={left} data.size=32" in out
    source = ShardFiles(str(left))
    assert (source.info().num_held_out, source.info().control) == (3, 1)
    for example in source.examples("held_out"):
        assert np.array_equal(example.control, Edges()(example))
    code, _, err = told(tmp_path, "task=prepare", "data=mnist", "control=canny", without=NO_TORCH)
    assert code == 2
    assert "where nothing is drawn; hints are made with data=hinted_canny, hinted_edges" in err


@pytest.mark.slow
def test_a_finished_edit_is_measured_against_its_own_answers(tmp_path):
    argv = ["experiment=instruct_pix2pix", "data=edits", "data.size=32", "data.held_out_per_class=1"]
    code, _, err = told(tmp_path, *tiny(tmp_path, *argv, "metrics=paired", "hydra.run.dir=run"))
    assert code == 0, err
    evaluate = ["task=evaluate", "images=run", "reference=run", "metrics=paired", "logger.wandb=off"]
    code, _, err = told(tmp_path, *evaluate, f"runtime.cache={tmp_path / 'cache'}", "hydra.run.dir=again")
    assert code == 0, err
    expected, found = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("run", "again")
    )
    assert {name: entry["value"] for name, entry in found.items()} == {
        name: entry["value"]
        for name, entry in expected.items()
        if name not in ("class_accuracy", "condition_use", "source_use")
    }
    assert found["psnr"]["protocol"].endswith("; samples: 20 of run; targets: 20 of run, targets")


def test_the_flag_of_a_sweep_may_stand_anywhere(tmp_path):
    code, _, err = told(tmp_path, "experiment=cfg_latent", "-m", "guidance.scal=1,2", without=NO_TORCH)
    assert code == 2
    assert "did you mean 'scale'" in err


EVALUATIONS = {
    "no images": ("images: is required; give a folder or an .npz, images=...", ["reference=."], 2),
    "no such folder": ("reference: gone does not exist; give a folder", ["images=.", "reference=gone"], 3),
    "needless": (
        "images: has no effect here",
        ["task=statistics", "images=.", "reference=."],
        2,
    ),
}


@pytest.mark.parametrize("case", EVALUATIONS)
def test_an_evaluation_that_cannot_be_is_one_line(tmp_path, case):
    said, argv, expected = EVALUATIONS[case]
    (tmp_path / "1.png").write_bytes(to_png(np.zeros((8, 8), np.uint8)))
    code, out, err = told(tmp_path, "task=evaluate", *argv)
    assert (code, out, len(err.splitlines())) == (expected, "", 1), err
    assert said in err


def trained(tmp_path, steps, *argv):
    """The command of a denoiser, and of nothing else but its data."""
    words = (*ALONE, f"trainer.steps={steps}", "hydra.run.dir=run")
    return [*TINY, *words, f"runtime.cache={tmp_path / 'cache'}", *argv]


def killed_until_done(tmp_path, kills, steps, rng):
    """Weights of a run that is killed at random times of its denoiser's training, and begun again."""
    argv = trained(tmp_path, steps, "runtime.checkpoint_seconds=0.02")
    begun = 0
    while begun < kills:
        process = start(tmp_path / "killed", *argv)
        seen = sorted((tmp_path / "cache" / "denoiser").glob(".*.work/checkpoints/step=*.safetensors"))
        while process.poll() is None:
            now = sorted((tmp_path / "cache" / "denoiser").glob(".*.work/checkpoints/step=*.safetensors"))
            if now and now != seen:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        if process.poll() is not None:
            pytest.fail(f"the training ended before it was killed {kills} times: {process.communicate()[1]}")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        begun += 1
    code, out, err = told(tmp_path / "killed", *argv)
    assert code == 0, err
    assert "resumed" in out
    return weights(tmp_path / "killed" / "run")


def uninterrupted(tmp_path, steps):
    code, _, err = told(tmp_path / "whole", *trained(tmp_path / "whole", steps))
    assert code == 0, err
    return weights(tmp_path / "whole" / "run")


def test_killed_and_begun_again_it_ends_bit_for_bit_the_same(tmp_path):
    assert killed_until_done(tmp_path, 2, 120, random.Random(0)) == uninterrupted(tmp_path, 120)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_twenty_kills_end_bit_for_bit_the_same(tmp_path, seed):
    assert killed_until_done(tmp_path, 20, 1000, random.Random(seed)) == uninterrupted(tmp_path, 1000)


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    argv = trained(tmp_path, 150, "trainer.log_every=1")
    process = start(tmp_path / "cwd", *argv)
    logs = (tmp_path / "cache" / "denoiser").glob
    until(lambda: process.poll() is not None or any(log.stat().st_size for log in logs(".*.work/log.jsonl")))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "stopped by SIGTERM; go on with: python" in err
    code, out, err = told(tmp_path / "cwd", *argv)
    assert code == 0, err
    assert "resumed" in out


@pytest.mark.slow
def test_four_jobs_at_once_train_each_stage_once(tmp_path):
    jobs = [start(tmp_path / "cwd", *tiny(tmp_path, f"hydra.run.dir=run{i}")) for i in range(4)]
    for job in jobs:
        _, err = job.communicate(timeout=600)
        assert job.returncode == 0, err
    runs = [json.loads((tmp_path / "cwd" / f"run{i}" / "stages.json").read_text()) for i in range(4)]
    for name in runs[0]:
        assert sorted(run[name]["status"] for run in runs) == ["cached", "cached", "cached", "run"], name
