"""Adapters that are damaged, or another base's, are told before any of the base is in the cache."""

import re

import pytest
import tiny_pipelines
import tiny_stable_diffusion as tiny
import torch
from choices import CONF
from safetensors.torch import save_file

from condiff.adapters import control_files
from condiff.adapters.base import digest_of
from condiff.adapters.branch import Branch
from condiff.adapters.low_rank import LowRank
from condiff.adapters.tensor_files import read_tensors
from condiff.adapters.whole import Whole
from condiff.config.compose import check, register
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError
from condiff.stages import rehearsal
from condiff.stages.driver import rehearse_if_new
from condiff.stages.study import STAGES

INFO = DataInfo(0, [], 3, 32, 8, 2, True, "", [])
ANOTHER = "another base; give the one that it was trained on"
OWN = (
    "own.safetensors",
    "whole_own.safetensors",
    "control_own.safetensors",
    "control_own",
    "control_own/control_model.safetensors",
)
# What is told of each of the others.
TOLD = {
    "other.safetensors": "were trained on the unet .*; give the base that it was trained on",
    "xl.safetensors": "layers match nothing in the base",
    "garbage.safetensors": "damaged",
    "prefix.safetensors": "none of its 1 keys is of a LoRA",
    "alpha.safetensors": "alpha",
    "whole_other.safetensors": ANOTHER,
    "whole_xl.safetensors": "tensors are not those of",
    "control_other.safetensors": ANOTHER,
    "control_xl.safetensors": ANOTHER,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline, another training of it and one of another kind, each with files that are of it."""
    register()
    folder = tmp_path_factory.mktemp("bases")
    saved = {"own": tiny.saved, "other": lambda to: tiny.saved(to, seed=1), "xl": tiny_pipelines.saved_xl}
    for name, save in saved.items():
        unet = save(folder / "models" / name).unet
        digest, whole = digest_of(unet), torch.nn.ModuleDict({"net": unet})
        Whole().write(whole, folder / f"whole_{name}.safetensors", digest, [])
        branch = Branch.of(unet, 3, 8)
        control_files.write(folder / f"control_{name}.safetensors", branch, digest, [])
        if name == "own":
            control_files.export(branch, folder / "control_own")
        LowRank(["linear"], rank=2).begin(unet)
        LowRank(["linear"], rank=2).write(unet, folder / f"{name}.safetensors", digest, [])
    (folder / "garbage.safetensors").write_bytes(b"nothing of the kind")
    save_file({"weight": torch.ones(1)}, folder / "prefix.safetensors")
    tensors, _ = read_tensors(folder / "own.safetensors")
    some = next(name for name in tensors if name.endswith("lora_A.weight"))
    nameless = {**tensors, some.replace("lora_A.weight", "alpha"): torch.tensor([1.0, 2.0])}
    save_file(nameless, folder / "alpha.safetensors")
    return folder


def test_it_is_told_of_a_pipeline_before_any_of_it_is_copied(folder, tmp_path, monkeypatch):
    """All that are, a line each; those that are of it are not, whether its weights are read or not."""
    words = ("task=sample", f"from={folder / 'models' / 'own'}", "n=2", "text=words", "sampler.steps=2")
    given = (f"runtime.cache={tmp_path}", "runtime.accelerator=cpu")
    (cfg,) = check([*words, *given], CONF, [stage.name for stage in STAGES]) or []
    with pytest.raises(ArtifactError) as small:
        rehearse_if_new({**cfg, "adapters": [f"{folder / name}:0.5" for name in TOLD]}, INFO)
    monkeypatch.setattr(rehearsal, "LARGE", 0)
    with pytest.raises(ArtifactError) as large:
        rehearse_if_new({**cfg, "adapters": [f"{folder / name}:0.5" for name in [*OWN, *TOLD]]}, INFO)
    rehearse_if_new({**cfg, "adapters": [str(folder / name) for name in OWN]}, INFO)
    assert small.value.lines == large.value.lines
    for line, (name, said) in zip(small.value.lines, TOLD.items(), strict=True):
        assert re.match(rf"adapters: {folder / name}: .*{said}", line)
    assert {place.name for place in tmp_path.iterdir()} == {"fingerprints"}
