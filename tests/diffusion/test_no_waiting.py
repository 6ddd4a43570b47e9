"""In the loop of a generation the host never waits for the device, so it can run ahead of it.

The device is torch's "meta", which knows shapes and no values: to read one, or to bring one from the host,
is told. On a GPU each of these would hold the host back until all that was asked before is done.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from choices import choices, some_by_default
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from condiff.config.build import build
from condiff.diffusion import ancestral, multistep, samplers, stochastic
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser, NetworkDenoiser
from condiff.diffusion.guidance import Guided, Models
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import CosineVP, Process, RectifiedFlow
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, Sampler
from condiff.networks.noisy_classifier import HalfUNet
from condiff.networks.unet import UNet

B, CHANNELS, SIZE = 3, 2, 4
SAMPLERS, GUIDANCES, PROCESSES = choices("sampler"), choices("guidance"), choices("process")
# Their answer is a number of Python, or has a size that only the values tell.
READERS = {
    "_local_scalar_dense", "_unique", "_unique2", "allclose", "argwhere", "bincount", "equal", "is_nonzero",
    "item", "masked_select", "nonzero", "nonzero_static", "repeat_interleave", "unique_consecutive",
    "unique_dim", "unique_dim_consecutive",
}  # fmt: skip
MADE_OF_PYTHON = {torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, Tensor.new_tensor}


class Waited(Exception):
    """The host asked for what only the device knows, or brought it what only the host knew."""


class OnlyQueued(TorchDispatchMode):
    """Lets through what a device can be given to do without an answer."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, op.overloadpacket.__name__
        given = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        there = any(v.is_meta for v in given)
        masks = tree_leaves(args[1]) if name in ("index", "index_put", "index_put_") else []
        if there and (name in READERS or any(v is not None and v.dtype == torch.bool for v in masks)):
            raise Waited(f"{name} reads from the device")
        moved = (
            name == "_to_copy"
            and (torch.device(kwargs.get("device") or args[0].device).type == "meta") != there
        )
        if moved or (there and any(v.ndim for v in given if not v.is_meta)):
            raise Waited(f"{name} copies between host and device")
        return op(*args, **kwargs)


class NothingOfPython(TorchFunctionMode):
    """Refuses tensors of the device that are made of Python's numbers: those are copied there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        places = args[1] if func in (Tensor.__getitem__, Tensor.__setitem__) else ()
        is_listed = any(isinstance(v, list) for v in (places if isinstance(places, tuple) else [places]))
        if (func in MADE_OF_PYTHON and made.is_meta) or (is_listed and args[0].is_meta):
            raise Waited(f"{func.__name__} copies from Python to the device")
        return made


@contextmanager
def never_waiting() -> Iterator[None]:
    with NothingOfPython(), OnlyQueued():
        yield


class OnDevice(SampleNoise):
    """Noise that is on the device already."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def normal(self, *shape: int) -> Tensor:
        return torch.empty(B, *shape, device=self.device)


class Plain(nn.Module):
    """The least of a network; its second half is for the variance."""

    def forward(self, x: Tensor, m, cond: Condition) -> Tensor:
        return torch.cat([m.sigma * x, x.tanh()], 1)


def walk(
    sampler: Sampler, denoiser: Denoiser, cond: Condition, device: str = "meta", waiting=never_waiting
) -> Tensor:
    """All steps of a generation, the nodes made beforehand."""
    noise = torch.zeros(B, CHANNELS, SIZE, SIZE, device=device)
    nodes = sampler.nodes(denoiser.process, noise)
    sampler.nodes = lambda process, like: nodes
    with waiting():
        return sampler(denoiser, noise, cond, OnDevice(device))


def asked(device: str = "meta") -> Condition:
    """Everything that a rule of conf/ may want."""
    label, picture = (
        torch.zeros(B, dtype=torch.long, device=device),
        torch.zeros(B, 1, SIZE, SIZE, device=device),
    )
    return Condition(label=label, concat=picture, null=Condition(label=label, concat=picture))


def built_sampler(name: str, steps: int = 4) -> Sampler:
    return build({**SAMPLERS[name], "steps": steps}, "sampler")


def fitting(sampler: Sampler) -> list[Process]:
    needs_chain = getattr(sampler.grid, "needs_chain", False)
    every = [build(node, "process") for node in PROCESSES.values()]
    return [process for process in every if not needs_chain or hasattr(process, "num_steps")]


def test_every_sampler_and_every_process_is_under_test():
    rooms = (ancestral, multistep, samplers, stochastic)
    every = {kind for room in rooms for _, kind in inspect.getmembers(room, inspect.isclass)}
    kinds = {kind for kind in every if issubclass(kind, Sampler) and not inspect.isabstract(kind)}
    assert kinds == {type(built_sampler(name)) for name in SAMPLERS}
    assert len(kinds) >= 12
    assert len(SAMPLERS) >= 19
    assert len(GUIDANCES) >= 24
    assert len(PROCESSES) >= 5


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampler_waits_for_the_device(name):
    sampler = built_sampler(name)
    assert fitting(sampler)
    for process in fitting(sampler):
        x = walk(built_sampler(name), NetworkDenoiser(Plain(), process, V()), asked())
        assert (x.shape, x.device.type) == ((B, CHANNELS, SIZE, SIZE), "meta")


