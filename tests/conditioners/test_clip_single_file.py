"""The text encoder in a single file of Stable Diffusion 1."""

import pytest
import tiny_stable_diffusion as tiny
import torch
from networks.ldm_files import of_u_net, saved, u_net

from condiff.conditioners.encoders import ClipText
from condiff.single_file import CONDITION

IDS = f"{CONDITION}transformer.text_model.embeddings.position_ids"


def of_clip(model) -> dict:
    return {
        f"{CONDITION}transformer.text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in model.state_dict().items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with one training of an encoder, and the tensors of another."""
    folder = tmp_path_factory.mktemp("clip")
    tiny.saved(folder / "model")
    torch.manual_seed(5)
    other = tiny.clip_text(tiny.clip_tokenizer(folder / "bpe")).eval()
    return folder, other


def encoder(folder, file=None) -> ClipText:
    return ClipText(path=str(folder / "model"), length=tiny.LENGTH, weights=file and str(file))


@torch.no_grad()
def test_its_weights_are_taken_and_shape_and_tokenizer_are_the_folders(made):
    folder, other = made
    tensors = {**of_clip(other), IDS: torch.arange(tiny.LENGTH)[None], **of_u_net(u_net())}
    own = encoder(folder, saved(folder / "model.safetensors", tensors))
    (found,) = own(["a red circle"])
    ids = own.tokens(["a red circle"])["input_ids"]
    assert torch.equal(found.tokens, other(torch.tensor(ids)).last_hidden_state[0])
    assert not torch.equal(found.tokens, encoder(folder)(["a red circle"])[0].tokens)


LAST = f"{CONDITION}transformer.text_model.final_layer_norm.bias"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {k: v for k, v in t.items() if k != LAST}, r"it lacks transformer\.text_model\.final_lay"),
        (lambda t: {**t, f"{CONDITION}more": torch.zeros(1)}, r"it has nothing to do with more"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(change, said, made):
    folder, other = made
    file = saved(folder / "wrong.safetensors", change(of_clip(other)))
    start = r"^conditioner\.encoder\.weights: .*wrong\.safetensors does not fit the text encoder: "
    with pytest.raises(ValueError, match=start + said):
        encoder(folder, file)(["a red circle"])


def test_a_pickle_is_never_read(made):
    folder, _ = made
    (folder / "model.ckpt").write_bytes(b"cos\nsystem\n(S'touch /nowhere'\ntR.")
    with pytest.raises(ValueError, match=r"model\.ckpt is a pickle, which can hold code and is never read"):
        encoder(folder, folder / "model.ckpt")(["a red circle"])
