"""What several devices ask of a config is told before anything starts."""

import shutil

import pytest

from condiff.config.device_rules import (
    batches_have_parts,
    compiling_has_a_compiler,
    devices_have_work,
    other_libraries_are_installed,
    parts_can_be_held,
    precision_is_of_samples,
)
from tests import composed

TRAINER = {"_target_": "condiff.methods.settings.Training", "steps": 1, "batch_size": 8}
CFG = {
    "stages": ["data", "judge", "denoiser", "samples"],
    "num_samples": 10,
    "judge": {"trainer": TRAINER},
    "trainer": {**TRAINER, "batch_size": 12},
    "weaker": {"trainer": {**TRAINER, "batch_size": 1}},
}


@pytest.mark.parametrize(
    ("devices", "lines"),
    [
        (1, []),
        (7, []),
        (9, ["judge.trainer.batch_size: must be at least runtime.devices=9, got 8"]),
        (
            11,
            [
                "judge.trainer.batch_size: must be at least runtime.devices=11, got 8",
                "num_samples: must be at least runtime.devices=11, got 10",
            ],
        ),
    ],
)
def test_every_device_has_a_part_of_every_batch_and_of_the_samples(devices, lines):
    assert list(devices_have_work({**CFG, "runtime": {"devices": devices}})) == lines


@pytest.mark.parametrize(("parts", "lines"), [(8, 0), (9, 1), ("nine", 0)])
def test_a_batch_has_a_picture_for_each_of_its_parts(parts, lines):
    cfg = {**CFG, "judge": {"trainer": {**TRAINER, "accumulate": parts}}}
    told = "judge.trainer.accumulate: must be at most judge.trainer.batch_size=8, got 9"
    assert list(batches_have_parts(cfg)) == [told] * lines


def test_devices_for_nothing_are_refused():
    (line,) = devices_have_work({**CFG, "stages": ["evaluation"], "runtime": {"devices": 2}})
    assert line.startswith("runtime.devices: 2 have no effect here")
    assert not list(devices_have_work({**CFG, "stages": ["evaluation"], "runtime": {"devices": 1}}))


def in_parts(**changed):
    place = {"strategy": "fsdp", "devices": 2}
    own = {"stages": ["denoiser"], "trainer": TRAINER, "runtime": {**place, **changed.pop("runtime", {})}}
    return [*parts_can_be_held({**own, **changed})]


def test_what_does_not_go_with_parts_is_one_line():
    assert in_parts() == []
    assert in_parts(runtime={"strategy": "ddp", "devices": 1}) == []
    assert in_parts(runtime={"devices": 1})[0].startswith(
        "runtime.strategy: fsdp has no effect on one device"
    )
    (line,) = in_parts(stages=["judge", "samples"])
    assert line == "runtime.strategy: fsdp has no effect here, where no denoiser is trained; use ddp"
    (line,) = in_parts(trainer={**TRAINER, "precision": "16-mixed"})
    assert line.startswith("trainer.precision: 16-mixed does not go with runtime.strategy=fsdp")
    (line,) = in_parts(stages=["weaker"], weaker={"trainer": {**TRAINER, "compile": "blocks"}})
    assert line.startswith("weaker.trainer.compile: must be none with runtime.strategy=fsdp")
    eight = {"_target_": "condiff.methods.optimizers.AdamW8bit", "lr": 1}
    own = {"optimizer": eight, "trainer": TRAINER, "text": {"_target_": "any"}}
    first, second = in_parts(stages=["adapter"], adapter=own, optimizer=eight)
    assert first.startswith("adapter.optimizer: does not take the parts")
    assert second.startswith("runtime.strategy: fsdp does not divide encoders of text")


def test_compiling_without_a_compiler_is_one_line(monkeypatch):
    own = {"stages": ["denoiser", "judge"], "trainer": {"compile": "whole"}, "judge": {"trainer": {}}}
    assert [*compiling_has_a_compiler(own)] == []
    monkeypatch.setattr(shutil, "which", lambda _: None)
    said = "compile: needs a C++ compiler, and none was found; install g++, or leave it out"
    assert [*compiling_has_a_compiler(own)] == [f"trainer.{said}"]
    plain = {**own, "trainer": {"compile": "none"}}
    assert [*compiling_has_a_compiler(plain)] == []
    drawn = {**plain, "runtime": {"sample_compile": "whole"}}
    assert [*compiling_has_a_compiler(drawn)] == [f"runtime.sample_{said}"]


def test_an_optimizer_that_is_not_installed_is_told_before_anything_is_made():
    own = {"stages": ["judge", "denoiser"], "optimizer": {"_target_": "condiff.methods.optimizers.AdamW8bit"}}
    (line,) = other_libraries_are_installed(
        {**own, "judge": {"optimizer": {"_target_": "condiff.methods.optimizers.AdamW"}}}
    )
    assert line.startswith(
        "optimizer: AdamW8bit needs the package bitsandbytes; pip install 'condiff[eight_bit]'"
    )


def test_an_adapter_of_a_library_that_is_not_installed_is_told_before_anything_is_made(monkeypatch):
    tuning = {"_target_": "condiff.adapters.low_rank.LowRank"}
    cfg = {"stages": ["denoiser", "adapter"], "adapter": {"tuning": tuning}}
    assert [*other_libraries_are_installed(cfg)] == []
    monkeypatch.setattr("condiff.config.device_rules.find_spec", lambda name: None)
    (line,) = other_libraries_are_installed(cfg)
    assert line == "adapter.tuning: LowRank needs the package peft; pip install 'condiff[lora]'"
    assert [*other_libraries_are_installed({**cfg, "stages": ["denoiser"]})] == []


def test_a_precision_of_what_draws_is_for_a_study_that_draws():
    own = {"stages": ["denoiser"], "sample_precision": "bf16-mixed"}
    said = "sample_precision: has no effect here, where nothing is drawn; leave it out, got bf16-mixed"
    assert [*precision_is_of_samples(own)] == [said]
    assert [*precision_is_of_samples({**own, "stages": ["samples"]})] == []
    assert [*precision_is_of_samples({**own, "sample_precision": "32-true"})] == []


@pytest.mark.parametrize(
    ("autoencoder", "weight", "said"),
    [
        ("kl", 0.5, ["autoencoder.method.adversary, whose losses are not scaled"]),
        ("kl", 0, []),
        ("vq", 0, ["a codebook; use bf16-mixed"]),
    ],
)
def test_a_scaled_loss_is_refused_where_others_learn_beside_it(autoencoder, weight, said):
    half = "+autoencoder.trainer.precision=16-mixed"
    study = ("experiment=autoencoder_kl", f"autoencoder={autoencoder}", half)
    lines = composed.told(*study, f"autoencoder.method.adversary.weight={weight}")
    assert len(lines) == len(said)
    start = "autoencoder.trainer.precision: 16-mixed does not go with"
    assert all(f"{start} {words}" in line for words, line in zip(said, lines, strict=True))
