"""Captions as a condition: what is encoded, what counts of it, and what "not asked for" is."""

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from condiff.conditioners.encoders import T5, ClipText, MiniLM, TextEncoder
from condiff.conditioners.encodings import Encoding
from condiff.conditioners.text import Text
from condiff.conditioners.whitening import Whitening
from condiff.diffusion.process import CosineVP
from condiff.networks.unet import CrossAttentionUNet

CAPTIONS = [
    "a red circle on white",
    "a small blue square to the left of a large green cross",
    "",
    "a red circle",
]


class Spelt(TextEncoder):
    """A token a letter: its number, and 1."""

    width, length = 2, 12

    def __init__(self):
        self.asked = []

    def __call__(self, texts, place="cpu"):
        self.asked += texts
        found = [torch.tensor([[float(ord(letter)), 1.0] for letter in f"<{text}>"]) for text in texts]
        return [Encoding(tokens[: self.length], tokens.sum(0)) for tokens in found]

    def num_cut(self, texts):
        return sum(len(text) + 2 > self.length for text in texts)

    def load(self):
        raise AssertionError("nothing to load")

    def encode(self, ids, mask):
        raise AssertionError("texts go in whole")


def asked(conditioner, *texts):
    return conditioner({"text": [*texts], "place": torch.arange(len(texts))})


def spelt(with_null=True):
    return Text(Spelt(), num_classes=1, with_null=with_null)


def letters(tokens, mask):
    return ["".join(chr(int(v)) for v in row[m][:, 0]) for row, m in zip(tokens, mask, strict=True)]


def test_each_caption_has_its_own_tokens_and_what_fills_up_does_not_count():
    cond = asked(spelt(), "red", "a longer caption")
    assert letters(cond.tokens, cond.token_mask) == ["<red>", "<a longer cap"[:12]]
    assert not cond.tokens[~cond.token_mask].any()
    assert cond.token_mask.sum(1).tolist() == [5, 12]


def test_the_null_is_the_encoders_own_empty_text_for_every_sample():
    cond = asked(spelt(), "red", "blue")
    assert letters(cond.without().tokens, cond.without().token_mask) == ["<>", "<>"]
    empty = asked(spelt(), "", "")
    for name in ("tokens", "token_mask", "pooled"):
        assert torch.equal(getattr(cond.without(), name), getattr(empty, name))
    with pytest.raises(ValueError, match="no null"):
        asked(spelt(with_null=False), "red").without()


def test_what_is_dropped_in_training_is_the_null_of_sampling_and_the_others_keep_their_own():
    conditioner, u = spelt(), torch.tensor([0.0, 0.09, 0.1, 0.9])
    cond, lacking = conditioner.dropped({"text": [*"abcd"], "place": torch.arange(4)}, lambda _: u, 0.1)
    assert letters(cond.tokens, cond.token_mask) == ["<>", "<>", "<c>", "<d>"]
    assert lacking["text"].tolist() == [True, True, False, False]
    assert torch.equal(cond.tokens[0], asked(conditioner, "x").without().tokens[0])


def test_what_was_encoded_before_is_read_back_by_its_words_and_not_encoded_again(tmp_path):
    before, after = spelt(), spelt()
    before.encode(["red", "blue", "red"], ["grey", "blue"], tmp_path, "cpu")
    assert before.encoder.asked == ["", "red", "blue", "grey"]
    after.recall(tmp_path)
    read = asked(after, "blue", "red")
    assert after.encoder.asked == []
    for name in ("tokens", "token_mask", "pooled"):
        assert torch.equal(getattr(read, name), getattr(asked(spelt(), "blue", "red"), name))
    assert letters(asked(after, "new").tokens, asked(after, "new").token_mask) == ["<new>"]
    assert after.encoder.asked == ["new"]


def test_captions_that_are_too_long_are_told(tmp_path, caplog):
    spelt().encode(["red"], ["a longer caption"], tmp_path, "cpu")
    (said,) = caplog.messages
    assert said.startswith("1 of 3 captions have more than 12 tokens")


def test_a_caption_is_rounded_alike_whether_it_was_kept_or_is_new(tmp_path):
    class Fine(Spelt):
        def __call__(self, texts, place="cpu"):
            return [Encoding(one.tokens / 3, one.pooled / 3) for one in super().__call__(texts, place)]

    kept, new = (Text(Fine(), num_classes=1, with_null=True) for _ in range(2))
    kept.encode(["red"], [], tmp_path, "cpu")
    kept.recall(tmp_path)
    whole = Text(Fine(), num_classes=1, with_null=True, half=False)
    assert torch.equal(asked(kept, "red").tokens, asked(new, "red").tokens)
    assert not torch.equal(asked(new, "red").tokens, asked(whole, "red").tokens)


def test_whitened_vectors_are_those_of_the_training_alone_and_are_read_back(tmp_path):
    made = Text(Spelt(), num_classes=1, with_null=True, whitened=1)
    made.encode(["red", "blue", "green"], ["zzzzzzzz"], tmp_path, "cpu")
    known = Whitening.of([one.pooled.half() for one in Spelt()(["red", "blue", "green"])], 1)
    assert torch.equal(made.whitening.mean, known.mean)
    read = Text(Spelt(), num_classes=1, with_null=True, whitened=1)
    read.recall(tmp_path)
    cond = asked(read, "red", "something new")
    assert cond.pooled.shape == (2, 1) == cond.without().pooled.shape
    assert torch.equal(cond.pooled, asked(made, "red", "something new").pooled)
    assert made.pooled_width == 1
    assert spelt().pooled_width == 2
    assert made.example({"text": ["red"]}).pooled.shape == (1, 1)


