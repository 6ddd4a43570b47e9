"""What is no adapter of this base, or not all of one, is refused in one line with counts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from adapters import bases
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from condiff.adapters.about import KEY
from condiff.adapters.base import Base, digest_of
from condiff.adapters.formats import detect, export, load

ATTENTION = ("to_q", "to_k", "q_proj")


@pytest.fixture(scope="module")
def parts():
    return bases.parts_of(bases.sd())


@pytest.fixture(scope="module")
def base(parts):
    return Base.of(parts)


@pytest.fixture
def adapter(base):
    return bases.adapter_of(base, lambda name: name.endswith(ATTENTION), rank=2)


def file_of(adapter, base, format_, folder, change=lambda tensors: tensors, header=None):
    """A file of the adapter with other tensors, and a header that is changed or left out."""
    path = folder / "a.safetensors"
    export(adapter, path, base, format_)
    with safe_open(path, framework="pt") as file:
        words = dict(file.metadata())
    words.pop(KEY)  # as of another program
    save_file(change(load_file(path)), path, {**words, **(header or {})})
    return path


def refused(path, base):
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load(path, base)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def renamed(old, new):
    return lambda tensors: {key.replace(old, new): value for key, value in tensors.items()}


def without(end, only=""):
    return lambda tensors: {
        key: value for key, value in tensors.items() if not (key.endswith(end) and only in key)
    }


def of_an_embedding(tensors):
    """Its two matrices are transposed against those of a layer, so that none of them is guessed at."""
    return {**tensors, "text_encoder.embeddings.token_embedding.lora_embedding_A": torch.ones(2, bases.WORDS)}


@pytest.mark.parametrize(
    ("format_", "change", "said"),
    [
        ("diffusers", renamed("attn1", "attn9"), r"8 of 18 layers match nothing in the base, unet\.\S+attn9"),
        ("kohya", renamed("attn1", "attn9"), r"8 of 18 layers match nothing in the base, lora_unet\S+attn9"),
        ("diffusers", renamed("unet.", "model.unet."), r"16 of 18 layers have a wrong prefix, model\.unet\."),
        ("kohya", renamed("lora_unet_", "lora_net_"), r"48 of 54 keys have a wrong prefix, lora_net_"),
        ("diffusers", without("lora_B.weight", "to_q"), r"8 of 18 layers lack a half, \S+to_q has only down"),
        ("diffusers", without("lora_A.weight", "to_q"), r"8 of 18 layers lack a half, \S+to_q has only up"),
        ("kohya", without("lora_up.weight"), r"18 of 18 layers lack a half, \S+ has only alpha, down"),
        ("kohya", without("alpha", "to_q"), r"8 of 18 layers have no alpha, \S+to_q"),
        ("kohya", renamed("lora_up", "hada_w1_a"), r"18 of 54 keys are no part of a LoRA, \S+hada_w1_a"),
        ("diffusers", of_an_embedding, r"1 of 37 keys are no part of a LoRA, \S+lora_embedding_A"),
    ],
)
def test_what_is_not_whole_or_not_of_the_base_is_refused_with_counts(
    format_, change, said, base, adapter, tmp_path
):
    path = file_of(adapter, base, format_, tmp_path, change)
    assert re.match(said, refused(path, base))


@pytest.mark.parametrize("format_", ["diffusers", "kohya", "peft"])
def test_an_adapter_of_a_wider_base_is_refused_with_shapes(format_, adapter, base, tmp_path):
    wide = {name: replace(layer, down=torch.ones(2, 99)) for name, layer in adapter.layers.items()}
    shapes = {name: (*base.shapes[name][:1], 99) for name in adapter.layers}
    path = tmp_path / ("folder" if format_ == "peft" else "a.safetensors")
    export(replace(adapter, layers=wide), path, Base({**base.shapes, **shapes}), format_)
    with pytest.raises(ValueError, match=r"of \d+ layers do not fit the base, \S+ with a down \[2, 99\]"):
        load(path, base)


def test_a_base_that_lacks_a_part_is_not_enough(parts, base, adapter, tmp_path):
    path = file_of(adapter, base, "diffusers", tmp_path)
    only = Base.of({"unet": parts["unet"]})
    assert re.match(r"2 of 18 layers match nothing in the base, text_encoder", refused(path, only))


@pytest.mark.parametrize("format_", ["diffusers", "kohya", "peft"])
def test_the_hash_of_another_base_is_refused(format_, parts, base, adapter, tmp_path):
    own = {name: digest_of(part) for name, part in parts.items()}
    path = tmp_path / ("folder" if format_ == "peft" else "a.safetensors")
    export(replace(adapter, base=own), path, base, format_)
    assert load(path, Base.of(parts, own)).base == own
    assert load(path, base).base == own  # of which nothing is known
    for part in parts:
        with pytest.raises(
            ValueError, match=f"trained on the {part} {own[part][:12]}, and this one is other"
        ):
            load(path, Base.of(parts, {**own, part: "other"}))


def test_the_hash_of_a_part_that_is_not_adapted_does_not_count(parts, base, tmp_path):
    own = {name: digest_of(part) for name, part in parts.items()}
    adapter = bases.adapter_of(base, lambda name: name.startswith("unet."))
    export(replace(adapter, base=own), tmp_path / "a.safetensors", base, "diffusers")
    assert load(tmp_path / "a.safetensors", Base.of(parts, {**own, "text_encoder": "other"})).layers


def test_the_hash_of_a_base_is_of_its_weights_alone():
    unet = bases.sd().unet
    own, shapes = digest_of(unet), Base.of({"unet": unet}).shapes
    bases.trained(unet, ["to_q"])
    assert digest_of(unet) == own
    assert Base.of({"unet": unet}).shapes == shapes
    with torch.no_grad():
        unet.conv_in.bias[0] += 1
    assert digest_of(unet) != own


def test_a_rank_that_is_not_that_of_the_settings_is_refused(base, adapter, tmp_path):
    path = file_of(adapter, base, "diffusers", tmp_path)
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()["lora_adapter_metadata"])
    header = {"lora_adapter_metadata": json.dumps({**settings, "unet.r": 7})}
    path = file_of(adapter, base, "diffusers", tmp_path, header=header)
    assert re.search(r"has rank 2, and the settings beside it say 7", refused(path, base))
    path = file_of(adapter, base, "kohya", tmp_path, header={"ss_network_dim": "7"})
    assert re.match(r"18 of 18 layers have another rank than the 7 that its header says", refused(path, base))


def test_a_part_without_settings_is_refused_where_others_have_them(base, adapter, tmp_path):
    header = {"lora_adapter_metadata": json.dumps({"unet.r": 2, "unet.lora_alpha": 2})}
    path = file_of(adapter, base, "diffusers", tmp_path, header=header)
    assert "no text_encoder.r" in refused(path, base)


def test_a_file_that_lost_layers_is_refused_by_its_own_count(base, adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    export(adapter, path, base, "kohya")
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata())
    save_file({k: v for k, v in load_file(path).items() if "lora_te_" not in k}, path, header)
    assert re.match("it has 16 of the 18 layers that its header counts", refused(path, base))


@pytest.mark.parametrize("name", ["a.bin", "a.pt", "a.ckpt", "a.pth"])
def test_files_that_can_hold_code_are_never_opened(name, base, tmp_path):
    (tmp_path / name).write_bytes(b"no pickle")
    assert re.match(r"only \*.safetensors is read", refused(tmp_path / name, base))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.bin").write_bytes(b"no pickle")
    assert re.match(r"it has no adapter_model.safetensors, the only file", refused(folder, base))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"peft_type": "LOHA"}, "peft_type is LOHA; only LORA is read"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is pissa, which changes the base too"),
        ({"bias": "all"}, "bias is all, which is not read"),
        ({"modules_to_save": ["conv_in"]}, "modules_to_save is"),
        ({"alpha_pattern": {"(a+)+b": 3}}, "is no pattern that is read"),
        ({"r": "8"}, "must be positive numbers"),
        ({"rank_pattern": [3]}, "must be numbers by name"),
        ({"rank_pattern": {"^down_blocks": 5, ".*to_k": 5}}, "has rank 2, and the settings beside it say 5"),
        ({"use_dora": True}, "has no magnitude, but use_dora is set"),
    ],
)
def test_settings_of_peft_that_mean_something_else_are_refused(setting, said, base, tmp_path):
    adapter = bases.adapter_of(base, lambda name: name.endswith("to_k"), rank=2)
    export(adapter, tmp_path, base, "peft")
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **setting}))
    with pytest.raises(ValueError, match=re.escape(said)):
        load(tmp_path, base)


def test_settings_without_alpha_are_refused_with_counts(base, adapter, tmp_path):
    """peft's own default would be a guess, as what is there now is not all that was written."""
    header = {"lora_adapter_metadata": json.dumps({"unet.r": 2, "text_encoder.r": 2, "unet.lora_alpha": 5})}
    path = file_of(adapter, base, "diffusers", tmp_path, header=header)
    assert re.match(r"2 of 18 layers have no alpha, text_encoder\.", refused(path, base))
    export(bases.adapter_of(base, lambda name: name.endswith("fc1")), tmp_path / "folder", base, "peft")
    config = tmp_path / "folder" / "adapter_config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps({key: said[key] for key in said if key != "lora_alpha"}))
    assert re.match("2 of 2 layers have no alpha", refused(tmp_path / "folder", base))


