"""Loops that others train with, each as their programs have it, on the same latents."""

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm
from training_sizes import CLASSES, ON_GPU, PLACE, Size

from condiff.data.dataset import ShardDataset

RATE, BETAS, DROP, DECAY = 2e-3, (0.9, 0.99), 0.1, 0.999
STEPS = 1000  # of a chain
Loop = Callable[[int], float]  # so many steps, in seconds


class Latents:
    """Moments in memory, drawn anew for every batch, beside what is told of them, a part of it dropped."""

    def __init__(self, size: Size, data: ShardDataset) -> None:
        moments = torch.cat([batch["moments"] for batch in data.chunks(500)]).to(PLACE)
        self.mean, self.std = moments[:, :4], (moments[:, 4:] / 2).exp()
        self.told, self.size = size.told(), size

    def __call__(self) -> tuple[Tensor, Tensor]:
        return self.of(torch.randint(0, len(self.mean), (self.size.batch,), device=PLACE))

    def of(self, at: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean[at]
        asked = torch.where(torch.rand(len(at), device=PLACE) < DROP, len(self.mean), at)
        return mean + self.std[at] * torch.randn_like(mean), self.told[asked]


class Chain:
    """alpha and sigma of the steps of a cosine chain, and a target that asks for v."""

    def __init__(self) -> None:
        angle = 0.999 * torch.linspace(0, torch.pi / 2, STEPS, device=PLACE)[:, None, None, None]
        self.alpha, self.sigma = angle.cos(), angle.sin()

    def __call__(self, x0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x_t, the steps and the target."""
        step, eps = torch.randint(0, STEPS, (len(x0),), device=PLACE), torch.randn_like(x0)
        alpha, sigma = self.alpha[step], self.sigma[step]
        return alpha * x0 + sigma * eps, step, alpha * eps - sigma * x0


def precise(size: Size) -> AbstractContextManager[Any]:
    return torch.autocast(PLACE.type, torch.bfloat16, enabled=size.bf16)


def timed(work: Callable[[], None], count: int) -> float:
    if ON_GPU:
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        work()
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def bare(size: Size, data: ShardDataset) -> Loop:
    """The least that trains the same network with the same optimizer, clipping and moving average."""
    draw, chain = Latents(size, data), Chain()
    net = cast(Any, size.network().to(PLACE)).to(memory_format=torch.channels_last)
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, RATE, betas=BETAS, fused=True)
    average = [p.detach().clone() for p in parameters]

    def step() -> None:
        x0, told = draw()
        x_t, t, target = chain(x0)
        with precise(size):
            output = size.call(net, x_t, t, told)
        loss = nn.functional.mse_loss(output.float(), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - DECAY)

    return lambda count: timed(step, count)


def accelerated(size: Size, data: ShardDataset, make: Callable[[], nn.Module]) -> Loop:
    """The loop of diffusers' examples: accelerate, its scheduler, EMAModel, a bar and a loss each step."""
    from accelerate import Accelerator  # noqa: PLC0415
    from diffusers.optimization import get_scheduler  # noqa: PLC0415
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler  # noqa: PLC0415
    from diffusers.training_utils import EMAModel  # noqa: PLC0415

    accelerator = Accelerator(mixed_precision="bf16" if size.bf16 else "no", cpu=not ON_GPU)
    draw, net = Latents(size, data), make()
    scheduler = cast(Any, DDPMScheduler(beta_schedule="squaredcos_cap_v2"))
    optimizer = torch.optim.AdamW(net.parameters(), RATE, betas=BETAS)
    rate = get_scheduler("cosine", optimizer, num_warmup_steps=100, num_training_steps=10**6)
    rows = torch.utils.data.DataLoader(
        cast(Any, range(len(draw.mean))), batch_size=size.batch, shuffle=True, drop_last=True
    )
    net, optimizer, rows, rate = accelerator.prepare(net, optimizer, rows, rate)
    ema = EMAModel(net.parameters(), decay=DECAY)
    ema.to(accelerator.device)
    batches, shown = _endless(rows), tqdm(disable=True)

    def step() -> None:
        x0, told = draw.of(next(batches).to(accelerator.device))
        noise = torch.randn_like(x0)
        t = torch.randint(0, STEPS, (len(x0),), device=x0.device)
        x_t = scheduler.add_noise(x0, noise, t)
        with accelerator.accumulate(net):
            with accelerator.autocast():
                output = size.call(net, x_t, t, told)
            loss = nn.functional.mse_loss(output.float(), scheduler.get_velocity(x0, noise, t).float())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            ema.step(net.parameters())
            shown.update(1)
        shown.set_postfix(loss=loss.detach().item(), lr=rate.get_last_lr()[0])

    return lambda count: timed(step, count)


def lucidrains(size: Size, data: ShardDataset) -> Loop:
    """denoising-diffusion-pytorch's U-Net with class labels and its diffusion, in its trainer's steps."""
    from denoising_diffusion_pytorch import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        classifier_free_guidance as theirs,
    )
    from ema_pytorch import EMA  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    draw = Latents(size, data)
    unet = theirs.Unet(dim=32, num_classes=CLASSES + 1, cond_drop_prob=DROP, dim_mults=(1, 2), channels=4)
    diffusion = theirs.GaussianDiffusion(unet, image_size=size.side, objective="pred_v").to(PLACE)
    optimizer = torch.optim.Adam(diffusion.parameters(), RATE, betas=BETAS)
    ema = EMA(diffusion, beta=DECAY, update_every=1)

    def step() -> None:
        x0, told = draw()
        loss = diffusion(x0, classes=told)
        loss.backward()
        nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update()
        loss.item()

    return lambda count: timed(step, count)


def peers(size: Size, data: ShardDataset) -> dict[str, Loop]:
    """Every loop that can be had here, by name; the first is the limit."""
    loops = {"bare loop": bare(size, data)}
    if _there("accelerate"):
        loops["accelerate, same network"] = accelerated(size, data, size.network)
        if size.example is not None:
            loops["accelerate, diffusers' U-Net"] = accelerated(size, data, size.example)
    if size.example is not None and _there("denoising_diffusion_pytorch", "denoising-diffusion-pytorch"):
        loops["denoising-diffusion-pytorch"] = lucidrains(size, data)
    return loops


def _there(module: str, package: str = "") -> bool:
    there = importlib.util.find_spec(module) is not None
    if not there:
        print(f"left out: {module} is not installed; pip install {package or module}")
    return there


def _endless(rows: Any) -> Iterator[Tensor]:
    while True:
        yield from rows
