"""A training step of our compact autoencoder against diffusers' smallest useful AutoencoderKL, in one run.

    python benchmarks/autoencoder_step.py [--rounds 25]

Both take 50 pictures of 32x32 to 8x8x4 latents and back; the two alternate, the table holds medians.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from condiff.autoencoders.compact import CompactKL


def diffusers_net() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    net = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
        block_out_channels=(8, 16, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return net, lambda x: net.decode(net.encode(x).latent_dist.mean).sample


def own_net() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    net = CompactKL(1)
    return net, lambda x: net.decode(net.encode(x).chunk(2, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    images = torch.randn(50, 1, 32, 32).contiguous(memory_format=torch.channels_last)
    nets = {"diffusers AutoencoderKL": diffusers_net(), "condiff CompactKL": own_net()}
    optimizers = {
        name: torch.optim.AdamW(net.parameters(), 1e-3, fused=True) for name, (net, _) in nets.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in nets}
    for net, _ in nets.values():
        net.to(memory_format=torch.channels_last)
    for _ in range(rounds):
        for name, (_, through) in nets.items():
            start = time.perf_counter()
            optimizers[name].zero_grad()
            (through(images) - images).square().mean().backward()
            optimizers[name].step()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values[3:]) for name, values in seconds.items()}
    for name, value in median.items():
        parameters = sum(p.numel() for p in nets[name][0].parameters())
        print(f"{name:<24} {1000 * value:8.1f} ms a step {parameters:>9,} parameters")
    ratio = median["diffusers AutoencoderKL"] / median["condiff CompactKL"]
    print(f"ratio {ratio:.2f}")
    print(json.dumps({"benchmark": "autoencoder_step", "ratio": ratio, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
