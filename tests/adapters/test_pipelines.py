"""Files written here, as diffusers' pipelines and peft read them; and theirs, as read here."""

from dataclasses import replace

import pytest
import torch
from adapters import bases
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from condiff.adapters import diffusers_file
from condiff.adapters.base import Base
from condiff.adapters.formats import detect, export, load

SAME = 1e-6


@pytest.fixture(scope="module", params=["sd", "sdxl", "sd3"])
def pipeline(request):
    return getattr(bases, request.param)()


@pytest.fixture(scope="module")
def small():
    return bases.sd()


def read_by_diffusers(pipeline, path):
    pipeline.load_lora_weights(path)
    made = bases.outputs(bases.parts_of(pipeline))
    pipeline.unload_lora_weights()
    return made


@pytest.mark.parametrize("change", [lambda adapter: adapter, bases.mixed], ids=["even", "mixed"])
def test_a_pipeline_of_diffusers_does_with_a_file_of_it_what_adding_by_hand_does(pipeline, change, tmp_path):
    parts = bases.parts_of(pipeline)
    base = Base.of(parts)
    adapter = change(bases.adapter_of(base))
    export(adapter, tmp_path / "a.safetensors", base, "diffusers")
    plain, ours = bases.outputs(parts), bases.added(parts, adapter)
    assert bases.difference(plain, ours) > 0.1
    assert bases.difference(ours, read_by_diffusers(pipeline, tmp_path / "a.safetensors")) < SAME
    assert bases.difference(plain, bases.outputs(parts)) == 0


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_pipeline_of_diffusers_does_with_a_file_of_kohya_what_adding_by_hand_does(kind, tmp_path):
    pipeline = getattr(bases, kind)()
    parts = bases.parts_of(pipeline)
    base = Base.of(parts)
    adapter = bases.adapter_of(base)
    assert {layer.weight_shape[2:] for layer in adapter.layers.values()} == {(), (1, 1), (3, 3)}
    export(adapter, tmp_path / "a.safetensors", base, "kohya")
    ours = bases.added(parts, adapter)
    assert bases.difference(ours, read_by_diffusers(pipeline, tmp_path / "a.safetensors")) < SAME


@pytest.mark.parametrize("format_", ["diffusers", "kohya", "peft"])
@pytest.mark.parametrize("change", [lambda adapter: adapter, bases.mixed], ids=["even", "mixed"])
def test_what_is_written_is_read_again_as_it_was(format_, change, pipeline, tmp_path):
    if format_ == "kohya" and hasattr(pipeline, "transformer"):
        pytest.skip("refused, see test_refusals")
    parts = bases.parts_of(pipeline)
    base = Base.of(parts, "of the base")
    adapter = replace(change(bases.adapter_of(base)), base="of the base", trigger=("sks dog", "a, b"))
    path = tmp_path / ("folder" if format_ == "peft" else "a.safetensors")
    export(adapter, path, base, format_)
    assert detect(path) == format_
    again = load(path, base)
    assert (again.base, again.trigger) == (adapter.base, adapter.trigger)
    assert again.layers.keys() == adapter.layers.keys()
    for name, layer in adapter.layers.items():
        assert torch.equal(layer.down, again.layers[name].down), name
        assert torch.equal(layer.up, again.layers[name].up), name
        assert again.layers[name].alpha == layer.alpha, name
    assert bases.difference(bases.added(parts, adapter), bases.added(parts, again)) < SAME


@pytest.mark.parametrize("format_", ["diffusers", "kohya", "peft"])
def test_magnitudes_are_written_and_read_again(format_, small, tmp_path):
    base = Base.of(bases.parts_of(small))
    adapter = bases.with_magnitudes(bases.adapter_of(base))
    path = tmp_path / ("folder" if format_ == "peft" else "a.safetensors")
    export(adapter, path, base, format_)
    again = load(path, base)
    assert len(again.layers) == len(adapter.layers) > 0
    for name, layer in adapter.layers.items():
        assert torch.equal(layer.magnitude, again.layers[name].magnitude), name


@pytest.mark.parametrize("options", [{"use_rslora": True}, {"use_dora": True}, {"rank_pattern": {"to_q": 2}}])
def test_a_file_that_diffusers_saves_does_here_what_it_does_there(options, tmp_path):
    pipeline = bases.sd()
    parts = bases.parts_of(pipeline)
    plain = bases.outputs(parts)
    trained = bases.trained(pipeline.unet, ["to_q", "to_out.0", "conv1", "proj_in"], **options)
    pipeline.unet.save_lora_adapter(tmp_path, adapter_name="default")
    adapter = load(tmp_path / "pytorch_lora_weights.safetensors", Base.of(parts))
    wanted = bases.outputs({"unet": trained})["unet"]
    pipeline.unet.delete_adapters("default")
    path = tmp_path / "ours.safetensors"
    export(adapter, path, Base.of(parts), "diffusers")
    made = read_by_diffusers(pipeline, path)["unet"]
    assert (
        bases.difference({"": wanted}, {"": made})
        < SAME
        < bases.difference({"": wanted}, {"": plain["unet"]})
    )
