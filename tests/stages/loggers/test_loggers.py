"""One face for every place a run is told of."""

import csv
import json
import logging

import pytest
from PIL import Image

from condiff.errors import EnvironmentFault
from condiff.stages.loggers import tensorboard
from condiff.stages.loggers.choose import chosen_loggers
from condiff.stages.loggers.directions import better
from condiff.stages.loggers.files import JsonLines, Tables
from condiff.stages.loggers.logger import Loggers
from condiff.stages.loggers.tensorboard import Tensorboard
from tests.stages.loggers.conftest import lines
from tests.stages.loggers.test_wandb_runs import ROWS, whole


class Broken(JsonLines):
    """A logger that fails at its second row."""

    def scalars(self, step, values):
        if step > 50:
            raise OSError("disk\nfull")


def test_a_logger_that_fails_is_told_once_and_the_others_go_on(told, training, outcome, caplog):
    loggers = Loggers([Broken(), Tables()])
    with caplog.at_level(logging.WARNING):
        whole(loggers, told, training, outcome, ROWS)
    assert lines(caplog) == ["Broken is left out from here on: disk"]
    assert [type(logger) for logger in loggers.loggers] == [Tables]
    with (told.folder / "log.denoiser.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [50, 100, 150]


def test_what_was_required_is_not_left_out(told):
    class Required(JsonLines):
        def start(self, told):
            raise EnvironmentFault("logger.required: not there")

    with pytest.raises(EnvironmentFault, match="not there"):
        Loggers([Required()]).start(told)


def test_rows_stand_in_log_jsonl_with_their_stage(told, training, outcome):
    whole(JsonLines(), told, training, outcome, ROWS)
    rows = [json.loads(line) for line in (told.folder / "log.jsonl").read_text().splitlines()]
    assert rows == [{"stage": "denoiser", "step": step, **values} for step, values in ROWS.items()]


def test_a_table_has_a_line_a_row_and_a_place_for_columns_that_come_later(told, training, outcome):
    whole(
        Tables(), told, training, outcome, {1: {"loss": 2.0}, 2: {"loss": 1.0, "fd": 7.0}, 3: {"loss": 0.5}}
    )
    assert (told.folder / "log.denoiser.csv").read_text() == "step,loss,fd\n1,2.0,\n2,1.0,7.0\n3,0.5,\n"
    assert (told.folder / "metrics.csv").read_text() == (
        "metric,value,n,low,high,protocol\nfd_judge,3.5,20,3.0,4.0,p\nfd_floor,1.0,18,,,p\n"
    )


def test_tensorboard_has_the_same_curves_pictures_and_results(told, training, outcome):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    whole(Tensorboard(), told, training, outcome, ROWS)
    folder = told.folder / "tensorboard"
    found = {name: EventAccumulator(str(folder / name)).Reload() for name in ("denoiser", "study")}
    curve = [(event.step, event.value) for event in found["denoiser"].Scalars("loss")]
    assert curve == [(50, 2.0), (100, 1.0), (150, 1.5)]
    assert [event.step for event in found["denoiser"].Images("pictures")] == [150]
    study = found["study"]
    values = {name: study.Scalars(name)[0].value for name in study.Tags()["scalars"]}
    judged = {"fd_judge/value": 3.5, "fd_judge/n": 20, "fd_judge/low": 3, "fd_judge/high": 4}
    assert values == {**judged, "fd_floor/value": 1, "fd_floor/n": 18}
    assert len(study.Images("samples")) == 1
    text = study.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "    guidance:\n      scale: 2.0" in text  # indented: a block of code, in which spaces count


def test_transparent_paper_is_white_in_tensorboard(tmp_path):
    Image.new("LA", (1, 1), (0, 0)).save(tmp_path / "p.png")
    assert tensorboard._pixels(tmp_path / "p.png").tolist() == [[[255, 255, 255]]]


def test_tensorboard_that_is_not_there_is_told_before_anything_runs(monkeypatch, settings):
    monkeypatch.setattr(tensorboard, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentFault, match=r'pip install -e "\.\[tensorboard\]"'):
        chosen_loggers({**settings, "csv": False, "tensorboard": True})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["JsonLines", "Wandb"]),
        ({"wandb": "off"}, ["JsonLines"]),
        ({"wandb": "off", "csv": True, "tensorboard": True}, ["JsonLines", "Tables", "Tensorboard"]),
    ],
)
def test_a_run_is_told_where_it_is_asked_to_be(settings, asked, expected):
    found = chosen_loggers({**settings, "csv": False, "tensorboard": False, **asked})
    assert [type(logger).__name__ for logger in found.loggers] == expected


DIRECTIONS = {
    "max": ["accuracy", "class_accuracy", "psnr", "is_judge", "prdc_judge_recall", "vendi_judge", "edge_f1"],
    "min": ["loss", "loss_noise_00_20", "kl", "error", "fd_judge_biased_n20", "fid", "kid_judge", "cmmd"],
    None: ["lr", "grad_norm", "images_per_second", "memory_mib", "step", "distinct"],
}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_names_tell_which_way_is_better(direction):
    assert {name: better(name) for name in DIRECTIONS[direction]} == dict.fromkeys(
        DIRECTIONS[direction], direction
    )
