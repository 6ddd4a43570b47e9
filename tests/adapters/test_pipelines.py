"""Files written here, as diffusers' pipelines and peft read them; and theirs, as read here."""

import json
from dataclasses import replace

import pytest
import tiny_stable_diffusion
import torch
from adapters import bases
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from condiff.adapters import in_peft
from condiff.adapters.base import Base
from condiff.adapters.formats import detect, export, load

SAME = 1e-6
WORDS = torch.tensor([[0, 5, 7, 3, 1]])
CHANGES = [
    pytest.param(lambda adapter: adapter, id="even"),
    pytest.param(bases.mixed, id="mixed"),
    pytest.param(bases.with_magnitudes, id="dora"),
]
KINDS = ["sd", "sdxl", "sd3"]
# kohya's has no names for SD3's layers: see test_refusals
WRITTEN = [*((f, kind) for f in ("diffusers", "peft") for kind in KINDS), ("kohya", "sd"), ("kohya", "sdxl")]


@pytest.fixture(scope="module", params=KINDS)
def pipeline(request):
    return getattr(bases, request.param)()


@pytest.fixture(scope="module")
def small():
    return bases.sd()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_stable_diffusion.saved(tmp_path_factory.mktemp("pipeline")).to(torch.float64)


def read_by_diffusers(pipeline, path):
    pipeline.load_lora_weights(path)
    made = bases.outputs(bases.parts_of(pipeline))
    pipeline.unload_lora_weights()
    return made


@pytest.mark.parametrize("change", CHANGES)
def test_a_pipeline_of_diffusers_does_with_a_file_of_it_what_adding_by_hand_does(pipeline, change, tmp_path):
    parts = bases.parts_of(pipeline)
    base = Base.of(parts)
    adapter = change(bases.adapter_of(base))
    export(adapter, tmp_path / "a.safetensors", base, "diffusers")
    plain, ours = bases.outputs(parts), bases.added(parts, adapter)
    assert bases.difference(plain, ours) > 0.1
    assert bases.difference(ours, read_by_diffusers(pipeline, tmp_path / "a.safetensors")) < SAME
    assert bases.difference(plain, bases.outputs(parts)) < 1e-12


@pytest.mark.parametrize("format_", ["diffusers", "kohya"])
def test_a_picture_changes_as_it_does_with_the_matrices_added_by_hand(format_, whole, tmp_path):
    parts = bases.parts_of(whole)
    base = Base.of(parts)
    adapter = bases.adapter_of(base)
    export(adapter, tmp_path / "a.safetensors", base, format_)

    def drawn():
        noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        options = {"num_inference_steps": 2, "latents": noise, "output_type": "pt"}
        return {"": whole("a red circle", **options).images}

    plain = drawn()
    with bases.with_added(parts, adapter):
        ours = drawn()
    whole.load_lora_weights(tmp_path / "a.safetensors")
    theirs = drawn()
    whole.unload_lora_weights()
    assert bases.difference(ours, theirs) < SAME < 1e-2 < bases.difference(plain, ours)


@pytest.mark.parametrize("change", CHANGES[:2])
@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_pipeline_of_diffusers_does_with_a_file_of_kohya_what_adding_by_hand_does(kind, change, tmp_path):
    pipeline = getattr(bases, kind)()
    parts = bases.parts_of(pipeline)
    base = Base.of(parts)
    adapter = change(bases.adapter_of(base))
    assert {layer.weight_shape[2:] for layer in adapter.layers.values()} == {(), (1, 1), (3, 3)}
    export(adapter, tmp_path / "a.safetensors", base, "kohya")
    ours = bases.added(parts, adapter)
    assert bases.difference(ours, read_by_diffusers(pipeline, tmp_path / "a.safetensors")) < SAME


