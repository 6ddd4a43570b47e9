"""Finished adapters, by their files or runs, are added to a base, which is read and hashed once."""
# ruff: noqa: F811  fixtures of another file are arguments

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condiff.adapters.base import Base, digest_of
from condiff.adapters.formats import export, load
from condiff.adapters.low_rank import base_of
from condiff.adapters.tensor_files import read_tensors
from condiff.config.adapter_rules import FORMS
from condiff.errors import ArtifactError, ConfigError
from condiff.stages.adapted import adapted
from condiff.stages.adapters_fit import of_run
from condiff.stages.denoiser import load_denoiser, read_denoiser
from condiff.stages.drawn import leave
from condiff.stages.exported_adapter import leave_adapter
from condiff.stages.finished_adapters import FILE, PLACES, adapters_are_there, finished, of_samples
from condiff.stages.stage import PICTURES_MADE, Artifact
from tests.stages.test_adapter import config, inputs, of, weights, whole  # noqa: F401  a base and an adapter of it


def test_finished_adapters_add_up_with_the_studys_own_whatever_their_format(inputs, whole, tmp_path):
    """Twice the file of another format and minus the run's own: what is left is one of it."""
    own = load_denoiser(inputs["denoiser"], inputs["data"])
    path, base = tmp_path / "other.safetensors", base_of(own[0].network)
    export(load(whole.path / FILE, base), path, base, "kohya")
    (tmp_path / "run").mkdir()
    left = {"adapter": {"key": whole.key, "path": str(whole.path)}}
    (whole.path / "manifest.json").write_text("{}")
    for name, value in {"stages": left, "metrics": {}, "config": {}}.items():
        (tmp_path / "run" / f"{name}.{'yaml' if name == 'config' else 'json'}").write_text(json.dumps(value))
    with adapted(config(), {**inputs, "adapter": whole}, own):
        wanted = weights(inputs)
    cfg = {**config(), "adapters": [f"{path}:2", f"{tmp_path / 'run'}:-1", f"{whole.path / FILE}:-1"]}
    assert [(named.path.name, named.scale) for named in finished(cfg)][:2] == [(path.name, 2.0), (FILE, -1.0)]
    adapters_are_there(cfg)
    with adapted(cfg, {**inputs, "adapter": whole}, own):
        for name, value in weights(inputs).items():
            torch.testing.assert_close(value, wanted[name], atol=1e-6, rtol=1e-5)
    assert of_samples(cfg, tmp_path) != of_samples({"adapters": [str(path)]}, tmp_path)
    assert of_samples({"adapters": None}, tmp_path) is None
    for word, said in (("0-0.5", "START-END"), ("guess", "guess mode")):
        with (
            pytest.raises(ConfigError, match=rf"adapters\[0\]: {said} has no effect on a LoRA; leave it out"),
            adapted({**config(), "adapters": [f"{path}:2:{word}"]}, {**inputs, "adapter": whole}, own),
        ):
            pass


def test_a_sweep_over_finished_adapters_reads_and_hashes_its_base_once(inputs, whole, tmp_path, monkeypatch):
    """And does not hash it for a file that has no hash."""
    own = load_denoiser(inputs["denoiser"], inputs["data"])
    tensors, header = read_tensors(whole.path / FILE)
    bare, same = tmp_path / "bare.safetensors", tmp_path / "same.safetensors"
    save_file(tensors, bare, {"lora_adapter_metadata": header["lora_adapter_metadata"]})
    export(load(whole.path / FILE, base_of(own[0].network)), same, base_of(own[0].network), "kohya")
    read, hashed, seen = [], [], []
    monkeypatch.setattr(
        "condiff.stages.denoiser.read_denoiser", lambda *made: read.append(made) or read_denoiser(*made)
    )
    monkeypatch.setattr("condiff.adapters.base.digest_of", lambda net: hashed.append(net) or digest_of(net))
    load_denoiser.cache_clear()
    for path in (bare, whole.path / FILE, same, whole.path / FILE):
        trained_ = load_denoiser(inputs["denoiser"], inputs["data"])
        with adapted({"adapters": [str(path)]}, inputs, trained_):
            seen.append((len(read), len(hashed)))
    assert seen == [(1, 0), (1, 1), (1, 1), (1, 1)]


def test_an_adapter_that_is_not_there_or_not_of_the_base_is_refused(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"adapters\[0\]: nowhere does not exist; give a file of"):
        adapters_are_there({"adapters": ["nowhere:0.5"]})
    save_file({"weight": torch.ones(1)}, tmp_path / "none.safetensors")
    own = load_denoiser(inputs["denoiser"], inputs["data"])
    with (
        pytest.raises(ArtifactError, match=r"adapters: .*none\.safetensors: none of its 1 keys is of a LoRA"),
        adapted({"adapters": [str(tmp_path / "none.safetensors")]}, inputs, own),
    ):
        pass


