"""What ranks are given to do in the tests: a training to be compared, and ways to fail."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from condiff.data.dataset import ShardDataset
from condiff.diffusion.importance import SecondMoment
from condiff.errors import DivergedError
from condiff.stages.stage import Artifact, Runtime, Stage

TRAINING = Stage(
    "denoiser", "tests.stages.rank_work:train", ("data",), reads=("steps", "batch_size"), is_shared=True
)
TRAININGS = Stage(
    "denoiser", "tests.stages.rank_work:train_each", ("data",), reads=("trainings",), is_shared=True
)


def failing(name: str) -> Stage:
    return Stage("denoiser", f"tests.stages.rank_work:{name}", is_shared=True)


def train(cfg: Mapping[str, Any], inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Train a small network; leave what each rank drew and what batch normalization gave it."""
    from condiff.stages.training import fit  # noqa: PLC0415  lightning, which failing does without
    from tests.stages.small import method  # noqa: PLC0415

    times = SecondMoment(*cfg["learned"]) if "learned" in cfg else None
    given = {name: cfg[name] for name in ("accumulate", "attends", "precision") if name in cfg}
    training = method(cfg["steps"], cfg["batch_size"], times=times, **given)
    seen = recorded(training)
    fit("denoiser", training, ShardDataset(inputs["data"].path, "train"), runtime, out)
    if times is not None:
        seen |= {f"learned {name}": value for name, value in times.state().items()}
    save_file(seen, out / f"seen{runtime.ranks.index}.safetensors")


def recorded(training: Any) -> dict[str, torch.Tensor]:
    """What a training will draw, and which labels it will be given, by step and place."""
    seen: dict[str, torch.Tensor] = {}
    plain = training.loss

    def loss(batch: Any, draws: Any) -> dict[str, torch.Tensor]:
        for place, u, eps in zip(draws.place, draws.uniform("u"), draws.normal("eps", 3), strict=True):
            seen[f"uniform {batch['step']} {place}"] = u.clone()
            seen[f"normal {batch['step']} {place}"] = eps.clone()
            seen[f"label {batch['step']} {place}"] = batch["label"][draws.place == place].clone()
        return plain(batch, draws)

    training.loss = training.part_loss = loss
    return seen


def train_each(cfg: Mapping[str, Any], inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Several in turn, each in a folder of its name: ranks take far longer to start than to train."""
    for name, own in cfg["trainings"].items():
        (out / name).mkdir(exist_ok=True)
        train(own, inputs, runtime, out / name)


def normalise(cfg: Any, inputs: Any, runtime: Runtime, out: Path) -> None:
    """Batch normalization of this rank's share of 7 samples, its gradients and what it keeps."""
    torch.manual_seed(0)
    x, weight = 3 + torch.randn(7, 4, 3, 3), torch.randn(7, 4, 3, 3)
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.weight)
    if runtime.ranks.count > 1:
        from condiff.stages.ranks_group import with_global_statistics  # noqa: PLC0415

        with_global_statistics(norm)
    share = runtime.ranks.share(7)
    part = x[share.start : share.stop].clone().requires_grad_()
    y = norm(part)
    (y * weight[share.start : share.stop]).square().sum().backward()
    assert part.grad is not None
    assert norm.weight.grad is not None
    kept = {"mean": norm.running_mean, "var": norm.running_var, "weight": norm.weight.grad}
    found = {
        "y": y.detach(),
        "x": part.grad,
        **{name: value for name, value in kept.items() if value is not None},
    }
    save_file(found, out / f"norm{runtime.ranks.index}.safetensors")
    norm.eval()(part)


def diverge(cfg: Any, inputs: Any, runtime: Runtime, out: Path) -> None:
    runtime.ranks.largest(1)
    if runtime.ranks.index == 1:
        raise DivergedError("denoiser: the gradient at step 3 is nan")
    runtime.ranks.largest(2)


def have_a_bug(cfg: Any, inputs: Any, runtime: Runtime, out: Path) -> None:
    runtime.log("denoiser", 3, {"loss": 0.5})
    if runtime.ranks.index == 1:
        raise KeyError("what")
    runtime.ranks.largest(2)


def die(cfg: Any, inputs: Any, runtime: Runtime, out: Path) -> None:
    (out / f"pid{runtime.ranks.index}").write_text(str(os.getpid()))
    runtime.ranks.largest(1)
    if runtime.ranks.index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    runtime.ranks.largest(2)


def hang(cfg: Any, inputs: Any, runtime: Runtime, out: Path) -> None:
    (out / f"pid{runtime.ranks.index}").write_text(str(os.getpid()))
    runtime.ranks.largest(1)
    if runtime.ranks.index == 1:
        time.sleep(600)
    runtime.ranks.largest(2)


def hang_at_the_start(cfg: Any, inputs: Any, runtime: Runtime, out: Path) -> None:
    if runtime.ranks.index == 1:
        time.sleep(600)
    runtime.ranks.largest(1)


def hang_alone(cfg: Any, inputs: Any, runtime: Runtime, out: Path) -> None:
    """In its own share, while the other is not done with its."""
    runtime.ranks.own_step()
    (out / f"pid{runtime.ranks.index}").write_text(str(os.getpid()))
    if runtime.ranks.index == 1:
        time.sleep(600)
    go_on(runtime)


def go_on(runtime: Runtime) -> None:
    for _ in range(6000):
        time.sleep(0.1)
        runtime.ranks.own_step()


def first_stage(cfg: Mapping[str, Any], inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Train an autoencoder against a discriminator; leave all that it has learned, as each rank has it."""
    from condiff.stages.training import fit  # noqa: PLC0415
    from tests.methods.first_stages import adversary, first_stage  # noqa: PLC0415

    # of hinge losses the gradient of the last bias may vanish, and Adam makes a step of what rounding leaves
    method = first_stage(cfg["kind"], adversary(loss="vanilla", r1=1.0), accumulate=cfg["accumulate"])
    fit("autoencoder", method, ShardDataset(inputs["data"].path, "train"), runtime, out)
    learned = {name: value.contiguous() for name, value in method.state_dict().items()}
    save_file(learned, out / f"learned{runtime.ranks.index}.safetensors")


def watched(cfg: Mapping[str, Any], inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Train with measurements on the way and without; leave the weights that each rank measured."""
    from condiff.stages.training import fit  # noqa: PLC0415
    from condiff.stages.watch import Watch  # noqa: PLC0415
    from tests.stages.small import method  # noqa: PLC0415

    data = ShardDataset(inputs["data"].path, "train")
    place = replace(runtime, watch=Watch(cfg["watch"], inputs, runtime))
    seen: dict[str, torch.Tensor] = {}
    for name in ("watched", "plain"):
        training = method(cfg["steps"], 7)
        look = place.watch((training.denoiser, training.conditioner, cfg["shape"]))

        def measure(network: nn.Module, look: Any = look) -> dict[str, float]:
            seen.update({name: value.contiguous() for name, value in network.state_dict().items()})
            return look(network)

        (out / name).mkdir(exist_ok=True)
        fit("denoiser", training, data, place, out / name, measure if name == "watched" else None)
    save_file(seen, out / f"measured{runtime.ranks.index}.safetensors")


WATCHED = Stage(
    "denoiser",
    "tests.stages.rank_work:watched",
    ("data", "judge"),
    reads=("steps", "shape", "watch"),
    is_shared=True,
)
