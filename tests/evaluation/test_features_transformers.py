"""DINOv2 and CLIP, tiny and random, saved and read back from a folder."""

import json
import sys

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast, Dinov2Config, Dinov2Model

from condiff.evaluation.clip_score import ClipScore
from condiff.evaluation.features.clip import Clip, UnitClip
from condiff.evaluation.features.dinov2 import DINOv2
from condiff.evaluation.features.preprocess import Bilinear
from condiff.evaluation.features.standardized import CLIP, IMAGENET, standardized
from tests.evaluation.weights import pictures

CAPTIONS = ["a", "b", "ab", "ba"]


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dinov2")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    Dinov2Model(Dinov2Config(**sizes, image_size=28, patch_size=14)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("clip")
    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    words = {"a</w>": 0, "b</w>": 1, "a": 2, "b": 3, "<|startoftext|>": 4, "<|endoftext|>": 5}
    ends = {"bos_token_id": 4, "eos_token_id": 5, "pad_token_id": 5}
    text = {**layers, **ends, "vocab_size": len(words), "max_position_embeddings": 6}
    vision = {**layers, "image_size": 28, "patch_size": 14}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return folder


def test_pixels_are_standardized_as_in_training():
    red, green, blue = standardized(torch.zeros(1, 3, 1, 1), IMAGENET).flatten().tolist()
    assert (red, green, blue) == pytest.approx((0.015 / 0.229, 0.044 / 0.224, 0.094 / 0.225), abs=1e-6)
    assert standardized(torch.ones(1, 3, 1, 1), CLIP)[0, 2] == pytest.approx(
        (1 - 0.40821073) / 0.27577711, abs=1e-6
    )


def test_dinov2_gives_the_class_token_of_what_transformers_gives(dinov2):
    extractor = DINOv2(path=str(dinov2), resolution=28)
    x = pictures(3, 40, 40)
    shown = standardized(extractor.preprocess(x, 28), IMAGENET)
    with torch.no_grad():
        expected = Dinov2Model.from_pretrained(dinov2).eval()(shown)
    assert extractor(x).equal(expected.last_hidden_state[:, 0])
    assert extractor(x).equal(expected.pooler_output)
    assert extractor(x).shape == (3, extractor.feature_dim) == (3, 32)


def test_clip_gives_the_common_space(clip):
    extractor, unit = Clip(path=str(clip)), UnitClip(path=str(clip))
    x = pictures(3, 40, 40)
    with torch.no_grad():
        model = CLIPModel.from_pretrained(clip).eval()
        shown = standardized(extractor.preprocess(x, 28), CLIP)
        tokens = torch.tensor([[4, 0, 5], [4, 1, 5]])
        expected = model(input_ids=tokens, pixel_values=shown)
    assert extractor(x).shape == (3, extractor.feature_dim) == (3, 16)
    assert torch.allclose(unit(x), expected.image_embeds, atol=1e-6)
    assert torch.allclose(torch.nn.functional.normalize(extractor(x), dim=1), unit(x), atol=1e-6)
    texts = torch.nn.functional.normalize(extractor.texts(["a", "b"]), dim=1)
    assert torch.allclose(texts, expected.text_embeds, atol=1e-6)


def test_features_are_read_where_a_version_gives_them_as_they_are(clip, monkeypatch):
    extractor = Clip(path=str(clip))
    found = extractor(pictures(2, 28, 28))
    given = extractor.network.get_image_features
    monkeypatch.setattr(extractor.network, "get_image_features", lambda **x: given(**x).pooler_output)
    assert extractor(pictures(2, 28, 28)).equal(found)


def test_a_caption_that_is_too_long_is_cut(clip):
    extractor = Clip(path=str(clip))
    assert torch.allclose(extractor.texts(["a b a b a b"]), extractor.texts(["a b a b a b b b"]), atol=1e-6)


def test_a_clip_score_is_a_hundred_times_the_mean_cosine_of_pairs(clip):
    extractor = Clip(path=str(clip))
    x, label = pictures(6, 28, 28), torch.tensor([0, 1, 2, 3, 1, 0])
    metric = ClipScore(extractor, CAPTIONS)
    metric.texts[1] *= -1  # a caption that says the opposite counts as nothing
    for part in (slice(0, 2), slice(2, 6)):
        metric.update("samples", x[part], label[part])
    cosines = torch.nn.functional.cosine_similarity(extractor(x), metric.texts[label])
    assert cosines.min() < 0 < cosines.max()
    assert float(metric.compute()) == pytest.approx(100 * float(cosines.clamp(min=0).mean()), rel=1e-5)
    entry = metric.report()
    assert entry["n"] == 6
    assert entry["interval"][0] < entry["value"] < entry["interval"][1]


def test_a_clip_score_needs_a_caption_for_every_label(clip):
    metric = ClipScore(Clip(path=str(clip)), CAPTIONS)
    with pytest.raises(ValueError, match="captions has 4, and label 4 has none"):
        metric.update("samples", pictures(2, 28, 28), torch.tensor([0, 4]))


def test_without_captions_of_classes_each_sample_is_held_to_its_own(clip):
    extractor = Clip(path=str(clip))
    x, said = pictures(6, 28, 28), ["a", "b", "a", "ba", "b", "a"]
    metric = ClipScore(extractor)
    assert (metric.needs_text, metric.needs_label) == (True, False)
    metric.tell(said)
    places = ([0, 3, 4], [1, 2, 5])
    metric.share([place for part in places for place in part])
    for part in places:
        metric.update("samples", x[part], None)
    ours = torch.nn.functional.cosine_similarity(extractor(x), extractor.texts(said))
    assert metric.per_sample().tolist() == pytest.approx((100 * ours.clamp(min=0)).tolist(), rel=1e-5)
    assert "samples and their captions, 100 cos" in metric.report()["protocol"]
    short = ClipScore(extractor)
    short.tell(["a"])
    with pytest.raises(ValueError, match="needs a caption of every sample, got 1 for sample 5"):
        short.update("samples", x, None)
    by_class = ClipScore(extractor, CAPTIONS)
    assert (by_class.needs_text, by_class.needs_label) == (False, True)


def test_names_tell_models_and_resizes_apart_and_know_no_folder(dinov2, clip):
    found = [
        DINOv2(path=str(dinov2), resolution=28),
        DINOv2(path=str(dinov2), resolution=42),
        DINOv2(path=str(dinov2), resolution=28, preprocess=Bilinear()),
        Clip(path=str(clip)),
        UnitClip(path=str(clip)),
    ]
    assert len({extractor.identity for extractor in found}) == 5
    assert not any(str(dinov2.parent) in extractor.name for extractor in found)


def test_a_resolution_that_is_no_number_of_patches_is_refused(dinov2):
    with pytest.raises(ValueError, match=r"DINOv2\.resolution must be a multiple of 14, got 30"):
        DINOv2(path=str(dinov2), resolution=30)


def test_a_folder_that_has_another_model_or_none_is_refused(clip, dinov2, tmp_path):
    with pytest.raises(ValueError, match="has no weights of Dinov2Model"):
        DINOv2(path=str(clip), resolution=28)
    with pytest.raises(ValueError, match=r"is no folder of a model: it has no config.json"):
        Clip(path=str(tmp_path))
    (tmp_path / "config.json").write_bytes((dinov2 / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ValueError, match=r"it has no \*.safetensors"):
        DINOv2(path=str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="cannot be read as Dinov2Model"):
        DINOv2(path=str(tmp_path))


def test_without_the_library_it_says_what_to_install(dinov2, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs the package transformers; pip install 'condiff"):
        DINOv2(path=str(dinov2))
