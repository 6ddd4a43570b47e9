"""Pipelines of diffusers of each kind as bases: drawn from as they draw, adapted to own pictures, exported.

An adapter that was trained here changes their pictures as it changes ours.
"""

import pytest
import tiny_pipelines
import tiny_stable_diffusion
import torch
from safetensors.torch import load_file

from condiff.adapters.tensor_files import read_header
from condiff.data.captions import captions_of
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.stages import rehearsal
from condiff.stages.exported_adapter import PLACES, leave_adapter
from condiff.stages.finished_adapters import FILE
from tests.smoke.adapting import NUM, made_by, ours, theirs, trained_in_two

# with a prior, text encoders, and pictures of two shapes
SUBJECT = (
    "prior.num=4",
    "prior.sampler.steps=2",
    "data.buckets=8",
    "data.caption='a photo of sks dog, {text}'",
)
# less memory, and what else a training may be told, all at once: what comes of it is in float32 all the same
SPARING = (
    "adapter.tuning.frozen=bfloat16",
    "adapter.trainer.precision=bf16-mixed",
    "adapter.trainer.recompute=true",
    "adapter.method.noise_offset=0.05",
    "adapter.method.min_snr=5",
    "adapter.method.shuffle_after=1",
    "data.mirror=true",
)
DREAMBOOTH = ("experiment=dreambooth", "adapter=stable_diffusion_text", "adapter.text_rate=0.5", *SUBJECT)
ALL = {"diffusers", "kohya", "peft"}
# How each is made, what adapts it, the formats that its adapter has names in, and the parts that it changes.
KINDS = {
    "sd": (tiny_stable_diffusion.saved, ("experiment=lora_style",), ALL, {"unet"}),
    "sd2": (
        tiny_pipelines.saved_2,
        (
            *("experiment=lora_style", "adapter=stable_diffusion_text", "adapter.text_rate=0.5"),
            "adapter.tuning.names=[to_q,to_k,to_v,to_out.0,proj_in,proj_out]",
            "adapter.trainer.recompute=true",
        ),
        ALL,
        {"unet", "text_encoder"},
    ),
    "xl": (
        tiny_pipelines.saved_xl,
        DREAMBOOTH,
        ALL,
        {"unet", "text_encoder", "text_encoder_2"},
    ),
    "sd3": (
        tiny_pipelines.saved_3,
        ("experiment=lora_sd3", "adapter=stable_diffusion_3_text", "adapter.text_rate=0.5"),
        ALL - {"kohya"},
        {"transformer", "text_encoder", "text_encoder_2"},
    ),
    "sd15": (tiny_stable_diffusion.saved, ("experiment=lora_sd15",), ALL, {"unet"}),
    "subject": (tiny_pipelines.saved_xl, ("experiment=dreambooth_sdxl", *SUBJECT, *SPARING), ALL, {"unet"}),
}


SLOW = ("sd2", "sd15", "subject")  # other words for what the others have as well


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in KINDS],
)
def kind(request, tmp_path_factory):
    """What a study leaves of a pipeline, the formats it is exported in, and the parts that it changes."""
    save, study, formats, parts = KINDS[request.param]
    return made_by(tmp_path_factory.mktemp(request.param), save, study), formats, parts


@pytest.fixture(scope="module")
def made(kind):
    return kind[0]


def test_latents_keep_how_their_pictures_were_cut(made):
    data = ShardDataset(made.inputs["latents"].path, "train")
    last = len(data) - 1
    assert data.__getitems__([(0, last, last)])["framing"].tolist() == [[32, 40, 0, 4, 32, 32]]
    names = [key.partition("-")[0] for key in data.keys]
    assert len({*names}) == len(names) == 6
    for index, name in enumerate(names):  # in the order of their shapes, each with its own caption
        one, own = data.__getitems__([(0, index, index)]), f"a red circle, {name}"
        assert one["text"] == [f"a photo of sks dog, {own}" if "prior" in made.inputs else own]
        assert one["framing"][0, :2].tolist() == [24 if int(name) < 3 else 32, 40]
    if "prior" in made.inputs:  # whose pictures are whole ones, of the same shapes
        assert data.__getitems__([(0, 0, 0)])["framing"].tolist() == [[24, 40, 0, 0, 24, 40]]
        prior = ShardDataset(made.inputs["prior_latents"].path, "train")
        found = [(chunk["framing"].tolist(), [*chunk["moments"].shape]) for chunk in prior.chunks(9)]
        assert found == [
            ([[24, 40, 0, 0, 24, 40]] * 1, [1, 8, 6, 10]),
            ([[32, 32, 0, 0, 32, 32]] * 3, [3, 8, 8, 8]),
        ]
        assert prior.text(0) == prior.text(3) == "a photo of a dog"


