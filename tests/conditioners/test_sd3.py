"""Texts as SD3's pipeline encodes them, with and without T5, and each of its encoders dropped for itself."""

from dataclasses import replace

import pytest
import torch
from tiny_pipelines import saved_3
from tiny_stable_diffusion import LENGTH
from torch import nn
from transformers import CLIPTextModelWithProjection

from condiff.conditioners.live import LiveText
from condiff.conditioners.sd3 import SD3Text
from condiff.conditioners.sdxl import SDXLText
from condiff.conditioners.text import Text
from condiff.diffusion.process import RectifiedFlow
from condiff.diffusion.randomness import Draws
from condiff.networks.pretrained_sd3 import PretrainedSD3

T5, N, SHARE = 8, 2000, 0.464
ENCODERS = ("clip_l", "clip_g", "t5")  # in the order of the pipeline's prompts
SAID = ["a red circle", "two small things"]


def test_without_t5_there_are_zeros_in_its_place_as_in_the_pipeline(tmp_path):
    pipeline = saved_3(tmp_path, t5=False)
    texts = ["a red circle", ""]
    tokens, _, pooled, _ = pipeline.encode_prompt(texts, None, None, do_classifier_free_guidance=False)
    own = SD3Text(str(tmp_path), clip_length=LENGTH, width=48)
    found = own(texts)
    torch.testing.assert_close(torch.stack([one.tokens for one in found]), tokens.detach())
    torch.testing.assert_close(torch.stack([one.pooled for one in found]), pooled.detach())
    assert (own.length, own.pooled_width) == (tokens.shape[1], pooled.shape[1])
    assert own.num_cut(["a fox " * 40, "a fox"]) == 1
    assert [*own.places()] == ["clip_l", "clip_g"]


def test_encoders_whose_files_are_in_half_precision_work_in_single_precision(tmp_path):
    texts = ["a red circle"]
    (plain,) = SD3Text(str(saved(tmp_path)), clip_length=LENGTH, width=48)(texts)
    for name in ("text_encoder", "text_encoder_2"):
        half = CLIPTextModelWithProjection.from_pretrained(tmp_path / name).half()
        half.save_pretrained(tmp_path / name)
    encoder = SD3Text(str(tmp_path), clip_length=LENGTH, width=48)
    (own,) = encoder(texts)
    kinds = {p.dtype for network in encoder.networks().values() for p in network.parameters()}
    assert kinds == {torch.float32}
    torch.testing.assert_close(own.pooled, plain.pooled, rtol=0, atol=0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A pipeline with its T5, its folder, and a conditioner that drops each encoder for itself."""
    folder = tmp_path_factory.mktemp("sd3")
    pipeline = saved_3(folder)
    encoder = SD3Text(str(folder), LENGTH, T5, width=48)
    return pipeline, folder, Text(encoder, 1, with_null=True, half=False, dropout="independent")


def batch(num):
    return {"text": SAID * (num // 2), "place": torch.arange(num)}


def without(*names):
    """Draws by which these encoders are dropped, in the first of two samples."""
    return lambda stream: torch.tensor([0.0 if stream.split(".")[-1] in names else 1.0, 1.0])


@pytest.mark.parametrize("dropped", [("clip_l",), ("clip_g",), ("t5",), ENCODERS])
def test_a_dropped_encoder_hears_the_empty_text_as_that_prompt_of_the_pipeline(dropped, whole):
    pipeline, _, conditioner = whole
    cond, lacking = conditioner.dropped(batch(2), without(*dropped), SHARE)
    assert {name: which.tolist() for name, which in lacking.items()} == {
        name: [name in dropped, False] for name in ENCODERS
    }
    prompts = [["" if name in dropped else SAID[0], SAID[1]] for name in ENCODERS]
    tokens, _, pooled, _ = pipeline.encode_prompt(
        *prompts, do_classifier_free_guidance=False, max_sequence_length=T5
    )
    torch.testing.assert_close(cond.tokens, tokens.detach())
    torch.testing.assert_close(cond.pooled, pooled.detach())


def test_where_all_are_dropped_is_the_null_that_samples_are_led_away_from(whole):
    conditioner = whole[2]
    cond, _ = conditioner.dropped(batch(2), without(*ENCODERS), SHARE)
    null = conditioner(batch(2)).without()
    assert torch.equal(cond.tokens[0], null.tokens[0])
    assert torch.equal(cond.pooled[0], null.pooled[0])
    assert (cond.tokens[1] - null.tokens[1]).abs().max() > 1e-3


@torch.no_grad()
def test_the_transformer_hears_fill_as_in_the_pipeline_whatever_the_mask_says(whole):
    pipeline, folder, conditioner = whole
    own = PretrainedSD3(4, 0, 8, str(folder), text_width=48, pooled_width=24)
    own.fill("network")
    x, time = torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.6])
    cond, _ = conditioner.dropped(batch(2), without("clip_l"), SHARE)
    expected = pipeline.transformer(x, cond.tokens, cond.pooled, 1000 * time).sample
    assert cond.token_mask.all()
    for mask in (cond.token_mask, torch.zeros_like(cond.token_mask)):
        found = own.eval()(x, RectifiedFlow().at(time).to(x), replace(cond, token_mask=mask))
        torch.testing.assert_close(found, expected)
    shorter = pipeline.transformer(x, cond.tokens[:, : LENGTH + 2], cond.pooled, 1000 * time).sample
    assert (shorter - expected).abs().max() > 1e-4  # without the last tokens of T5, which fill it up


def test_each_encoder_is_dropped_as_often_as_asked_and_all_at_once_in_a_tenth(whole):
    conditioner = whole[2]
    _, lacking = conditioner.dropped(batch(N), Draws(0, 0, N, slice(None)).uniform, SHARE)
    assert [*lacking] == [*ENCODERS]
    spread = 4 * (SHARE * (1 - SHARE) / N) ** 0.5
    for which in lacking.values():
        assert which.float().mean().item() == pytest.approx(SHARE, abs=spread)
    every = torch.stack([*lacking.values()]).all(0).float().mean().item()
    assert every == pytest.approx(SHARE**3, abs=4 * (0.1 * 0.9 / N) ** 0.5)


def test_encoders_that_are_trained_are_dropped_alike(whole):
    conditioner = whole[2]
    networks = nn.ModuleDict(conditioner.encoder.networks())
    live, told = LiveText(conditioner, networks).dropped(batch(2), without("clip_g"), SHARE)
    kept, same = conditioner.dropped(batch(2), without("clip_g"), SHARE)
    assert all(torch.equal(told[name], same[name]) for name in ENCODERS)
    for name in ("tokens", "pooled"):
        torch.testing.assert_close(getattr(live, name), getattr(kept, name))


def test_one_encoder_is_not_dropped_for_itself(whole):
    for encoder in (SDXLText(str(whole[1]), LENGTH), whole[2].encoder.parts[0]):
        with pytest.raises(ValueError, match=r"Text\.dropout must be joint with \w+ and whitened=0, got"):
            Text(encoder, 1, with_null=True, dropout="independent")


def saved(folder):
    saved_3(folder, t5=False)
    return folder
