"""Which network a metric looks through, and how often it looks."""

import copy

import pytest
import torch
from safetensors import safe_open

from condiff.config.needed_stages import is_judged
from condiff.data.dataset import ShardDataset
from condiff.data.prepare import prepare
from condiff.data.shapes import Shapes
from condiff.data.source import DataInfo
from condiff.errors import ConfigError, DataError
from condiff.evaluation.features import efficientnet_lite0
from condiff.evaluation.features.efficientnet_lite0 import EfficientNetLite0, EfficientNetLite0Body
from condiff.evaluation.judge import Judge
from condiff.stages import metrics as stage
from condiff.stages.metrics import (
    entries_of,
    metrics_of,
    per_sample_of,
    take_in_real,
    update,
    write_per_sample,
)
from condiff.stages.stage import ASKED, PER_SAMPLE, Artifact, Runtime
from tests.evaluation.weights import pictures

FRECHET = {"_target_": "condiff.evaluation.frechet.FrechetDistance"}
BODY = {
    "_target_": "condiff.evaluation.features.efficientnet_lite0.EfficientNetLite0Body",
    "resolution": 32,
}
WHOLE = {**BODY, "_target_": "condiff.evaluation.features.efficientnet_lite0.EfficientNetLite0"}
NODES = {
    "every": 0,
    "fd_judge": FRECHET,
    "fd": {**FRECHET, "extractor": BODY},
    "kid": {"_target_": "condiff.evaluation.kernel.KernelDistance", "extractor": dict(BODY)},
    "fd_whole": {**FRECHET, "extractor": WHOLE},
    "is": {"_target_": "condiff.evaluation.inception_score.InceptionScore", "splits": 2, "judge": WHOLE},
    "accuracy": {"_target_": "condiff.evaluation.accuracy.ClassAccuracy"},
}


@pytest.fixture
def looked(monkeypatch):
    """How often each network was asked for features."""
    seen = {"judge": 0, "body": 0, "whole": 0}

    def counting(name, forward):
        def counted(self, x):
            seen[name] += 1
            return forward(self, x)

        return counted

    monkeypatch.setattr(Judge, "forward", counting("judge", Judge.forward))
    for name, kind in (("body", EfficientNetLite0Body), ("whole", EfficientNetLite0)):
        monkeypatch.setattr(kind, "features", counting(name, kind.features))
    return seen


def made(folder):
    """A judge and the data it was trained on, as a study has them."""
    DataInfo(4, [*"abcd"], 3, 32, 8, 8, False, "none", []).write(folder)
    return {name: Artifact(name, folder, {}) for name in ("data", "judge")}


@pytest.fixture
def metrics(monkeypatch, tmp_path):
    judge = Judge(channels=3, num_classes=4, size=32, width=8, feature_dim=6).eval()
    monkeypatch.setattr(stage, "load_judge", lambda *_: judge)
    return metrics_of(NODES, {**made(tmp_path)}, torch.device("cpu"))


def show(metrics):
    with torch.no_grad():
        for side in ("samples", "train"):
            update(metrics, side, pictures(8, 32, 32), torch.arange(8) % 4)


def test_a_network_that_a_metric_is_given_stands_before_the_judge(metrics):
    show(metrics)
    found = {name: entry["protocol"] for name, entry in entries_of(metrics).items()}
    for name, protocol in found.items():
        own = name.startswith(("fd_whole", "fd_biased", "kid", "is"))
        assert ("efficientnet_lite0" in protocol) == own
        assert ("judge" in protocol) != own
    assert len(found) == 7


def test_a_network_of_several_metrics_is_built_once_and_sees_each_batch_once(metrics, looked):
    show(metrics)
    assert looked == {"judge": 2, "body": 2, "whole": 2}


def test_metrics_that_are_copied_share_their_networks(metrics, looked):
    copied = copy.deepcopy(metrics)
    assert copied["fd"].extractor is metrics["fd"].extractor
    assert copied["fd"].extractor.network.network is metrics["kid"].extractor.network.network
    show(copied)
    assert int(metrics["fd"].fake_count) == 0
    assert looked["body"] == 2


def test_a_networks_own_file_is_told_under_the_key_of_its_metric(monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet_lite0.FILE.__class__, "find", _absent)
    monkeypatch.setattr(stage, "load_judge", lambda *_: Judge(1, 2, 8))
    with pytest.raises(ConfigError, match=r"^error\[2\]: metrics\.fd\.extractor: absent"):
        metrics_of(NODES, made(tmp_path), torch.device("cpu"))


def _absent(self, path):
    raise ValueError("absent")


def test_the_judge_refuses_pictures_of_another_size(metrics):
    with pytest.raises(
        DataError, match=r"metrics\.fd_judge: the judge \S+ sees pictures of \[3, 32, 32\], got \[3, 16, 16\]"
    ):
        update({"fd_judge": metrics["fd_judge"]}, "samples", pictures(2, 16, 16), None)


