"""The cache of latents: it pairs nothing wrongly, keeps for later what is drawn, and changes no training."""

import json

import pytest
import torch
from choices import CONF
from PIL import Image

from condiff.autoencoders.codebook import AveragedCodebook
from condiff.autoencoders.compact import CompactKL, CompactVQ
from condiff.autoencoders.space import draw, mode
from condiff.callbacks.ranks import Alone
from condiff.conditioners.label import ClassLabel
from condiff.config.compose import check
from condiff.data.dataset import ShardDataset
from condiff.data.image_folder import ImageFolder
from condiff.data.prepare import prepare
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.diffusion import Diffusion
from condiff.methods.method import clean, mirrored
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.networks.unet import UNet
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.driver import planned_keys
from condiff.stages.latents import drawn_once, encode, load_space
from condiff.stages.ranks import share_of
from condiff.stages.samples import _coder
from condiff.stages.stage import Artifact, Runtime
from condiff.stages.weights import save_weights

N = 40
COMPACT = "condiff.autoencoders.compact.Compact"
NETWORK = {"_target_": f"{COMPACT}KL", "width": 16, "latent_channels": 2}
CODEBOOK = {"_target_": "condiff.autoencoders.codebook.AveragedCodebook", "num_codes": 8, "length": 2}
NETWORKS = {
    "kl": (NETWORK, lambda: CompactKL(3, 2, width=16)),
    "vq": (
        NETWORK | {"_target_": f"{COMPACT}VQ", "codebook": CODEBOOK},
        lambda: CompactVQ(3, AveragedCodebook(8, 2), 2, width=16),
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return encoded(tmp_path_factory.mktemp("kl"), *NETWORKS["kl"])


@pytest.fixture(scope="module", params=["kl", "vq"])
def either(request, made, tmp_path_factory):
    return made if request.param == "kl" else encoded(tmp_path_factory.mktemp("vq"), *NETWORKS["vq"])


def encoded(root, network, make):
    """Pictures that say by their colour which they are, in classes that say it, too; and their latents."""
    (root / "pictures").mkdir()
    described = []
    for k in range(N):
        picture = Image.new("RGB", (8, 8), (6 * k, 40 * (k % 4), 0))
        picture.paste((255, 255, 255), (0, 0, 2, 8))  # a bar on the left
        picture.save(root / "pictures" / f"{k:02d}.png")
        described.append({"file_name": f"{k:02d}.png", "label": k % 4, "text": f"picture {k}"})
    (root / "pictures/metadata.jsonl").write_text("\n".join(map(json.dumps, described)))
    (root / "data").mkdir()
    prepare(ImageFolder(str(root / "pictures"), mirror=True, held_out=0.1), root / "data")
    manifest = {"config": {"seed": 0, "autoencoder": {"network": network}}}
    (root / "autoencoder").mkdir()
    torch.manual_seed(0)
    save_weights(root / "autoencoder/weights.safetensors", make().state_dict())
    (root / "latents").mkdir()
    inputs = {name: Artifact(name, root / name, manifest) for name in ("data", "autoencoder")}
    encode({}, inputs, Runtime(accelerator="cpu"), root / "latents")
    autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"])
    return root, autoencoder, load_space(Artifact("latents", root / "latents", manifest))


def batch_of(data, indices, step=3):
    return data.__getitems__([(step, place, index) for place, index in enumerate(indices)])


def test_whatever_their_order_latents_keep_the_key_and_the_label_of_their_picture(made):
    root, autoencoder, _ = made
    pictures, latents = ShardDataset(root / "data", "train"), ShardDataset(root / "latents", "train")
    mixed = torch.randperm(len(latents), generator=torch.Generator().manual_seed(0)).tolist()
    batch = batch_of(latents, mixed)
    by_key = {key: index for index, key in enumerate(pictures.keys)}
    own = batch_of(pictures, [by_key[key] for key in batch["key"]])
    assert own["key"] == batch["key"]
    assert torch.equal(own["label"], batch["label"])
    red = ((own["image"][:, 0, 0, -1] + 1) * 127.5 / 6).round().long()
    assert torch.equal(red % 4, batch["label"])
    assert batch["text"] == own["text"] == [f"picture {k}" for k in red.tolist()]
    assert torch.equal(batch["framing"], own["framing"])
    with torch.no_grad():
        torch.testing.assert_close(batch["moments"], autoencoder.encode(own["image"]), rtol=1e-4, atol=1e-5)
        turned = autoencoder.encode(own["image"].flip(-1))
    torch.testing.assert_close(batch["mirrored"], turned, rtol=1e-4, atol=1e-5)
    assert (batch["mirrored"] - batch["moments"]).abs().max() > 1e-3


def test_what_was_measured_is_of_all_latents_as_they_are_drawn(made):
    root, _, space = made
    batch = next(ShardDataset(root / "latents", "train").chunks(N))
    drawn = [drawn_once(batch[name], 0) for name in ("moments", "mirrored")]
    values = torch.cat(drawn).double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(space.mean.flatten().double(), values.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(space.std.flatten().double(), values.std(1), rtol=1e-5, atol=0)
    normal = space.normalise(torch.cat(drawn))
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close(space.restore(normal), torch.cat(drawn), rtol=1e-5, atol=1e-5)


def test_what_was_normalised_is_decoded_as_what_was_encoded(either):
    """Where samples are decoded, too: by a network of unit latents the pictures come back."""
    root, autoencoder, space = either
    latents = mode(next(ShardDataset(root / "latents", "train").chunks(N))["moments"])
    kind = "vq" if autoencoder.codes() else "kl"
    manifest = {"config": {"seed": 0, "autoencoder": {"network": NETWORKS[kind][0]}}}
    inputs = {name: Artifact(name, root / name, manifest) for name in ("data", "autoencoder", "latents")}
    _, decode, downsampling = _coder(inputs, torch.device("cpu"))
    with torch.no_grad():
        expected, found = autoencoder.decode(latents), decode(space.normalise(latents))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (decode(latents) - expected).abs().max() > 1e-2
    assert downsampling == 4


def test_a_latent_is_drawn_anew_each_time_it_is_read(made):
    root, _, space = made
    batch = batch_of(ShardDataset(root / "latents", "train"), range(8))
    first, again, later = (clean(batch, Draws(0, step, 8, slice(None)), space) for step in (3, 3, 4))
    assert torch.equal(first, again)
    moments = batch["moments"]
    noise = Draws(0, 3, 8, slice(None)).normal("latent", 2, 2, 2)
    assert torch.equal(first, space.normalise(draw(moments, noise)))
    spread = ((first - later) / (moments[:, 2:] / 2).exp() * space.std).std()
    assert float(spread) == pytest.approx(2**0.5, rel=0.2)


def test_a_half_is_mirrored_by_draws_of_its_own_wherever_the_batch_is_shared():
    images = torch.arange(4.0).expand(1000, 1, 1, 4)
    batch = {"image": images, "label": torch.arange(1000)}
    whole = mirrored(batch, Draws(0, 5, 1000, slice(None)))
    turned = whole["image"][:, 0, 0, 0] == 3
    assert 430 < int(turned.sum()) < 570
    assert torch.equal(whole["image"][~turned], images[~turned])
    assert torch.equal(whole["label"], batch["label"])
    part = mirrored({"image": images[300:500]}, Draws(0, 5, 1000, slice(300, 500)))
    assert torch.equal(part["image"], whole["image"][300:500])
    other = mirrored(batch, Draws(0, 6, 1000, slice(None)))["image"][:, 0, 0, 0] == 3
    assert not torch.equal(turned, other)


def test_a_hint_is_mirrored_with_the_latent_beside_it():
    """By a marker: one pixel of the hint, and the latent of the picture that has it on the same side."""
    left = torch.zeros(100, 1, 4, 4)
    left[..., 2, 0] = 1
    moments = left[..., ::2, ::2].repeat(1, 2, 1, 1)
    batch = {"moments": moments, "mirrored": moments.flip(-1) + 5, "control": left}
    found = mirrored(batch, Draws(0, 5, 100, slice(None)))
    turned = found["moments"].amax((1, 2, 3)) >= 5
    assert 30 < int(turned.sum()) < 70
    assert torch.equal(found["control"][:, 0, 2, 3] == 1, turned)
    assert torch.equal(found["control"][:, 0, 2, 0] == 1, ~turned)


def test_a_step_on_cached_latents_is_the_step_on_pictures_that_are_encoded_then(either):
    root, autoencoder, space = either

    class Uncached(Diffusion):
        def loss(self, batch, draws):
            with torch.no_grad():
                moments = autoencoder.encode(batch["image"])
            return super().loss({"moments": moments, "label": batch["label"]}, draws)

    def trained(kind, folder):
        torch.manual_seed(0)
        denoiser = NetworkDenoiser(UNet(2, 5, 2, [16], [False]), CosineVP(), V())
        training = Training(steps=3, batch_size=8)
        method = kind(
            denoiser, ClassLabel(4, True), Uniform(), Unit(), AdamW(lr=1e-2), training, 0, 0.3, space
        )
        data, losses = ShardDataset(root / folder, "train"), []
        (optimizer,), _ = method.configure_optimizers()
        method.mirrors = data.is_mirrored
        for step in range(3):
            optimizer.zero_grad()
            losses.append(method.training_step(batch_of(data, range(step, step + 8), step), 0))
            losses[-1].backward()
            optimizer.step()
        return torch.stack(losses).detach()

    assert ShardDataset(root / "data", "train").is_mirrored
    assert ShardDataset(root / "latents", "train").is_mirrored
    cached, uncached = trained(Diffusion, "latents"), trained(Uncached, "data")
    assert torch.equal(cached, uncached)
    assert not torch.equal(cached[0], cached[1])


class Simulated(Alone):
    """One of several ranks that run one after the other, the leading one last; it takes what they sent."""

    def __init__(self, index, count, sent):
        self.index, self.count, self.leads, self.sent = index, count, index == 0, sent
        self.sizes = []

    def share(self, total):
        return share_of(self.index, self.count, total)

    def gathered(self, part, total):
        self.sizes.append(len(part))
        if not self.leads:
            self.sent[self.index].append(part)
            return part
        parts = [part, *(self.sent[other].pop(0) for other in range(1, self.count))]
        assert {other.shape[1:] for other in parts} == {part.shape[1:]}
        assert [len(other) for other in parts] == [
            len(share_of(k, self.count, total)) for k in range(self.count)
        ]
        return torch.cat(parts)


def test_ranks_that_have_no_share_of_a_part_leave_what_one_process_leaves(made, tmp_path):
    root, _, _ = made
    config = {"seed": 0, "autoencoder": {"network": NETWORK}}
    inputs = {name: Artifact(name, root / name, {"config": config}) for name in ("data", "autoencoder")}
    sent, sizes = {k: [] for k in range(5)}, []
    for index in range(4, -1, -1):
        ranks = Simulated(index, 5, sent)
        encode({}, inputs, Runtime(accelerator="cpu", sample_batch=1, ranks=ranks), tmp_path)
        sizes += ranks.sizes
    assert {*sizes} == {0, 1}
    assert not any(sent.values())
    alone, shared = (ShardDataset(folder, "train") for folder in (root / "latents", tmp_path))
    assert alone.keys == shared.keys
    one, other = (next(data.chunks(N)) for data in (alone, shared))
    assert torch.equal(one["label"], other["label"])
    for name in ("moments", "mirrored"):
        torch.testing.assert_close(other[name], one[name], rtol=1e-4, atol=1e-5)
    for value, expected in zip(
        *(load_space(Artifact("", f, {})).buffers() for f in (tmp_path, root / "latents")), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_a_set_without_mirrors_has_none_in_its_cache(made, tmp_path):
    root, _, _ = made
    described = json.loads((root / "data" / "data.json").read_text())
    assert described["mirror"] is True
    prepare(ImageFolder(str(root / "pictures"), held_out=0.1), tmp_path)
    assert not ShardDataset(tmp_path, "train").is_mirrored


def test_a_cache_is_another_one_where_what_it_is_made_of_is_and_nowhere_else(tmp_path):
    """Of latents: pictures, what was done to them and the autoencoder. Of texts: captions and encoder."""

    def keys(*argv):
        (cfg,) = check(["experiment=cfg_latent_text", f"runtime.cache={tmp_path}", *argv], CONF) or []
        return planned_keys(cfg)

    def moved(*argv):
        found = keys(*argv)
        return {name for name in ("latents", "texts") if found[name] != own[name]}

    own = keys()
    assert moved("data.seed=1") == {"latents", "texts"}
    assert moved("data.size=64") == {"latents", "texts"}
    assert moved("autoencoder.trainer.steps=7") == {"latents"}
    assert moved("autoencoder=vq") == {"latents"}
    assert moved("conditioner.encoder.length=20") == {"texts"}
    assert moved("method.drop_condition=0.3", "trainer.steps=7", "guidance.scale=3", "num_samples=9") == set()