def test_an_adapter_of_another_base_is_told_of_a_finished_run_before_anything_is_drawn(
    inputs, whole, tmp_path
):
    """By the hash of the weights that the run draws with, though all its layers fit."""
    own, other = read_denoiser(inputs["denoiser"], inputs["data"])[0].network, tmp_path / "other.safetensors"
    base = base_of(own)
    export(replace(load(whole.path / FILE, base), base={"unet": "0" * 64}), other, Base(base.shapes), "kohya")
    cfg = {"checkpoint": None, "average": None, "runtime": {"cache": tmp_path / "cache"}}
    of_run({**cfg, "adapters": [str(whole.path / FILE)]}, inputs)
    with pytest.raises(ArtifactError, match=r"adapters: .*other\.safetensors: its \d+ layers fit, but were"):
        of_run({**cfg, "adapters": [str(other)]}, inputs)


def test_what_an_export_leaves_is_drawn_with_as_the_run_that_it_exports(inputs, whole, tmp_path):
    """Its run and the folder of its adapter are both named so; a format that is not written has another."""
    run = tmp_path / "run"
    leave_adapter("run", {**inputs, "adapter": whole}, run / "adapter")
    (run / "stages.json").write_text("{}")
    named = [
        str(run),
        f"{run / 'adapter'}:-1",
        f"{run / 'adapter' / 'peft'}:0.5",
        f"{whole.path / FILE}:-0.5",
    ]
    cfg, own = {"adapters": named}, load_denoiser(inputs["denoiser"], inputs["data"])
    places = [*dict.fromkeys(one.path.name for one in finished(cfg))]
    assert places == [PLACES["diffusers"], PLACES["peft"], FILE]
    wanted = weights(inputs)
    with adapted({"adapters": named[1:]}, inputs, own):
        assert any(not torch.equal(value, wanted[name]) for name, value in weights(inputs).items())
    with adapted(cfg, inputs, own):
        for name, value in weights(inputs).items():
            torch.testing.assert_close(value, wanted[name], atol=1e-6, rtol=1e-5)
    (run / "adapter" / PLACES["diffusers"]).unlink()
    assert [one.path.name for one in finished({"adapters": [str(run)]})] == [PLACES["peft"]]


def test_a_picture_tells_the_adapters_that_it_was_drawn_with_as_they_were_given(inputs, tmp_path):
    (tmp_path / "drawn").mkdir()
    pictures = {"image": torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "label": torch.arange(2)}
    save_file(pictures, tmp_path / "drawn" / PICTURES_MADE)
    done = {**inputs, "samples": Artifact("drawn", tmp_path / "drawn", {})}
    asked = {"from": "a run", "seed": 3, "negative": None, "label": None}
    asked |= {"guidance": of("diffusion.guidance", "NoGuidance"), "sampler": of("samplers", "DDIM", steps=2)}
    for given, said in (([], None), (["a.safetensors:0.7", "b/run"], "a.safetensors:0.7, b/run")):
        leave({**asked, "adapters": given}, done, tmp_path)
        assert Image.open(tmp_path / "samples" / "00001.png").text.get("adapters") == said


def test_a_picture_tells_its_hint_and_how_much_of_the_way_that_is_used(inputs, tmp_path):
    (tmp_path / "drawn").mkdir()
    blank = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    save_file(
        {"image": blank, "control": blank.clone(), "label": torch.arange(3)},
        tmp_path / "drawn" / PICTURES_MADE,
    )
    done = {
        **inputs,
        "samples": Artifact("drawn", tmp_path / "drawn", {}),
        "adapter": Artifact("k", tmp_path, {}),
    }
    hints = tmp_path / "hints"
    hints.mkdir()
    for name in ("a", "b"):
        Image.new("L", (8, 8)).save(hints / f"{name}.png")
    asked = {"from": "a run", "seed": 3, "negative": None, "label": None, "adapters": []}
    asked |= {"guidance": of("diffusion.guidance", "NoGuidance"), "sampler": of("samplers", "DDIM", steps=2)}
    control = of("adapters.control", "GuessOriginal", start=0.2, end=0.8)
    asked["adapter"] = {"scale": 0.5, "control": control}
    own = [str(hints / f"{name}.png") for name in "aba"]
    for given, told in (
        (own[:1], own[:1] * 3),
        (str(hints), own),
        (None, [f"held-out {k}" for k in range(3)]),
    ):
        leave({**asked, "control": given}, done, tmp_path)
        found = [Image.open(tmp_path / "samples" / f"0000{k}.png").text for k in range(3)]
        assert [text["hint"] for text in found] == told
        assert found[0]["adapter"] == "k at 0.5, start 0.2, end 0.8, GuessOriginal"


def test_a_colon_after_a_file_is_followed_by_a_scale(tmp_path):
    file = tmp_path / "a.safetensors"
    file.touch()
    named = [f"{file}:x", f"{file}:0,7", f"{file}:0.5:late", f"{file}:0.5:0-0.5", f"{tmp_path / 'b'}:x"]
    with pytest.raises(ConfigError) as told:
        adapters_are_there({"adapters": named})
    forms = f"give {FORMS}"
    assert told.value.lines == (
        f"adapters[0]: 'x' is no scale; {forms}",
        f"adapters[1]: '0,7' is no scale; {forms}",
        f"adapters[2]: 'late' is no START-END, shares of the way; {forms}",
        f"adapters[4]: {tmp_path / 'b'}:x does not exist; give a file of an adapter, a folder of peft, or a"
        " finished run",
    )
