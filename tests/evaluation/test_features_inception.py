"""The Inception of 2015: its shape, what sets it apart from torchvision's, and how it is held."""

import copy

import pytest
import torch
from torch import nn

from condiff.evaluation.features import inception
from condiff.evaluation.features.inception import Inception, InceptionSpatial
from condiff.evaluation.features.inception_network import Average, Inception2015, Maximum, Mixed
from condiff.evaluation.features.preprocess import CleanFid, EDM2Truncated, Fid, Torchmetrics
from condiff.evaluation.features.weights import WeightFile
from condiff.evaluation.frechet import FrechetDistance
from condiff.files import digest, file_digest
from tests.evaluation.weights import lively, pictures

NAMES_AND_SHAPES = "579c09ebb0c6f0f4c9f0a51099479eb353aaee1969adaaf05fbc5cefaa1f987e"


@pytest.fixture(scope="module")
def network():
    return lively(Inception2015()).eval()


@pytest.fixture(scope="module")
def features(network, tmp_path_factory):
    """The extractors, with random weights of the published names."""
    file = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "FILE", WeightFile((file.name,), file_digest(file)))
        yield lambda kind, *given: kind(*given, path=str(file))


@pytest.fixture(scope="module")
def pool3(features):
    return features(Inception)


def test_its_weights_have_the_published_names_and_shapes(network):
    """Stored from torch-fidelity 0.4.0's module, which test_features_oracle.py compares with."""
    shapes = {name: [*part.shape] for name, part in network.state_dict().items() if "num_batches" not in name}
    assert len(shapes) == 472
    assert sum(part.numel() for part in network.parameters()) == 23_850_960
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 23_885_392
    assert digest(sorted(shapes.items())) == NAMES_AND_SHAPES


def test_average_pools_leave_the_padding_out(network):
    assert Average()(torch.ones(1, 1, 3, 3)).equal(torch.ones(1, 1, 3, 3))
    mixed = [block for block in network.modules() if isinstance(block, Mixed)]
    assert [type(block.pool) for block in mixed] == [
        *[Average] * 3, Maximum, *[Average] * 4, Maximum, Average, Maximum,
    ]  # fmt: skip


def test_the_last_block_pools_by_maximum(network):
    spike = torch.zeros(1, 1, 3, 3)
    spike[..., 1, 1] = 9
    assert network.Mixed_7c.pool(spike).unique().tolist() == [9]
    assert network.Mixed_7b.pool(spike)[..., 0, 0] == 9 / 4


def test_its_norm_is_tensorflows(network):
    assert {norm.eps for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)} == {1e-3}


def test_features_logits_and_places_have_their_sizes(pool3, features):
    x = pictures(2, 32, 32, channels=1)
    assert pool3(x).shape == (2, pool3.feature_dim) == (2, 2048)
    assert pool3.logits(x).shape == (2, 1008)
    spatial = features(InceptionSpatial)
    assert spatial(x).shape == (2, spatial.feature_dim) == (2, 2023)


def test_logits_have_no_bias(pool3):
    assert pool3.network.fc.bias.abs().max() > 0
    assert pool3.head(torch.zeros(1, 2048)).abs().max() == 0


def test_spatial_features_go_place_by_place(network):
    with torch.no_grad():
        x = pictures(1, 299, 299)
        found = network.spatial(x).reshape(17, 17, 7)
        branch = network.Mixed_6d.get_submodule("branch1x1")(network._middle(x))
    assert found[3, 5].equal(branch[0, :7, 3, 5])


def test_a_batch_is_looked_at_in_parts_and_none_changes_another(pool3, monkeypatch):
    x = pictures(3, 16, 16)
    whole = pool3(x)
    monkeypatch.setattr(pool3, "at_once", 2)
    assert torch.allclose(pool3(x), whole, rtol=1e-4, atol=1e-4)
    assert pool3(x[:0]).shape == (0, 2048)


def test_it_is_frozen_and_no_checkpoint_or_copy_holds_it(pool3):
    metric = FrechetDistance(pool3).train()
    metric.persistent(True)
    assert not any("network" in name or "extractor" in name for name in metric.state_dict())
    assert [*metric.parameters()] == []
    assert not pool3.network.training
    x = pictures(1, 16, 16).requires_grad_()
    assert not pool3(x).requires_grad
    assert copy.deepcopy(metric).extractor.network is pool3.network


def test_it_computes_in_float32_whatever_surrounds_it(pool3):
    x = pictures(1, 16, 16)
    expected = pool3(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert pool3(x).equal(expected)
    assert pool3(x.double()).dtype == torch.float32


def test_its_name_says_resize_and_bytes_and_its_identity_is_of_all_that_counts(features, pool3):
    others = [features(Inception, CleanFid()), features(Inception, Torchmetrics())]
    others += [features(Inception, Fid(EDM2Truncated())), features(InceptionSpatial)]
    assert pool3.name == (
        f"inception_2015 pool3, fid: TensorFlow 1 bilinear to 299 px, bytes rounded, {pool3.identity}"
    )
    assert len({other.identity for other in (pool3, *others)}) == 5
    assert features(Inception, Fid()).identity == pool3.identity
