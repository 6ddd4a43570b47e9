"""What a step of the first stage costs, and what the latent cache saves, each against a bare loop in one run.

    python benchmarks/first_stage.py [--rounds 8] [--steps 10]

Ours is the training of experiment=autoencoder_kl and autoencoder_vq, with and without the adversary:
Lightning, keyed draws, clipping, moving average, log and progress bar. The bare loop trains the same networks
with torch's own generator and two optimizers, and does nothing else. The two take turns, a few steps each;
the table holds medians over the turns.

Then a step of the denoiser of experiment=cfg_latent in a bare loop on random moments that lie in memory, and
the encoding of as many pictures, which the cache saves it. Neither reads shards.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from torch import Tensor, nn
from training_overhead import Turns, bare, latents, network

from condiff.autoencoders.adversarial import adaptive_weight, hinge, hinge_of_generator
from condiff.autoencoders.codebook import AveragedCodebook, offers
from condiff.autoencoders.compact import CompactKL, CompactVQ
from condiff.autoencoders.discriminator import PatchDiscriminator
from condiff.autoencoders.quantizer import VectorQuantizer
from condiff.autoencoders.space import Autoencoder, draw
from condiff.data.dataset import ShardDataset
from condiff.data.mnist import Mnist
from condiff.data.prepare import prepare
from condiff.diffusion.randomness import Draws
from condiff.methods.adversary import PatchAdversary
from condiff.methods.autoencoder import AutoencoderKL, kl
from condiff.methods.autoencoder_vq import AutoencoderVQ
from condiff.methods.first_stage import FirstStage
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import LearnedReconstruction, Reconstruction
from condiff.methods.settings import Training
from condiff.stages.stage import Runtime
from condiff.stages.training import fit

BATCH, CODES, WIDTH, HALVINGS = 50, 1024, 32, 2  # of conf/autoencoder/kl.yaml and vq.yaml


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
            turns = Turns(steps, bare_first_stage(is_vq, is_judged, images))
            out = folder / f"{is_vq}{is_judged}"
            out.mkdir()
            method = ours(is_vq, is_judged, rounds * steps, steps)
            fit("autoencoder", method, data, Runtime(accelerator="cpu", log=turns), out)
            pairs = [*zip(turns.ours, turns.bare, strict=True)][1:]
            ratios.append(statistics.median(b / o for o, b in pairs))
            one, two = (1000 * statistics.median(side) / steps for side in zip(*pairs, strict=True))
            name = f"{'VQ' if is_vq else 'KL'}{', adversarial' if is_judged else ''}"
            print(f"{name:<28}{one:>7.1f} ms{two:>9.1f} ms{ratios[-1]:>14.2f}")
    return ratios


def cache(data: ShardDataset, rounds: int, steps: int, folder: Path) -> float:
    """How many times longer a step of the denoiser takes that encodes its pictures first."""
    cached = bare(latents(folder))
    net, images = CompactKL(1).eval(), torch.cat([batch["image"] for batch in data.chunks(500)])

    @torch.no_grad()
    def encoding(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            net.encode(images[torch.randint(0, len(images), (64,))])
        return time.perf_counter() - start

    pairs = [(cached(steps), encoding(steps)) for _ in range(rounds)][1:]
    ratio = statistics.median((step + extra) / step for step, extra in pairs)
    step, extra = (1000 * statistics.median(side) / steps for side in zip(*pairs, strict=True))
    parameters = sum(p.numel() for p in network().parameters())
    print(f"\ndenoiser of {parameters:,} parameters, a step on moments in memory {step:.1f} ms, and encoding"
          f" {step + extra:.1f} ms: {ratio:.2f} times as long")  # fmt: skip
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("data", "latents"):
            (folder / part).mkdir()
        prepare(Mnist(size=32), folder / "data")
        data = ShardDataset(folder / "data", "train")
        ratios = first_stages(data, args.rounds, args.steps, folder)
        saved = cache(data, args.rounds, args.steps, folder / "latents")
    print(json.dumps({"benchmark": "first_stage", "bare_over_ours": ratios, "uncached_over_cached": saved}))


if __name__ == "__main__":
    main()