@pytest.mark.parametrize("negative", [None, "blurry"])
def test_the_pictures_of_a_base_are_those_of_its_pipeline(made, negative):
    texts = ["two small things", "a red circle on white"]
    own = ours(made, texts, negative=negative)
    expected = theirs(made.pipeline, texts, negative and [negative] * NUM)
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.05  # not grey: there is something to compare
    assert (own - theirs(made.pipeline, texts, None if negative else ["blurry"] * NUM)).abs().max() > 1e-3


def test_every_part_that_is_adapted_was_trained(kind):
    """But for last layers whose answer to the text is not used."""
    made, _, parts = kind
    tensors = load_file(made.inputs["adapter"].path / FILE)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    ups = [(name.partition(".")[0], tensor) for name, tensor in tensors.items() if "lora_B" in name]
    assert {part for part, _ in ups} == parts
    for part in parts:
        moved = [bool(tensor.any()) for own, tensor in ups if own == part]
        assert sum(moved) >= len(moved) / 2


def test_a_pipeline_that_loads_the_file_draws_what_the_study_has_drawn(kind, tmp_path):
    """In each format that it reads, and so does a study that is given the file."""
    made, formats, _ = kind
    assert "base_latents" not in made.inputs
    stored = load_file(made.inputs["samples"].path / "samples.safetensors")
    captions, own = captions_of(stored), stored["image"].float() / 255
    before = theirs(made.pipeline, captions)
    leave_adapter("run", made.inputs, tmp_path)
    assert {name for name, place in PLACES.items() if (tmp_path / place).exists()} == formats
    files = [made.inputs["adapter"].path / FILE]
    files += [tmp_path / PLACES[name] for name in sorted(formats - {"peft"})]
    headers = [read_header(file) for file in files]
    words = {"sks"} if "prior" in made.inputs else {None}
    assert {header.get("modelspec.trigger_phrase") for header in headers} == words
    for file in files:
        made.pipeline.load_lora_weights(file)
        after = theirs(made.pipeline, captions)
        made.pipeline.unload_lora_weights()
        assert (after - before).abs().max() > 0.02  # of 1, and a pixel is rounded to 1 / 255
        torch.testing.assert_close(own, after, rtol=0, atol=0.6 / 255)
        torch.testing.assert_close(ours(made, captions, [str(file)]), after, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["xl"], indirect=True)
def test_interrupted_it_ends_bit_for_bit_the_same_with_its_text_encoders(made, tmp_path):
    trained_in_two(made, tmp_path)
    once, again = (load_file(folder / FILE) for folder in (made.inputs["adapter"].path, tmp_path))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("kind", ["xl"], indirect=True)
def test_a_name_or_a_rate_of_no_layer_of_its_text_encoders_is_told_before_anything_is_made(made, monkeypatch):
    monkeypatch.setattr(rehearsal, "LARGE", 0)  # by shapes alone, as of a base of true size
    cfg, info = made.study, DataInfo.read(made.inputs["data"].path)

    def refused(rates=None, **text):
        own = cfg["adapter"]
        changed = {**own, "text": {**own["text"], **text}, "rates": rates}
        with pytest.raises(ConfigError) as told:
            rehearsal.rehearse({**cfg, "adapter": changed}, info)
        (line,) = told.value.lines
        return line

    said = "adapter.text.names: 'q_prj' is the end of none of the 12 linear layers of CLIPTextModel; theirs"
    assert refused(names=["q_proj", "q_prj"]).startswith(said)
    trains = sum("lora_A" in name for name in load_file(made.inputs["adapter"].path / FILE))
    said = f"adapter.rates: 'fc1' is the end of none of the {trains} layers that are trained, network."
    assert refused({"to_q": 0.5, "q_proj": 0.1, "fc1": 0.1}).startswith(said)  # which is there, and frozen
