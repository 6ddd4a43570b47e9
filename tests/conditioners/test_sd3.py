"""Texts as SD3's pipeline encodes them where it comes without T5."""

import torch
from tiny_pipelines import saved_3
from tiny_stable_diffusion import LENGTH
from transformers import CLIPTextModelWithProjection

from condiff.conditioners.sd3 import SD3Text


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


def saved(folder):
    saved_3(folder, t5=False)
    return folder
