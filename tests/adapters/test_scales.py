"""What is merged into a network is what diffusers and peft do with the file, in any precision, any scale."""

import pytest
import torch
from adapters import bases
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from condiff.adapters import peft_folder
from condiff.adapters.base import Base
from condiff.adapters.formats import export, load
from condiff.adapters.low_rank import added
from condiff.adapters.tuning import merged

SAME = 1e-6  # of the change


@pytest.fixture(scope="module")
def small():
    return bases.sd()


def halved(path, dtype):
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    save_file({key: value.to(dtype) for key, value in load_file(path).items()}, path, header)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("format_", "change"),
    [
        ("diffusers", lambda a: a),
        ("diffusers", bases.with_magnitudes),
        ("kohya", lambda a: a),
        ("peft", None),
    ],
    ids=["diffusers", "dora", "kohya", "peft"],
)
def test_a_file_in_half_precision_changes_weights_as_it_does_in_diffusers(
    format_, change, dtype, small, tmp_path
):
    """Also in a base of float32, whose own rounding is left."""
    parts = bases.parts_of(small)
    base = Base.of(parts)
    adapter = bases.adapter_of(base, lambda name: name.startswith("unet."), rank=4)
    path = tmp_path / ("folder" if format_ == "peft" else "a.safetensors")
    export(change(adapter) if change else adapter, path, base, format_)
    halved(path / peft_folder.WEIGHTS if format_ == "peft" else path, dtype)
    unet, plain = parts["unet"], bases.outputs({"unet": parts["unet"]})
    if format_ == "peft":
        theirs = PeftModel.from_pretrained(unet, path)
        wanted = bases.outputs({"unet": theirs})
        theirs.unload()
    else:
        small.load_lora_weights(path)
        wanted = bases.outputs({"unet": unet})
        small.unload_lora_weights()
    with merged(unet, [(added(load(path, base), unet, "unet"), 1.0)]):
        made = bases.outputs({"unet": unet})
    changed = {"unet": wanted["unet"] - plain["unet"]}
    assert bases.difference(changed, {"unet": made["unet"] - plain["unet"]}) < SAME


@pytest.fixture
def scaled(small, tmp_path):
    """What a pipeline's U-Net makes of two adapters at some scales, and what ours does with them merged."""
    base, unet = Base.of(bases.parts_of(small)), small.unet

    def of(change, *scales):
        changes = []
        for seed, scale in enumerate(scales):
            adapter = bases.adapter_of(base, lambda name: name.startswith("unet."), seed=seed)
            path = tmp_path / f"{seed}.safetensors"
            export(change(adapter), path, base, "diffusers")
            changes.append((added(load(path, base), unet, "unet"), scale))
        for seed in range(len(scales)):
            small.load_lora_weights(tmp_path / f"{seed}.safetensors", adapter_name=str(seed))
        small.set_adapters([str(seed) for seed in range(len(scales))], [*scales])
        theirs = bases.outputs({"unet": unet})
        small.unload_lora_weights()
        plain = bases.outputs({"unet": unet})["unet"]
        with merged(unet, changes):
            ours = bases.outputs({"unet": unet})
        return tuple({"unet": made["unet"] - plain} for made in (ours, theirs))

    return of


@pytest.mark.parametrize("scales", [(0.7,), (0.7, 0.4)])
def test_plain_matrices_at_any_scales_do_what_set_adapters_does(scaled, scales):
    ours, theirs = scaled(lambda adapter: adapter, *scales)
    assert bases.difference(theirs, ours) < SAME


def test_magnitudes_at_scale_0_are_the_base_and_at_1_diffusers_which_at_0_is_not_the_base(scaled):
    """Between the two ours is on a line, and diffusers is not."""
    ours, theirs = scaled(bases.with_magnitudes, 1.0)
    assert bases.difference(theirs, ours) < SAME
    ours, theirs = scaled(bases.with_magnitudes, 0.0)
    assert float(ours["unet"].abs().max()) == 0
    assert float(theirs["unet"].abs().max()) > 0.01
    assert bases.difference(*scaled(bases.with_magnitudes, 0.7)) > 0.01
