"""Metrics that compare hints, for samples that finished adapters draw: something must read these."""

import json
from types import SimpleNamespace

import pytest

from condiff.errors import ConfigError
from condiff.stages.given import hints_are_there
from condiff.stages.given_controls import can_be_compared

EDGES = {"_target_": "condiff.evaluation.redetected.EdgeFidelity"}
OTHER = {"_target_": "condiff.evaluation.accuracy.ClassAccuracy"}


def config(file, **metrics):
    return {"adapters": [str(file)], "adapter": None, "stages": ["samples", "metrics"], "metrics": metrics}


def test_one_of_the_adapters_has_to_be_a_controlnet_where_hints_are_compared(tmp_path):
    lora, control = tmp_path / "lora", tmp_path / "control"
    for folder, name in ((lora, "UNet2DConditionModel"), (control, "ControlNetModel")):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"_class_name": name}))
    can_be_compared(config(control, every=0, edge_f1=EDGES))
    can_be_compared(config(lora, every=0, accuracy=OTHER))
    with pytest.raises(
        ConfigError, match=r"metrics\.edge_f1: compares samples with hints, and none of adapters"
    ):
        can_be_compared(config(lora, every=0, edge_f1=EDGES))


def test_and_the_data_has_to_have_hints(tmp_path):
    cfg = {**config(tmp_path, every=0, edge_f1=EDGES), "data": {"_target_": "condiff.data.mnist.Mnist"}}
    hints_are_there(cfg, cfg["stages"], SimpleNamespace(control=1))
    with pytest.raises(ConfigError, match=r"metrics\.edge_f1: EdgeFidelity needs a hint beside each picture"):
        hints_are_there(cfg, cfg["stages"], SimpleNamespace(control=None))