@pytest.mark.parametrize(("format_", "pipeline"), WRITTEN, indirect=["pipeline"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_written_is_read_again_as_it_was(format_, change, pipeline, tmp_path):
    parts = bases.parts_of(pipeline)
    digests = dict.fromkeys(parts, "of the base")
    base = Base.of(parts, digests)
    adapter = replace(change(bases.adapter_of(base)), base=digests, trigger=("sks dog", "a, b"))
    path = tmp_path / ("folder" if format_ == "peft" else "a.safetensors")
    export(adapter, path, base, format_)
    assert detect(path) == format_
    again = load(path, base)
    assert (again.base, again.trigger) == (adapter.base, adapter.trigger)
    assert again.layers.keys() == adapter.layers.keys()
    for name, layer in adapter.layers.items():
        assert torch.equal(layer.down, again.layers[name].down), name
        scaled = again.layers[name].scale * again.layers[name].up
        assert torch.allclose(layer.scale * layer.up, scaled, rtol=1e-6, atol=0), name
        if format_ != "kohya":  # which has one alpha
            assert torch.equal(layer.up, again.layers[name].up), name
            assert again.layers[name].alpha == layer.alpha, name
    assert bases.difference(bases.added(parts, adapter), bases.added(parts, again)) < SAME


@pytest.mark.parametrize("options", [{"use_rslora": True}, {"use_dora": True}, {"rank_pattern": {"to_q": 2}}])
def test_a_file_that_diffusers_saves_does_here_what_it_does_there(options, tmp_path):
    pipeline = bases.sd()
    parts = bases.parts_of(pipeline)
    plain = bases.outputs(parts)
    trained = bases.trained(pipeline.unet, ["to_q", "to_out.0", "conv1", "proj_in"], **options)
    pipeline.unet.save_lora_adapter(tmp_path, adapter_name="default")
    adapter = load(tmp_path / "pytorch_lora_weights.safetensors", Base.of(parts))
    wanted = bases.outputs({"unet": trained})["unet"]
    pipeline.unload_lora_weights()
    path = tmp_path / "ours.safetensors"
    export(adapter, path, Base.of(parts), "diffusers")
    made = read_by_diffusers(pipeline, path)["unet"]
    assert (
        bases.difference({"": wanted}, {"": made})
        < SAME
        < bases.difference({"": wanted}, {"": plain["unet"]})
    )


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
def test_what_is_put_into_networks_does_what_adding_by_hand_does_and_is_taken_again(kind, change):
    parts = bases.parts_of(getattr(bases, kind)())
    adapter = change(bases.adapter_of(Base.of(parts)))
    wanted = bases.added(parts, adapter)
    for part, layers in adapter.parts().items():
        in_peft.put(parts[part], layers)
        again = in_peft.taken(parts[part])
        assert again.keys() == layers.keys()
        for name, layer in layers.items():
            assert torch.equal(layer.up.double(), again[name].up.double())
            assert again[name].alpha == pytest.approx(layer.alpha, rel=1e-12)
            assert (layer.magnitude is None) == (again[name].magnitude is None)
    assert bases.difference(wanted, bases.outputs(parts)) < SAME


def test_peft_does_with_a_folder_what_adding_by_hand_does(pipeline, tmp_path):
    parts = bases.parts_of(pipeline)
    base = Base.of(parts)
    adapter = bases.mixed(bases.adapter_of(base, lambda name: "norm" not in name, seed=5))
    export(adapter, tmp_path, base, "peft")
    wanted = bases.added(parts, adapter)
    for part, network in parts.items():
        peft = PeftModel.from_pretrained(network, tmp_path / part)
        assert bases.difference({part: wanted[part]}, bases.outputs({part: peft})) < SAME
        peft.unload()


def test_names_that_end_like_another_are_not_mixed_up_by_peft(tmp_path):
    parts = {"transformer": bases.sd3().transformer}
    base = Base.of(parts)
    assert "transformer.proj_out" in base.shapes
    parts["transformer"].transformer_blocks[0].proj_out = torch.nn.Linear(3, 3)
    adapter = bases.adapter_of(base, lambda name: name == "transformer.proj_out")
    export(adapter, tmp_path, Base.of(parts), "peft")
    peft = PeftModel.from_pretrained(parts["transformer"], tmp_path)
    assert [name for name in peft.state_dict() if "lora_A" in name] == [
        "base_model.model.proj_out.lora_A.default.weight"
    ]
    peft.unload()


def test_a_folder_of_peft_whose_second_matrix_was_not_trained_is_read(tmp_path):
    """MiCA's, of singular vectors beside a zero; it leaves the base as it was."""
    parts = {"text_encoder": bases.text().float().eval()}
    before = {name: weight.clone() for name, weight in parts["text_encoder"].named_parameters()}
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "fc1"], init_lora_weights="mica")
    peft = get_peft_model(parts["text_encoder"], config)
    matrices = {n: w for n, w in peft.named_parameters() if ".lora_" in n}
    assert {n for n, w in matrices.items() if w.requires_grad} == {n for n in matrices if "lora_A" in n}
    for name, weight in matrices.items():
        assert bool(weight.any()) == ("lora_B" in name)
        if weight.requires_grad:
            weight.data.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    peft.save_pretrained(tmp_path)
    wanted = peft.get_base_model()(WORDS).last_hidden_state.detach()
    own = peft.unload()
    assert all(torch.equal(before[name], weight) for name, weight in own.named_parameters())
    adapter = load(tmp_path, Base.of(parts))
    with bases.with_added(parts, adapter):
        found = own(WORDS).last_hidden_state.detach()
    assert (own(WORDS).last_hidden_state - wanted).abs().max() > 0.01
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_a_folder_that_peft_saves_does_here_what_it_does_there(options, small, tmp_path):
    parts = bases.parts_of(small)
    targets = {"targets": ["q_proj", "fc1"]}
    peft = bases.trained_by_peft(parts["text_encoder"], **targets, **options)
    wanted = bases.outputs({"text_encoder": peft})
    peft.save_pretrained(tmp_path)
    peft.unload()
    adapter = load(tmp_path, Base.of(parts))
    assert {name.partition(".")[0] for name in adapter.layers} == {"text_encoder"}
    made = bases.added(parts, adapter)["text_encoder"]
    assert bases.difference(wanted, {"text_encoder": made}) < SAME