def test_a_file_without_a_hash_fits_by_shape_which_is_said(base, adapter, tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    for own, lines in (
        ({}, ["no hash of its base; 18 layers fit by shape"]),
        ({"unet": "b"}, ["no hash of its base; 2 layers fit by shape"]),
        ({"unet": "b", "text_encoder": "b"}, []),
    ):
        caplog.clear()
        export(replace(adapter, base=own), path, base, "kohya")
        load(path, base)
        assert [record.getMessage() for record in caplog.records] == [f"{path}: {line}" for line in lines]


def test_a_folder_of_peft_finds_the_part_that_it_is_of(base, tmp_path):
    adapter = bases.adapter_of(base, lambda name: name.endswith("fc1"))
    export(adapter, tmp_path, base, "peft")
    weights = tmp_path / "adapter_model.safetensors"
    save_file(load_file(weights), weights)  # as peft writes it, which does not say
    assert load(tmp_path, base).layers.keys() == adapter.layers.keys()
    twice = Base(
        {**base.shapes, **{name.replace("er.", "er_2.", 1): shape for name, shape in base.shapes.items()}}
    )
    with pytest.raises(ValueError, match="its 2 layers are in each of text_encoder, text_encoder_2"):
        load(tmp_path, twice)
    save_file(renamed("fc1", "fc7")(load_file(weights)), weights)
    with pytest.raises(
        ValueError, match=r"2 of 2 layers match nothing in the base, encoder\.layers\.0\.mlp\.fc7"
    ):
        load(tmp_path, base)


def test_a_magnitude_of_columns_is_refused(base, adapter, tmp_path):
    name = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    magnitude = {f"{name}.dora_scale": torch.ones(1, 16)}
    path = file_of(adapter, base, "kohya", tmp_path, lambda tensors: {**tensors, **magnitude})
    assert re.match("1 of 18 layers have a dora_scale of columns", refused(path, base))


def test_a_transformer_is_not_read_or_written_as_kohya(base, adapter, tmp_path):
    path = file_of(adapter, base, "kohya", tmp_path)
    three = Base.of({"transformer": bases.sd3().transformer})
    said = "its 54 tensors are as kohya's programs have them, which is not read for a Stable Diffusion 3;"
    assert re.match(said, refused(path, three))
    save_file(renamed("lora_te_", "lora_te3_")(load_file(path)), path)
    assert re.match(said, refused(path, base))
    path.unlink()
    adapter = bases.adapter_of(three, lambda name: name.endswith("attn.to_q"))
    with pytest.raises(ValueError, match="2 of 2 layers have no name of their own in kohya's format"):
        export(adapter, tmp_path / "a.safetensors", three, "kohya")
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_foreign_files_are_refused(base, adapter, tmp_path):
    path = file_of(adapter, base, "diffusers", tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert re.match("damaged", refused(path, base))
    save_file({"unet.conv_in.weight": torch.ones(1)}, path)
    assert re.match("none of its 1 keys is of a LoRA", refused(path, base))
    nan = file_of(
        adapter, base, "diffusers", tmp_path, lambda tensors: {k: v / 0 for k, v in tensors.items()}
    )
    assert re.match("36 of 36 tensors are not finite", refused(nan, base))
    with pytest.raises(ValueError, match="there is no format pickle; choose one of diffusers, kohya, peft"):
        export(adapter, path, base, "pickle")
    with pytest.raises(ValueError, match=r"written as \*\.safetensors"):
        export(adapter, Path(tmp_path / "a.bin"), base, "kohya")
    with pytest.raises(ValueError, match="it is no folder of peft"):
        detect(tmp_path)
    with pytest.raises(ValueError, match="is there already; peft's format is a folder"):
        export(adapter, tmp_path, base, "peft")


def test_the_header_says_rank_alpha_targets_base_and_trigger(base, adapter, tmp_path):
    path = tmp_path / "a.safetensors"
    for format_ in ("diffusers", "kohya"):
        export(replace(adapter, base={"unet": "b" * 64}, trigger=("sks", "dog")), path, base, format_)
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
        assert json.loads(header[KEY]) == {
            "rank": [2],
            "alpha": [5.0],
            "targets": ["q_proj", "to_k", "to_q"],
            "layers": 18,
            "base": {"unet": "b" * 64},
            "trigger": ["sks", "dog"],
        }
        assert header["modelspec.trigger_phrase"] == "sks, dog"
    assert (header["ss_network_dim"], header["ss_network_alpha"]) == ("2", "5")
