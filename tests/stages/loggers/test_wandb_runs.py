"""What a run says to wandb, read back from its own files."""

from dataclasses import replace

import pytest
from PIL import Image

from condiff.data.dataset import ShardDataset
from condiff.errors import EnvironmentFault
from condiff.stages.loggers.logger import Loggers
from condiff.stages.loggers.wandb_runs import Wandb, flat, study_id
from condiff.stages.stage import Runtime
from condiff.stages.training import fit
from tests.stages import small
from tests.stages.loggers.conftest import lines, records, run_of


def whole(loggers, told, training, outcome, rows):
    """A study with one training, from its start to its end."""
    loggers.start(told)
    loggers.begin(training)
    for step, values in rows.items():
        loggers.scalars(step, values)
    Image.new("L", (4, 4)).save(told.folder / "p.png")
    loggers.picture(max(rows), told.folder / "p.png")
    loggers.end()
    Image.new("L", (4, 4)).save(outcome.samples)
    loggers.result(outcome)
    loggers.finish(0)


ROWS = {
    50: {"loss": 2.0, "accuracy": 0.5, "images_per_second": 10.0, "lr": 0.1},
    100: {"loss": 1.0, "accuracy": 0.4, "images_per_second": 30.0, "lr": 0.2},
    150: {"loss": 1.5, "accuracy": 0.3, "images_per_second": 20.0, "lr": 0.3},
}


@pytest.fixture
def runs(settings, told, training, outcome):
    whole(Wandb(settings), told, training, outcome, ROWS)
    return told.folder


def test_a_training_is_a_run_of_its_own_with_its_curve_and_its_best(runs):
    folder = run_of(runs, "denoiser-k1")
    (run,) = records(folder, "run")
    assert (run["run_id"], run["job_type"], run["run_group"]) == ("denoiser-k1", "denoiser", "small")
    assert run["tags"] == ["a"]
    config = run["config"]["update"]
    assert (config["seed"], config["model"], config["commit"]) == (3, {"parameters": 12}, "c0ffee")
    losses = [row for row in records(folder, "history") if "loss" in row["item"]]
    curve = [(int(row["step"]["num"]), row["item"]["loss"]) for row in losses]
    assert curve == [(50, 2.0), (100, 1.0), (150, 1.5)]
    summary = {k: v for part in records(folder, "summary") for k, v in part["update"].items()}
    assert summary["loss"] == {"min": 1.0, "last": 1.5}
    assert summary["accuracy"] == {"max": 0.5, "last": 0.3}
    assert summary["images_per_second"] == {"mean": 20.0}
    assert summary["lr"] == 0.3
    assert len(list((folder / "files" / "media" / "images").iterdir())) == 1


def test_the_study_is_a_run_with_its_config_and_every_metric_with_count_and_interval(runs, told):
    folder = run_of(runs, study_id(told, None))
    (run,) = records(folder, "run")
    assert (run["job_type"], run["run_group"], run["display_name"]) == ("study", "small", "small")
    config = run["config"]["update"]
    assert config["guidance"] == {"scale": 2}
    assert config["stage_keys"] == {"data": "d1", "denoiser": "k1"}
    summary = {k: v for part in records(folder, "summary") for k, v in part["update"].items()}
    expected = {"fd_judge": 3.5, "fd_judge/n": 20, "fd_judge/low": 3, "fd_judge/high": 4}
    assert expected.items() <= summary.items()
    assert (summary["fd_floor"], "fd_floor/low" in summary) == (1, False)


def test_a_metric_without_an_interval_has_no_ends():
    assert flat({"a": {"value": 1.0, "n": 2, "interval": None}}) == {"a": 1.0, "a/n": 2}


def test_a_study_has_one_name_until_something_in_it_changes(told):
    again = replace(told, folder=told.folder / "elsewhere")
    assert study_id(told, None) == study_id(again, None)
    others = [
        study_id(replace(told, keys={"data": "d2"}), None),
        study_id(told, "sweep"),
        study_id(told, None),
    ]
    assert len({*others}) == 3


def test_a_group_that_is_given_is_the_group_of_all_runs(settings, told, training, outcome):
    whole(Wandb({**settings, "group": "sweep7"}), told, training, outcome, ROWS)
    for name in ("denoiser-k1", study_id(told, "sweep7")):
        assert records(run_of(told.folder, name), "run")[0]["run_group"] == "sweep7"


def test_weights_and_report_are_uploaded_only_if_asked(settings, told, training, outcome, runs):
    assert records(run_of(runs, study_id(told, None)), "artifact") == []
    folder = told.folder / "artifact" / "k1"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"w")
    outcome.report.write_text("page")
    asked, other = (
        {**settings, "artifacts": True, "group": "other"},
        replace(outcome, trained={"denoiser": folder}),
    )
    whole(Wandb(asked), told, replace(training, key="k2"), other, ROWS)
    found = records(run_of(told.folder, study_id(told, "other")), "artifact")
    contents = {item["name"]: [file["path"] for file in item["manifest"]["contents"]] for item in found}
    assert contents == {
        "denoiser-k1": ["weights.safetensors"],
        f"run-{study_id(told, 'other')}": ["report.html", "samples.png"],
    }


def test_a_folder_that_cannot_be_written_to_costs_a_line(settings, told, training, outcome, caplog):
    (told.folder / "wandb").write_text("in the way")
    loggers = Loggers([Wandb(settings)])
    whole(loggers, told, training, outcome, ROWS)
    assert loggers.loggers == []
    (line,) = lines(caplog)
    assert line.startswith("Wandb is left out from here on: ")
    assert f"wandb sync --include-online {told.folder}/wandb/*run-*" in line


def test_required_without_a_login_ends_before_anything_is_trained(settings, told):
    with pytest.raises(EnvironmentFault, match=r"logger\.required: wandb has no login; wandb login"):
        Loggers([Wandb({**settings, "required": True})]).start(told)


def test_the_curve_of_a_fidelity_and_the_step_since_which_it_is_obeyed_are_there(
    settings, told, training, outcome, tmp_path
):
    curve = {2: 0.2, 4: 0.8, 6: 0.9}
    looks, wandb = iter(curve.values()), Wandb(settings)
    wandb.start(told)
    runtime = Runtime(
        accelerator="cpu",
        began=lambda *_: wandb.begin(training),
        log=lambda _, step, values: wandb.scalars(step, values),
        ended=lambda _: wandb.end(),
    )
    data = ShardDataset(small.digits(tmp_path / "data").path, "train")
    (tmp_path / "out").mkdir()

    def measure(_):
        return {"iou": next(looks), "iou_real": 1.0, "iou_shuffled": 0.1}

    fit("adapter", small.method(6), data, runtime, tmp_path / "out", measure, every=2)
    wandb.result(replace(outcome, since={"iou_obeyed_since": 4.0}))
    wandb.finish(0)
    folder = run_of(told.folder, "denoiser-k1")
    items = [(int(row["step"]["num"]), row["item"]) for row in records(folder, "history")]
    assert {step: item["iou"] for step, item in items if "iou" in item} == curve
    assert [(step, item["iou_obeyed_since"]) for step, item in items if "iou_obeyed_since" in item] == [
        (6, 4)
    ]
    summary = {k: v for part in records(folder, "summary") for k, v in part["update"].items()}
    assert summary["iou_obeyed_since"] == {"min": 4, "last": 4}
    study = run_of(told.folder, study_id(told, None))
    assert any(part["update"].get("iou_obeyed_since") == 4 for part in records(study, "summary"))
