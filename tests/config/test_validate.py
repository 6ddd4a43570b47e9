"""Every mistake in a config is told at once, by its key."""

import copy
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from condiff.config.schema import Run, keys_of
from condiff.config.validate import check_parts, validate
from condiff.errors import ConfigError

STAGES = ("data", "judge", "denoiser", "samples")


def optimizer() -> dict[str, Any]:
    return {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-3, "betas": [0.9, 0.99]}


def trainer() -> dict[str, Any]:
    return {"_target_": "condiff.methods.settings.Training", "steps": 10, "batch_size": 4, "clip": 1.0}


def study() -> dict[str, Any]:
    """A config in which nothing is wrong, with every kind of value."""
    heart = "condiff.diffusion"
    free = {"_target_": f"{heart}.guidance.ClassifierFree", "scale": 2.0}
    return {
        "name": "small",
        "stages": ["data", "judge", "denoiser"],
        "question": "why?",
        "seed": 3,
        "num_samples": 20,
        "data": {"_target_": "condiff.data.digits.Digits", "size": 8, "held_out_per_class": 18},
        "judge": {
            "network": {"_target_": "condiff.evaluation.judge.Judge", "width": 8, "feature_dim": 8},
            "method": {"_target_": "condiff.methods.judge.JudgeTraining", "smoothing": 0.1},
            "optimizer": optimizer(),
            "trainer": trainer(),
        },
        "autoencoder": None,
        "conditioner": {"_target_": "condiff.conditioners.label.ClassLabel"},
        "process": {"_target_": f"{heart}.process.LinearDDPM", "beta_end": 0.02, "num_steps": 100},
        "objective": {
            "parameterization": {"_target_": f"{heart}.parameterization.V"},
            "times": {"_target_": f"{heart}.times.LogitNormal", "mean": 0.0, "std": 1.0},
            "weight": {"_target_": f"{heart}.weights.MinSNR", "gamma": 5.0},
        },
        "network": {
            "_target_": "condiff.networks.unet.UNet",
            "widths": [8, 16],
            "attention": [False, True],
            "dropout": 0.0,
        },
        "method": {"_target_": "condiff.methods.diffusion.Diffusion", "drop_condition": 0.1},
        "optimizer": optimizer(),
        "trainer": {**trainer(), "precision": "32-true", "channels_last": True},
        "guidance": {
            "_target_": f"{heart}.guidance.Chain",
            "links": [{"_target_": f"{heart}.guidance.Interval", "low": 0.2, "high": 5.0, "inner": free}],
        },
        "sampler": {
            "_target_": f"{heart}.samplers.DDIM",
            "steps": 10,
            "eta": 0.0,
            "grid": {"_target_": f"{heart}.grids.Karras", "rho": 7.0},
        },
        "metrics": {"fd": {"_target_": "condiff.evaluation.frechet.FrechetDistance", "real": "train"}},
        "runtime": {"cache": "outputs/cache", "num_workers": 0, "checkpoint_seconds": 30.0, "debug": False},
        "logger": {"wandb": "off", "project": "condiff"},
    }


def mistakes(cfg: dict[str, Any]) -> tuple[str, ...]:
    try:
        validate(cfg, STAGES)
    except ConfigError as error:
        return error.lines
    return ()


def at(cfg: Any, path: str) -> Any:
    for word in re.findall(r"\w+", path):
        cfg = cfg[int(word)] if isinstance(cfg, list) else cfg[word]
    return cfg


def changed(path: str, value: Any) -> dict[str, Any]:
    """The study with another value at a path such as ``guidance.links[0].low``."""
    cfg = copy.deepcopy(study())
    *way, last = re.findall(r"\w+", path)
    node = at(cfg, ".".join(way))
    node[int(last) if isinstance(node, list) else last] = value
    return cfg