def test_a_file_without_settings_has_alpha_as_rank_as_in_diffusers_which_is_said(tmp_path, caplog):
    pipeline = bases.sd()
    parts = bases.parts_of(pipeline)
    bases.trained(pipeline.unet, ["to_k"])
    state = get_peft_model_state_dict(pipeline.unet)
    pipeline.save_lora_weights(tmp_path, unet_lora_layers=state)
    pipeline.unload_lora_weights()
    path = tmp_path / "pytorch_lora_weights.safetensors"
    adapter = load(path, Base.of(parts))
    assert {(layer.alpha, layer.rank) for layer in adapter.layers.values()} == {(3.0, 3)}
    lines = [record.getMessage() for record in caplog.records if str(path) in record.getMessage()]
    assert [line.removeprefix(f"{path}: ").partition(", ")[0] for line in lines] == [
        "8 of 8 layers say no alpha",
        "no hash of its base; 8 layers fit by shape",
    ]
    assert bases.difference(bases.added(parts, adapter), read_by_diffusers(pipeline, path)) < SAME


def test_a_file_that_diffusers_converts_for_kohya_is_read(small, tmp_path):
    parts = bases.parts_of(small)
    base = Base.of(parts)
    adapter = bases.adapter_of(base, lambda name: name.startswith("unet."), alpha=3.0)
    export(adapter, tmp_path / "a.safetensors", base, "diffusers")
    theirs = convert_state_dict_to_kohya(load_file(tmp_path / "a.safetensors"))
    save_file(theirs, tmp_path / "b.safetensors")
    again = load(tmp_path / "b.safetensors", base)
    assert again.layers.keys() == adapter.layers.keys()
    assert bases.difference(bases.added(parts, adapter), bases.added(parts, again)) < SAME


def test_the_settings_in_the_header_are_those_that_diffusers_writes(small, tmp_path):
    parts = bases.parts_of(small)
    base = Base.of(parts)
    adapter = bases.adapter_of(base, lambda name: name.endswith("to_q"), rank=2, alpha=4.0)
    export(adapter, tmp_path / "a.safetensors", base, "diffusers")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        header = file.metadata()
    said = json.loads(header[LORA_ADAPTER_METADATA_KEY])
    assert (said["unet.r"], said["unet.lora_alpha"]) == (2, 4)
    assert set(said["unet.target_modules"]) == {name.removeprefix("unet.") for name in adapter.layers}
    LoraConfig(**{key.removeprefix("unet."): value for key, value in said.items()})
