"""What a step of the first stage costs, and what the latent cache saves, each against a bare loop in one run.

    python benchmarks/first_stage.py [--rounds 8] [--steps 10]

Ours is the training of experiment=autoencoder_kl and autoencoder_vq, with and without the adversary:
Lightning, keyed draws, clipping, moving average, log and progress bar. The bare loop trains the same networks
with torch's own generator and two optimizers, and does nothing else. The two take turns, a few steps each;
the table holds medians over the turns.

Then epochs of the training of experiment=cfg_latent's denoiser, in turns: on cached moments, and on pictures
that are encoded in every step. Both read shards, and take the same steps.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from torch import Tensor, nn
from training_overhead import OURS, Turns
from training_sizes import SIZES

from condiff.autoencoders.adversarial import adaptive_weight, hinge, hinge_of_generator
from condiff.autoencoders.codebook import AveragedCodebook, offers
from condiff.autoencoders.compact import CompactKL, CompactVQ
from condiff.autoencoders.discriminator import PatchDiscriminator
from condiff.autoencoders.quantizer import VectorQuantizer
from condiff.autoencoders.space import Autoencoder, LatentSpace, draw
from condiff.conditioners.label import ClassLabel
from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.data.mnist import Mnist
from condiff.data.prepare import prepare
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.adversary import PatchAdversary
from condiff.methods.autoencoder import AutoencoderKL, kl
from condiff.methods.autoencoder_vq import AutoencoderVQ
from condiff.methods.diffusion import Diffusion
from condiff.methods.first_stage import FirstStage
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import LearnedReconstruction, Reconstruction
from condiff.methods.settings import Training
from condiff.stages.latents import encode, load_space
from condiff.stages.stage import Artifact, Runtime
from condiff.stages.training import fit
from condiff.stages.weights import save_weights

BARE = "bare loop"
BATCH, CODES, WIDTH, HALVINGS = 50, 1024, 16, 2  # of conf/autoencoder/kl.yaml and vq.yaml
DENOISER_BATCH = 64  # of conf/trainer/short.yaml


def autoencoder(is_vq: bool) -> Autoencoder:
    torch.manual_seed(0)
    return CompactVQ(1, AveragedCodebook(CODES, 4)) if is_vq else CompactKL(1)


def ours(is_vq: bool, is_judged: bool, steps: int, every: int) -> FirstStage:
    training = Training(steps=steps, batch_size=BATCH, clip=1.0, ema_decay=0.99, log_every=every)
    adversary = PatchAdversary(AdamW(lr=5e-4, beta1=0.5, beta2=0.9), WIDTH, HALVINGS) if is_judged else None
    common = AdamW(lr=5e-3, beta2=0.99, warmup=50), training, 0
    if is_vq:
        return AutoencoderVQ(autoencoder(True), Reconstruction(1.0), *common, adversary=adversary)
    return AutoencoderKL(autoencoder(False), LearnedReconstruction(0.0, 1.0), *common, 1e-2, adversary)


def bare_first_stage(is_vq: bool, is_judged: bool, images: Tensor) -> Callable[[int], float]:
    """Seconds that so many steps of the bare loop take."""
    net = autoencoder(is_vq).to(memory_format=torch.channels_last)
    judge = PatchDiscriminator(1, WIDTH, HALVINGS)
    scale = nn.Parameter(torch.zeros(()))
    parameters = [*net.parameters(), scale]
    optimizer = torch.optim.AdamW(parameters, 5e-3, betas=(0.9, 0.99), fused=True)
    other = torch.optim.AdamW(judge.parameters(), 5e-4, betas=(0.5, 0.9), fused=True)
    average = [p.detach().clone() for p in net.parameters()]

    def through(x: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(net, CompactVQ):
            z = net.encoded(x)
            found = VectorQuantizer(net.codebook)(z)
            net.codebook.absorb(net.codebook.assigned(z, found.codes))
            dead = net.codebook.dead(0.1)
            if num := int(dead.sum()):
                net.codebook.restart(dead, offers(z, Draws(0, 0, BATCH, slice(None)), num))
            return net.decoded(found.latents), found.loss
        moments = net.encode(x)
        return net.decode(draw(moments, torch.randn_like(moments[:, :4]))), 1e-2 / 4 * kl(moments).mean()

    def steps(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            x = images[torch.randint(0, len(images), (BATCH,))]
            decoded, asked = through(x)
            error = (decoded - x).abs().mean() + (decoded - x).square().mean()
            unlikely = error if is_vq else error * torch.exp(-scale) + scale
            loss = unlikely + asked
            if is_judged:
                judge.requires_grad_(False)
                fooled = hinge_of_generator(judge(decoded))
                loss = loss + 0.5 * adaptive_weight(unlikely, fooled, net.last) * fooled
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
            optimizer.step()
            torch._foreach_lerp_(average, [p.detach() for p in net.parameters()], 0.01)
            if is_judged:
                judge.requires_grad_(True)
                other.zero_grad()
                hinge(*judge(torch.cat([x, decoded.detach()])).chunk(2)).backward()
                nn.utils.clip_grad_norm_(judge.parameters(), 1.0, foreach=True)
                other.step()
        return time.perf_counter() - start

    return steps


def first_stages(data: ShardDataset, rounds: int, steps: int, folder: Path) -> list[float]:
    images = torch.cat([batch["image"] for batch in data.chunks(500)])
    ratios = []
    print(f"{'step of':<28}{'ours':>10}{'bare loop':>12}{'bare / ours':>14}")
    for is_vq in (False, True):
        for is_judged in (False, True):
            turns = Turns(steps, {BARE: bare_first_stage(is_vq, is_judged, images)})
            out = folder / f"{is_vq}{is_judged}"
            out.mkdir()
            method = ours(is_vq, is_judged, rounds * steps, steps)
            fit("autoencoder", method, data, Runtime(accelerator="cpu", log=turns), out)
            pairs = [*zip(turns.seconds[OURS], turns.seconds[BARE], strict=True)][1:]
            ratios.append(statistics.median(b / o for o, b in pairs))
            one, two = (1000 * statistics.median(side) / steps for side in zip(*pairs, strict=True))
            name = f"{'VQ' if is_vq else 'KL'}{', adversarial' if is_judged else ''}"
            print(f"{name:<28}{one:>7.1f} ms{two:>9.1f} ms{ratios[-1]:>14.2f}")
    return ratios


class Uncached(Diffusion):
    """Given pictures, it encodes them in every step."""

    encoder: Autoencoder

    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        with torch.no_grad():
            moments = self.encoder.encode(batch["image"])
        return super().loss({"moments": moments, "label": batch["label"]}, draws)


def denoising(kind: type[Diffusion], data: ShardDataset, space: LatentSpace) -> Callable[[int], float]:
    """Seconds that so many steps of a denoiser take; it goes on from epoch to epoch."""
    training = Training(steps=len(data), batch_size=DENOISER_BATCH)
    denoiser = NetworkDenoiser(SIZES["digits"].network(), CosineVP(), V())
    label, rate = ClassLabel(10, with_null=True), AdamW(lr=2e-3)
    method = kind(denoiser, label, Uniform(), Unit(), rate, training, 0, 0.1, space)
    method.encoder = autoencoder(False).requires_grad_(False).eval()
    method.trained.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    (optimizer,), _ = method.configure_optimizers()
    batches = iter(loader(data, Batches(data.sizes, training.batch_size, seed=0)))

    def steps(count: int) -> float:
        start = time.perf_counter()
        for batch in islice(batches, count):
            optimizer.zero_grad()
            method.training_step(batch, 0).backward()
            nn.utils.clip_grad_norm_(method.trainable(), 1.0, foreach=True)
            optimizer.step()
        return time.perf_counter() - start

    return steps


def cache(data: ShardDataset, rounds: int, steps: int, folder: Path) -> float:
    """How many times longer an epoch of the denoiser takes that encodes its pictures on the way.

    The two take turns of a few steps through as many epochs as there are rounds.
    """
    for part in ("autoencoder", "latents"):
        (folder / part).mkdir()
    save_weights(folder / "autoencoder/weights.safetensors", autoencoder(False).state_dict())
    own = {"network": {"_target_": "condiff.autoencoders.compact.CompactKL"}}
    manifest = {"config": {"seed": 0, "autoencoder": own}}
    inputs = {name: Artifact(name, folder / name, manifest) for name in ("data", "autoencoder")}
    start = time.perf_counter()
    encode({}, inputs, Runtime(accelerator="cpu"), folder / "latents")
    filling = time.perf_counter() - start
    space = load_space(Artifact("latents", folder / "latents", manifest))
    cached = denoising(Diffusion, ShardDataset(folder / "latents", "train"), space)
    uncached = denoising(Uncached, data, space)
    turns = len(data) / DENOISER_BATCH / steps  # of an epoch
    pairs = [(cached(steps), uncached(steps)) for _ in range(round(rounds * turns))][1:]
    ratio = statistics.median(longer / shorter for shorter, longer in pairs)
    shorter, longer = (turns * statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"\nan epoch of {len(data):,} pictures: cached {shorter:.2f} s, uncached {longer:.2f} s,"
          f" {ratio:.3f} times as long; filling the cache {filling:.2f} s")  # fmt: skip
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        prepare(Mnist(size=32), folder / "data")
        data = ShardDataset(folder / "data", "train")
        ratios = first_stages(data, args.rounds, args.steps, folder)
        saved = cache(data, args.rounds, args.steps, folder)
    print(json.dumps({"benchmark": "first_stage", "bare_over_ours": ratios, "uncached_over_cached": saved}))


if __name__ == "__main__":
    main()