def guided(name: str, device: str = "meta") -> tuple[Sampler, Denoiser]:
    """A rule of conf/ over a U-Net, and a sampler that can follow it."""
    rule = build(GUIDANCES[name], "guidance")
    process = RectifiedFlow() if getattr(rule, "needs_flow", False) else CosineVP()
    shape = {"channels": CHANNELS, "size": SIZE, "widths": [8, 16], "attention": [False, True]}

    def network() -> NetworkDenoiser:
        return NetworkDenoiser(UNet(num_labels=3, concat_channels=1, **shape).eval().to(device), process, V())

    classifier = HalfUNet(num_classes=2, **shape).eval().requires_grad_(False).to(device)
    models = Models(network(), classifier.log_probability, network())
    return built_sampler("ancestral" if getattr(rule, "asks", None) == "pull" else "ddim"), rule(models)


@pytest.mark.parametrize(
    "name", some_by_default(GUIDANCES, "cfg", "cfg_interval", "apg", "pag", "classifier", "chain")
)
def test_no_guidance_waits_for_the_device(name):
    assert walk(*guided(name), asked()).shape == (B, CHANNELS, SIZE, SIZE)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*SAMPLERS, *GUIDANCES])
def test_nothing_waits_for_a_gpu(name):
    @contextmanager
    def told() -> Iterator[None]:
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    if name in SAMPLERS:
        sampler = built_sampler(name)
        walks = [(sampler, NetworkDenoiser(Plain(), process, V())) for process in fitting(sampler)[:1]]
    else:
        walks = [guided(name, "cuda")]
    for sampler, denoiser in walks:
        assert walk(sampler, denoiser, asked("cuda"), "cuda", told).is_cuda


@pytest.mark.gpu
def test_noise_of_samples_reaches_a_gpu_without_waiting_and_unchanged():
    there = SampleNoise(0, [4, 7], "cuda", torch.float64)
    there.normal(1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        moved = there.normal(2, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    here = SampleNoise(0, [4, 7])
    here.normal(1)
    assert torch.equal(moved.cpu(), here.normal(2, 3).double())


ON_DEVICE = torch.ones(3, device="meta")
WAITING = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x.sum()),
    "if": lambda x: x if (x > 0).all() else -x,
    "list": lambda x: x.tolist(),
    "mask": lambda x: x[x > 0],
    "set by mask": lambda x: x.index_put_((x > 0,), x[0]),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "close": lambda x: torch.allclose(x, x),
    "repeat": lambda x: x.repeat_interleave(x.long()),
    "to host": lambda x: x.cpu(),
    "to device": lambda x: torch.ones(3).to(x),
    "to device by name": lambda x: torch.tensor(3.0).to("meta"),
    "from host": lambda x: x.copy_(torch.ones(3)),
    "both": lambda x: x * torch.ones(3),
    "places of the host": lambda x: x[torch.arange(2)],
    "listed places": lambda x: x[[0, 1]],
    "table": lambda x: x.new_tensor([1.0, 2.0]),
    "tensor": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "as tensor": lambda x: torch.as_tensor(2.0, device=x.device),
    "noise": lambda x: SampleNoise(0, range(3), x.device).normal(2),
}  # fmt: skip
QUEUED = [
    lambda x: torch.where(x > 0, x, 0),
    lambda x: torch.full_like(x, 3.0),
    lambda x: torch.quantile(x, 0.5),
    lambda x: x[torch.ones(2, dtype=torch.long, device=x.device)],
    lambda x: x.to(torch.float64),
    lambda x: x * torch.tensor(2.0),  # a number of the host goes along with what is asked
    lambda x: torch.arange(3, device=x.device) + x,
    lambda x: torch.tensor([1.0, 2.0]).tolist(),  # of the host alone
]


@pytest.mark.parametrize("name", WAITING)
def test_waiting_is_told(name):
    with pytest.raises(Waited), never_waiting():
        WAITING[name](ON_DEVICE)


def test_work_without_an_answer_is_no_waiting():
    for work in QUEUED:
        with never_waiting():
            work(ON_DEVICE)


@pytest.mark.parametrize("name", ["item", "if", "mask", "table"])
def test_a_rule_that_waits_is_caught_in_the_walk(name):
    def start(models: Models):
        def rule(x_t: Tensor, m, cond: Condition) -> Prediction:
            WAITING[name](m.sigma.flatten())
            return models.denoiser(x_t, m, cond)

        return rule

    plain = NetworkDenoiser(Plain(), CosineVP(), V())
    with pytest.raises(Waited):
        walk(DDIM(2), Guided(Models(plain), start), asked())