def leaves(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, item in node.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for place, item in enumerate(node):
            yield from leaves(item, f"{path}[{place}]")
    else:
        yield path


def test_a_right_config_passes_and_defaults_are_filled_in():
    checked = validate(study(), STAGES)
    assert list(checked) == list(keys_of(Run))
    assert checked["runtime"]["stale"] == "ask"
    assert checked["runtime"]["lock_timeout"] == 86400.0
    assert checked["guidance"] == study()["guidance"]


def test_two_and_two_point_nought_are_one_study():
    whole, real = changed("sampler.grid.rho", 2), changed("sampler.grid.rho", 2.0)
    assert repr(validate(whole)) == repr(validate(real))


def test_a_canonical_config_is_its_own_canonical_config():
    assert validate(validate(study())) == validate(study())


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("gudance", {}, "gudance: a run has no such part; did you mean 'guidance'?"),
        ("runtime.cahce", "x", "runtime.cahce: no such key of runtime; did you mean 'cache'?"),
        (
            "objective.times.sdt",
            2,
            "objective.times.sdt: no such argument of LogitNormal; did you mean 'std'?",
        ),
        (
            "guidance.links[0].inner.scal",
            2,
            "guidance.links[0].inner.scal: no such argument of ClassifierFree; did you mean 'scale'?",
        ),
        ("sampler.steps", 0, "sampler.steps: must be an integer >= 1, got 0"),
        ("sampler.steps", "fifty", "sampler.steps: must be an integer >= 1, got 'fifty'"),
        ("sampler.steps", "???", "sampler.steps: is required; give it, e.g. sampler.steps=..."),
        ("sampler.grid", 7.0, "sampler.grid: must be an object with a _target_ or null, got 7.0"),
        ("seed", -1, "seed: must be an integer >= 0, got -1"),
        ("name", "???", "name: is required; give it, e.g. name=..."),
        ("data", None, "data: is null, and stage data needs it; choose one, data=NAME"),
        (
            "logger.wandb",
            "offlin",
            "logger.wandb: must be one of auto, offline, online, off, got 'offlin'; did you mean 'offline'?",
        ),
        (
            "logger.project",
            "a/b",
            "logger.project: must be 1 to 128 characters, none of / \\ # ? % :, got 'a/b'",
        ),
        ("logger.entity", "", "logger.entity: must be 1 to 128 characters or null, got 0 characters"),
        (
            "logger.group",
            "g" * 129,
            "logger.group: must be 1 to 128 characters or null, got 129 characters",
        ),
        ("logger.tags", "quick", "logger.tags: must be a list, each text, got 'quick'"),
        ("logger.tags", ["a", "b" * 65], "logger.tags: must be 1 to 64 characters each, got 65 characters"),
        (
            "logger.required",
            True,
            "logger.required: has no effect with logger.wandb=off; use logger.wandb=auto",
        ),
        (
            "logger.artifacts",
            True,
            "logger.artifacts: has no effect with logger.wandb=off; use logger.wandb=auto",
        ),
        (
            "logger.pictures_every",
            -1,
            "logger.pictures_every: must be an integer >= 0 or null, got -1",
        ),
        ("logger.csv", "yes", "logger.csv: must be true or false, got 'yes'"),
        ("optimizer.lr", 0, "optimizer.lr: must be a number > 0, got 0"),
        ("optimizer.params", [1], "optimizer.params: must be an object with a _target_, got [1]"),
        ("optimizer._args_", [], "optimizer._args_: no such argument of AdamW"),
        ("optimizer._partial_", "yes", "optimizer._partial_: must be true or false, got 'yes'"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(path, value, line):
    assert mistakes(changed(path, value)) == (line,)


def test_every_mistake_is_told_at_once():
    cfg = study()
    cfg["sampler"]["steps"] = 0
    cfg["guidance"]["links"][0]["inner"]["scal"] = 1
    cfg["logger"]["wandb"] = 3
    cfg["metrics"]["fd"]["_target_"] = "os.system"
    cfg["name"] = "../x"
    keys = [line.split(":")[0] for line in mistakes(cfg)]
    assert keys == [
        "guidance.links[0].inner.scal",
        "sampler.steps",
        "metrics.fd._target_",
        "logger.wandb",
        "name",
    ]


def test_a_part_that_is_deleted_is_required():
    for path in ("sampler.steps", "method.drop_condition", "trainer.batch_size"):
        cfg = study()
        part, key = path.split(".")
        del cfg[part][key]
        assert mistakes(cfg)[0].startswith(f"{path}: is required by")
    cfg = study()
    del cfg["guidance"]["links"][0]["inner"]
    assert mistakes(cfg)[0].startswith("guidance.links[0].inner: is required by Interval")
    cfg = study()
    del cfg["process"]
    assert mistakes(cfg) == ("process: is null, and stage denoiser needs it; choose one, process=NAME",)


def test_what_python_fills_in_may_be_left_out_and_given():
    assert "channels" not in study()["network"]
    assert mistakes(changed("network.channels", 3)) == ()
    assert mistakes(changed("network.channels", 0)) == ("network.channels: must be an integer >= 1, got 0",)


PATHS = [path for path in leaves(study()) if not path.endswith(("_target_", "_partial_"))]
JUNK: tuple[Any, ...] = ("junk", -1, 1.5, True, None, [], {}, math.nan)


def test_there_are_many_ways_to_be_wrong():
    assert len(PATHS) * (1 + len(JUNK)) >= 300


@pytest.mark.parametrize("path", PATHS)
def test_a_misspelt_key_is_named(path):
    if "." not in path:
        cfg = study()
        cfg[path + "x"] = cfg.pop(path)
        line = f"{path}x: a run has no such part; did you mean '{path}'?"
    else:
        cfg = study()
        parent, _, key = path.rpartition(".")
        node = at(cfg, parent)
        if parent == "metrics":  # their names are free
            return
        node[key + "x"] = node.pop(key)
        line = f"{path}x: no such"
    found = [told for told in mistakes(cfg) if told.startswith(line)]
    assert len(found) == 1
    assert "did you mean" in found[0]


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_value_is_named_or_legal(path):
    right = at(study(), path)
    for junk in JUNK:
        told = mistakes(changed(path, junk))
        if told:
            assert any(line.startswith(path) for line in told), (junk, told)
            continue
        same = isinstance(junk, type(right)) or (isinstance(right, float) and isinstance(junk, int))
        assert same or junk is None, f"{path} took {junk!r} in place of {right!r}"
        got, _ = check_parts(changed(path, junk))
        assert at(got, path) == junk


def test_a_config_full_of_junk_is_only_refused():
    for part in study():
        for junk in (
            *JUNK,
            [[]],
            {"_target_": None},
            {"_target_": ["os.system"]},
            {1: 2},
            {"a": {"b": [{}]}},
        ):
            told = mistakes(changed(part, junk))
            assert all(": " in line and "\n" not in line for line in told)
