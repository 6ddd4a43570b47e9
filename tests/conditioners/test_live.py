"""A caption that is encoded anew is the condition that it was, with the gradients of its encoders."""

import pytest
import torch
from tiny_pipelines import T5_LENGTH, saved_3, saved_xl
from tiny_stable_diffusion import LENGTH
from torch import nn

from condiff.conditioners.framed import FramedText
from condiff.conditioners.live import LiveText
from condiff.conditioners.sd3 import SD3Text
from condiff.conditioners.sdxl import SDXLText

FRAMING = torch.tensor([[8.0, 9.0, 0.0, 1.0, 8.0, 8.0]])
BATCH = {"text": ["a red circle"], "place": torch.arange(1), "framing": FRAMING}


@pytest.fixture(scope="module", params=["xl", "sd3"])
def text(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "xl":
        saved_xl(folder)
        encoder = SDXLText(str(folder), LENGTH)
    else:
        saved_3(folder)
        encoder = SD3Text(str(folder), LENGTH, T5_LENGTH, width=48)
    return FramedText(encoder, num_classes=1, with_null=True, half=False)


def test_it_is_the_condition_that_is_kept_and_hears_what_its_encoders_learn(text):
    live = LiveText(text, nn.ModuleDict(text.encoder.networks()))
    kept, own = text(BATCH), live(BATCH)
    for cond, other in ((own, kept), (own.without(), kept.without())):
        for name in ("tokens", "token_mask", "pooled", "framing"):
            torch.testing.assert_close(getattr(cond, name), getattr(other, name))
    networks = nn.ModuleDict(text.encoder.networks()).requires_grad_(True)
    cond = LiveText(text, networks)(BATCH)
    (cond.tokens.square().sum() + cond.pooled.sum()).backward()
    assert all(any(p.grad is not None and p.grad.any() for p in n.parameters()) for n in networks.values())
    networks.requires_grad_(False).zero_grad()


def test_while_an_encoder_is_another_one_nothing_that_was_kept_of_it_holds(text):
    before, network = text(BATCH), text.encoder.networks()["text_encoder"]
    weight = next(p for name, p in network.named_parameters() if name.endswith("q_proj.weight"))
    with torch.no_grad():
        weight.add_(1)
        assert torch.equal(text(BATCH).tokens, before.tokens)
        with text.anew():
            assert not torch.allclose(text(BATCH).tokens, before.tokens)
        weight.sub_(1)
    assert torch.equal(text(BATCH).tokens, before.tokens)
