"""Weights come from where they lie, whole and as published, or not at all; nothing is downloaded."""

import hashlib
import pickle
import re
import socket

import pytest
import torch

from condiff import hub
from condiff.evaluation.features import weights
from condiff.evaluation.features.dinov2 import DINOv2
from condiff.evaluation.features.inception import Inception
from condiff.evaluation.features.loading import load_by_position, load_strictly
from condiff.evaluation.features.weights import WeightFile
from condiff.pretrained import folder_of


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def places(tmp_path, monkeypatch):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(weights, "PLACES", [str(folder) for folder in folders])
    return folders


def saved(file, tensors):
    torch.save(tensors, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_is_found_in_any_place_under_any_of_its_names(places):
    sha = saved(places[1] / "b.pth", {"w": torch.ones(2)})
    assert WeightFile(("a.pth", "b.pth"), sha).load()["w"].tolist() == [1, 1]


def test_a_path_is_the_only_place_where_one_is_given(places):
    sha = saved(places[0] / "a.pth", {"w": torch.ones(2)})
    with pytest.raises(ValueError, match=r"elsewhere.pth cannot be read \(No such file"):
        WeightFile(("a.pth",), sha).load(str(places[0] / "elsewhere.pth"))
    with pytest.raises(ValueError, match="cannot be read"):
        WeightFile(("a.pth",), sha).load(str(places[0]))


def test_a_missing_file_is_told_in_one_line_with_its_name_its_sha_and_where_to_put_it(places):
    with pytest.raises(ValueError, match=re.escape("6726825d0af5f729cebd5821db510b11b1cfad8f")) as refused:
        Inception()
    said = str(refused.value)
    assert "pt_inception-2015-12-05-6726825d.pth" in said
    assert all(str(place) in said for place in places)
    assert "\n" not in said


def test_a_model_that_is_not_in_the_cache_is_told_and_not_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="nobody/nothing is not in the hub's local cache; give path=FOLDER"):
        DINOv2(model="nobody/nothing")


def test_a_model_that_may_be_downloaded_is_so_once_and_never_its_pickles(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    there, fetched = ["config.json", "vocab.txt", "model.safetensors", "pytorch_model.bin", "model.py"], []
    folder = tmp_path / "models--some--one" / "snapshots" / "abc"

    def fetch(name, chosen):
        fetched.append(chosen(there, name))
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parents[1] / "refs").mkdir(exist_ok=True)
        (folder.parents[1] / "refs" / "main").write_text("abc")
        for file in fetched[-1]:
            (folder / file).touch()

    monkeypatch.setattr(hub, "download", fetch)
    assert folder_of("some/one", None, download=True) == folder
    assert folder_of("some/one", None, download=True) == folder_of("some/one", None, download=False) == folder
    assert fetched == [["config.json", "vocab.txt", "model.safetensors"]]
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="some/one is not in the hub's local cache"):
        folder_of("some/one", None, download=False)
    assert folder_of("some/one", None, download=True) == folder
    assert len(fetched) == 2


class Canary:
    def __reduce__(self):
        return open, ("canary", "w")


def test_a_damaged_file_is_refused_before_any_of_it_is_read(places, monkeypatch):
    monkeypatch.chdir(places[0])
    sha = saved(places[0] / "a.pth", {"w": torch.ones(2)})
    (places[0] / "a.pth").write_bytes(pickle.dumps(Canary()))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=r"a.pth is damaged or another file: its sha256 is"):
        WeightFile(("a.pth",), sha).load()
    assert not (places[0] / "canary").exists()


def test_nothing_in_a_file_runs_even_where_its_sha_is_right(places, monkeypatch):
    monkeypatch.chdir(places[0])
    (places[0] / "a.pth").write_bytes(pickle.dumps(Canary()))
    sha = hashlib.sha256((places[0] / "a.pth").read_bytes()).hexdigest()
    with pytest.raises(pickle.UnpicklingError):
        WeightFile(("a.pth",), sha).load()
    assert not (places[0] / "canary").exists()


def test_weights_that_do_not_fit_are_refused():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    right = {name: torch.zeros_like(part) for name, part in network.state_dict().items()}
    without = {name: part for name, part in right.items() if name != "0.bias"}
    for wrong in (without, {**right, "2.bias": torch.zeros(3)}, {**right, "0.bias": torch.zeros(4)}):
        with pytest.raises(ValueError, match="bias does not fit"):
            load_strictly(network, wrong)
    counterless = {name: part for name, part in right.items() if "num_batches" not in name}
    assert load_strictly(network, counterless)[0].weight.abs().max() == 0
    with pytest.raises(ValueError, match="has 7 tensors, the weights 6"):
        load_by_position(network, without)
