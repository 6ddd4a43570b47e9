"""What is measured of an autoencoder that others have trained."""

import pytest
import torch
from autoencoders.models import KINDS, saved

from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.files import read_json
from condiff.stages.autoencoder import train
from condiff.stages.stage import Artifact, Runtime


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    prepare(Digits(size=8), folder)
    return Artifact("data", folder, {})


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_use_of_codes_is_measured_where_a_published_model_has_some(kind, digits, tmp_path):
    own = saved(tmp_path / "model", kind, channels=1)
    network = {"_target_": "condiff.autoencoders.pretrained.Pretrained", "weights": str(tmp_path / "model")}
    train(
        {"seed": 0, "autoencoder": {"network": network}},
        {"data": digits},
        Runtime(accelerator="cpu"),
        tmp_path,
    )
    found = read_json(tmp_path / "autoencoder.json")
    if kind != "vq":
        assert not {"codes", "codes_used", "perplexity"} & found.keys()
        return
    held_out = torch.cat([batch["image"] for batch in ShardDataset(digits.path, "held_out").chunks(100)])
    share = own.quantize(own.encode(held_out).latents)[2][2].flatten().bincount(minlength=16) / (
        16 * len(held_out)
    )
    assert found["codes"] == 16
    assert found["codes_used"] == pytest.approx(float((share > 0).double().mean()))
    assert found["perplexity"] == pytest.approx(float(torch.special.entr(share).sum().exp()), rel=1e-3)
    assert found["perplexity"] > 2
