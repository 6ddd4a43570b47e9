"""A file of weights fits a network tensor by tensor, or one line says what is wrong; no code in it is run."""

import pickle

import pytest
import torch
from networks.adm_original import random
from networks.test_adm import CLASSIFIERS, SMALL, built, filled
from safetensors.torch import save_file

FLAGS = SMALL.but(num_classes=5)


def refused(weights, path, flags=FLAGS) -> str:
    """What is said of a file with these tensors."""
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    with pytest.raises(ValueError, match=r"^network\.weights: ") as told:
        built(flags, weights=str(path)).fill("network")
    return str(told.value)


@pytest.mark.parametrize("flags", [FLAGS, CLASSIFIERS["plain"]], ids=["u-net", "classifier"])
def test_a_pt_gives_what_safetensors_give(flags, tmp_path):
    weights = random(flags)
    torch.save(weights, tmp_path / "weights.pt")
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    expected = filled(flags, weights, tmp_path).state_dict()
    for name in ("weights.pt", "old.pt"):
        net = built(flags, weights=str(tmp_path / name))
        net.fill("network")
        assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())
    fresh = built(flags).state_dict()
    assert not any(torch.equal(value, expected[name]) for name, value in fresh.items())


def test_half_precision_is_taken_into_single(tmp_path):
    weights = {name: value.half() for name, value in random(FLAGS).items()}
    net = filled(FLAGS, weights, tmp_path)
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}
    assert torch.equal(net.state_dict()["out.2.weight"], weights["out.2.weight"].float())


def test_a_tensor_too_few_or_too_many_is_named_with_the_file(tmp_path):
    weights, path = random(FLAGS), tmp_path / "x.safetensors"
    del weights["label_emb.weight"]
    assert refused(weights, path) == (
        f"network.weights: {path} does not fit network (ADM): it lacks label_emb.weight; set network to the"
        " configuration that the file was trained with, and the data to its classes"
    )
    weights = {**random(FLAGS), "input_blocks.9.0.weight": torch.zeros(1)}
    assert "it has nothing to do with input_blocks.9.0.weight;" in refused(weights, path)


def test_of_many_misfits_the_first_are_told_and_the_rest_counted(tmp_path):
    said = refused(random(FLAGS.but(channel_mult=(1, 2, 2), num_classes=None)), tmp_path / "x.safetensors")
    assert "it lacks label_emb.weight" in said
    assert "it has nothing to do with input_blocks." in said
    assert " more; set network to" in said
    assert "\n" not in said
    assert len(said) < 1000


def test_another_number_of_classes_is_told_with_both_shapes(tmp_path):
    said = refused(random(FLAGS.but(num_classes=7)), tmp_path / "x.safetensors")
    assert "it has in another shape label_emb.weight [7, 128], not [5, 128];" in said


def test_a_linear_layer_in_the_place_of_a_convolution_is_another_shape(tmp_path):
    weights = random(FLAGS)
    weights["middle_block.1.proj_out.weight"] = weights["middle_block.1.proj_out.weight"].squeeze(-1)
    said = refused(weights, tmp_path / "x.safetensors")
    assert "middle_block.1.proj_out.weight [64, 64], not [64, 64, 1]" in said


class _Hostile:
    def __init__(self, canary) -> None:
        self.canary = canary

    def __reduce__(self):
        return open, (str(self.canary), "w")


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_pt_is_never_run(is_zip, tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "x.pt"
    content = {**random(FLAGS), "more": _Hostile(canary)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r"x\.pt is damaged, or holds more than tensors, and that is never"):
        built(FLAGS, weights=str(path)).fill("network")
    path.write_bytes(pickle.dumps(_Hostile(canary)))
    with pytest.raises(ValueError, match=r"x\.pt is damaged, or holds more than tensors"):
        built(FLAGS, weights=str(path)).fill("network")
    assert not canary.exists()


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("kept", [0, 10, 5000])
def test_a_damaged_file_is_told_in_one_line(name, kept, tmp_path):
    path = tmp_path / name
    save_file(random(FLAGS), path) if name.endswith("safetensors") else torch.save(random(FLAGS), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"^network\.weights: .*{name} is damaged"):
        built(FLAGS, weights=str(path)).fill("network")


@pytest.mark.parametrize("content", [{"model": {"a": torch.zeros(1)}}, [torch.zeros(1)], torch.zeros(1)])
def test_only_tensors_by_name_are_taken(content, tmp_path):
    assert "x.pt must hold tensors by name and nothing else" in refused(content, tmp_path / "x.pt")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.pt cannot be read \(No such file or directory\)"):
        built(FLAGS, weights=str(tmp_path / "gone.pt")).fill("network")