def test_a_network_that_is_null_is_the_judge_for_what_plans_and_for_what_builds(metrics, tmp_path):
    node = {**FRECHET, "extractor": None}
    assert is_judged(node)
    (built,) = metrics_of({"fd": node}, made(tmp_path), torch.device("cpu")).values()
    assert built.extractor.name == metrics["fd_judge"].extractor.name


def test_without_a_judge_there_are_the_metrics_that_bring_their_own():
    own = {name: NODES[name] for name in ("fd", "kid")}
    assert [*metrics_of(own, {}, torch.device("cpu"))] == ["fd", "kid"]


def test_a_distance_of_two_metrics_is_built_once_and_measures_the_samples(monkeypatch, tmp_path):
    monkeypatch.setattr(stage, "load_judge", lambda *_: Judge(channels=3, num_classes=4, size=32))
    distance = {
        "_target_": "condiff.evaluation.features.perceptual.EfficientNetLite0Distance",
        "resolution": 32,
    }
    node = {"_target_": "condiff.evaluation.pairwise.PairwiseDiversity", "distance": distance}
    nodes = {"diversity": node, "diversity_floor": {**node, "fake": "held_out"}}
    metrics = metrics_of(nodes, made(tmp_path), torch.device("cpu"))
    assert metrics["diversity"].distance is metrics["diversity_floor"].distance
    for side in ("samples", "held_out"):
        update(metrics, side, pictures(8, 32, 32), torch.arange(8) % 4)
    found = entries_of(metrics)
    assert found["diversity"]["value"] == found["diversity_floor"]["value"] > 0
    assert "held_out, mean over disjoint pairs" in found["diversity_floor"]["protocol"]


def test_a_distance_to_a_bases_pictures_is_to_these_and_its_moments_are_kept_as_theirs(monkeypatch, tmp_path):
    """Of samples that are the base's it is 0; moments of the data are of the data, whatever the base."""
    monkeypatch.setattr(stage, "load_judge", lambda *_: judge)
    torch.manual_seed(0)
    judge = Judge(channels=3, num_classes=4, size=32, width=8, feature_dim=6).eval()
    base, *others = (shapes(tmp_path, seed) for seed in range(3))
    (batch,) = ShardDataset(base.path, "train").chunks(24)
    nodes = {"to_base": {**FRECHET, "real": "base"}, "to_data": FRECHET}
    nodes |= {"from_base": {**FRECHET, "fake": "base"}, "to_base_from": {**nodes["to_base"], "fake": "train"}}
    found = []
    for data in (base, *others, others[0]):
        inputs = {"data": data, "judge": base, "base_data": base}
        metrics = metrics_of(nodes, inputs, torch.device("cpu"))
        take_in_real(metrics, inputs, Runtime(accelerator="cpu", statistics=tmp_path / "moments"))
        with torch.no_grad():
            update(metrics, "samples", batch["image"], None)
        found.append([entry["value"] for entry in entries_of(metrics).values()])
    for to_base, to_data, *swapped in found:
        assert to_base == pytest.approx(0, abs=1e-9)
        assert swapped == [pytest.approx(to_data, abs=1e-9)] * 2
    (_, own), (_, one), (_, other), (_, again) = (values[:2] for values in found)
    assert own == pytest.approx(0, abs=1e-9)
    assert min(one, other, abs(one - other)) > 1e-6
    assert again == pytest.approx(one, abs=1e-9)


def shapes(folder, seed):
    prepare(Shapes(size=32, num_train=24, num_held_out=12, seed=seed), folder / f"shapes {seed}")
    return Artifact(f"shapes {seed}", folder / f"shapes {seed}", {})


def test_values_per_sample_are_left_beside_the_metrics_that_are_their_mean(metrics, tmp_path):
    show(metrics)
    stored = {"label": torch.arange(8) % 4}
    values = per_sample_of(metrics)
    entries = entries_of(metrics)
    named = ["fd_judge", "fd_biased_n8", "fd_whole_biased_n8", "accuracy"]
    assert [*values] == [name for name in entries if name in named] == named
    for name in named:
        assert float(values[name].double().mean()) == pytest.approx(entries[name]["value"], rel=1e-9)
    write_per_sample(tmp_path / PER_SAMPLE, values, stored)
    with safe_open(tmp_path / PER_SAMPLE, framework="numpy") as file:
        hits = file.get_tensor("accuracy")
        asked = file.metadata()[ASKED]
    assert (hits.dtype, hits.shape) == (bool, (8,))
    assert hits.mean() == entries_of(metrics)["accuracy"]["value"]
    write_per_sample(tmp_path / "other", values, {"label": stored["label"].flip(0)})
    with safe_open(tmp_path / "other", framework="numpy") as file:
        assert file.metadata()[ASKED] != asked


def test_metrics_that_are_no_mean_over_samples_leave_no_file(metrics, tmp_path):
    kept = {name: metrics[name] for name in ("kid", "is")}
    show(kept)
    write_per_sample(tmp_path / PER_SAMPLE, per_sample_of(kept), {"label": torch.arange(8)})
    assert [*tmp_path.glob("*safetensors")] == []