def test_a_model_hears_new_captions_by_the_whitening_of_its_own_training(tmp_path):
    folders = [tmp_path / name for name in ("own", "other", "model")]
    for folder in folders:
        folder.mkdir()
    own, other, again = (Text(Spelt(), num_classes=1, with_null=True, whitened=2) for _ in range(3))
    own.encode(["red", "blue", "green"], [], folders[0], "cpu")
    other.encode(["a", "bcd", "xyz"], [], folders[1], "cpu")
    own.leave(folders[2])
    again.recall(folders[1])
    assert not torch.equal(asked(again, "new").pooled, asked(own, "new").pooled)
    again.heed(folders[2])
    assert torch.equal(asked(again, "new").pooled, asked(own, "new").pooled)


def test_vectors_cannot_be_made_wider_than_the_encoder_has_them():
    with pytest.raises(ValueError, match=r"whitened must be at most 2.*got 3"):
        Text(Spelt(), num_classes=1, with_null=True, whitened=3)


@pytest.fixture(scope="module")
def minilm():
    return MiniLM(length=24)


def test_minilm_gives_a_caption_the_same_encoding_whatever_stands_beside_it(minilm):
    together = minilm(CAPTIONS)
    for caption, one in zip(CAPTIONS, together, strict=True):
        (alone,) = minilm([caption])
        torch.testing.assert_close(one.tokens, alone.tokens, rtol=0, atol=1e-5)
        torch.testing.assert_close(one.pooled, alone.pooled, rtol=0, atol=1e-6)
    assert [len(one.tokens) for one in together] == [7, 14, 2, 5]
    lengths = torch.cat([one.tokens for one in together]).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 384**0.5))


def test_minilm_knows_real_words(minilm):
    dog, puppy, boat = (one.pooled for one in minilm(["a happy dog", "a cheerful puppy", "a boat at sea"]))
    assert float(dog @ puppy) > 2 * float(dog @ boat)
    assert minilm.num_cut(["word " * 30, "word"]) == 1


def test_tokens_that_do_not_count_never_change_what_a_network_answers():
    torch.manual_seed(0)
    network = CrossAttentionUNet(
        channels=2, num_labels=0, size=8, widths=[16, 16], attention=[False, True], text_width=2
    ).eval()
    cond, m = asked(spelt(), "red", "a longer one"), CosineVP().at(torch.tensor([0.3, 0.7]))
    changed = cond.tokens.clone()
    changed[~cond.token_mask] = 7.0
    x = torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        plain = network(x, m, cond)
        torch.testing.assert_close(network(x, m, replace(cond, tokens=changed)), plain)
        counted = cond.tokens.clone()
        counted[:, 1] = 7.0
        assert not torch.allclose(network(x, m, replace(cond, tokens=counted)), plain, atol=1e-4)


def words(folder, *, end=True):
    """A tokenizer of whole words, saved in a folder."""
    vocabulary = {word: k for k, word in enumerate(["<s>", "</s>", "<unk>", "a", "red", "blue", "circle"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    fast.save_pretrained(folder)
    return fast


def test_clips_text_side_is_the_librarys_own_with_all_its_tokens_attended_to(tmp_path):
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=7, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    model = CLIPTextModel(config).eval()
    model.save_pretrained(tmp_path / "text_encoder")
    tokenizer = words(tmp_path / "tokenizer")
    cond = asked(
        Text(ClipText(path=str(tmp_path), length=8), 1, with_null=True, half=False), "a red circle", "blue"
    )
    ids = tokenizer(
        ["a red circle", "blue"], padding="max_length", max_length=8, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        expected = model(input_ids=ids)
    torch.testing.assert_close(cond.tokens, expected.last_hidden_state, rtol=0, atol=1e-6)
    torch.testing.assert_close(cond.pooled, expected.pooler_output, rtol=0, atol=1e-6)
    assert cond.token_mask.all()
    assert ClipText(path=str(tmp_path), length=8).width == 16


def test_t5_is_the_librarys_own_and_only_a_texts_tokens_count(tmp_path):
    torch.manual_seed(0)
    config = T5Config(vocab_size=7, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=1)
    model = T5EncoderModel(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer = words(tmp_path)
    cond = asked(
        Text(T5(path=str(tmp_path), length=8), 1, with_null=True, half=False), "a red circle", "blue"
    )
    assert cond.token_mask.sum(1).tolist() == [5, 3]
    with torch.no_grad():
        for row, text in enumerate(["a red circle", "blue"]):
            ids = tokenizer([text], return_tensors="pt").input_ids
            own = model(input_ids=ids).last_hidden_state[0]
            torch.testing.assert_close(cond.tokens[row, : len(own)], own, rtol=0, atol=1e-5)


def test_an_encoder_that_is_not_there_is_told_in_a_line(tmp_path):
    with pytest.raises(ValueError, match=r"is no folder of a model: it has no config\.json"):
        asked(Text(ClipText(path=str(tmp_path)), 1, with_null=True), "red")
    with pytest.raises(ValueError, match=r"is not in the hub's local cache; give path=FOLDER"):
        asked(Text(ClipText(model="nobody/nothing"), 1, with_null=True), "red")
