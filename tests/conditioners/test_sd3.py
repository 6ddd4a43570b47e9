"""Texts as SD3's pipeline encodes them where it comes without T5."""

import torch
from tiny_pipelines import saved_3
from tiny_stable_diffusion import LENGTH

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
