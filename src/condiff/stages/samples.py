"""Draw samples with the trained denoiser, a guidance and a sampler."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from condiff.callbacks.ranks import Alone, Ranks
from condiff.config.build import build
from condiff.data.source import DataInfo
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Models
from condiff.diffusion.randomness import SampleNoise
from condiff.progress import bar
from condiff.stages.adapted import adapted
from condiff.stages.asked import CONTROL, asked, built_guidance, condition_of
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.classifier import load_classifier
from condiff.stages.compiled import compiled
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.device import device
from condiff.stages.latents import encoded_source, load_space
from condiff.stages.pictures import save_pictures
from condiff.stages.stage import PICTURES_MADE, Artifact, Config, Runtime

PRECISION = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@torch.no_grad()  # not inference_mode: a classifier guides by its gradient
def draw(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``samples.safetensors``: what was asked in turn, the same noise for sample i under every guidance.

    ``class`` and ``class_of_base`` beside ``image``, of the same noise, are what the adapted denoiser and its
    base draw of the class of a subject, where that is asked for.
    """
    chosen = cfg["checkpoint"], cfg["average"]
    trained = load_denoiser(inputs["denoiser"], inputs["data"], inputs.get("texts"), *chosen)
    with adapted(cfg, inputs, trained) as own:
        samples = drawn_with_bar(cfg, inputs, own, runtime, "samples")
        samples |= _of_class(cfg, inputs, own, runtime, "class")
    samples |= _of_class(cfg, inputs, trained, runtime, "class_of_base")
    if runtime.ranks.leads:
        save_pictures(out / PICTURES_MADE, samples)


def _of_class(
    cfg: Config, inputs: Mapping[str, Artifact], trained: Trained, runtime: Runtime, name: str
) -> dict[str, Tensor]:
    if cfg["class_text"] is None:
        return {}
    of_class = {**cfg, "text": cfg["class_text"]}
    return {name: drawn_with_bar(of_class, inputs, trained, runtime, name)["image"]}


def drawn_with_bar(
    cfg: Config, inputs: Mapping[str, Artifact], trained: Trained, runtime: Runtime, name: str
) -> dict[str, Tensor]:
    """All that are ``drawn``, where this rank leads; each of the ranks shows how far it is under a name."""
    ranks, size = runtime.ranks, runtime.sample_batch
    steps = -(-len(ranks.share(cfg["num_samples"])) // size) * build(cfg["sampler"], "sampler").steps
    how = runtime.sample_compile
    with bar(steps, name) as shown, compiled(trained[0].network, how, "runtime.sample_compile"):

        def say() -> None:
            shown.update()
            ranks.own_step()

        return drawn(cfg, inputs, trained, device(runtime), say, ranks, size)


def drawn(
    cfg: Config,
    inputs: Mapping[str, Artifact],
    trained: Trained,
    place: torch.device,
    say: Callable[[], object] = lambda: None,
    ranks: Ranks | None = None,
    size: int = 250,
) -> dict[str, Tensor]:
    """``image``, [N, C, H, W] in [-1, 1], beside what was ``asked``; ``say`` is called at every step.

    Each of the ``ranks`` draws its share, ``size`` at a time, and the one that leads is given all of them.
    """
    ranks, total = ranks or Alone(), cfg["num_samples"]
    wanted = asked(cfg, inputs["data"], trained[1])
    images = drawn_of(cfg, inputs, trained, place, wanted, ranks.share(total), say, size)
    return {"image": ranks.gathered(images, total), **wanted}


def drawn_of(
    cfg: Config,
    inputs: Mapping[str, Artifact],
    trained: Trained,
    place: torch.device,
    wanted: Mapping[str, Tensor],
    share: range,
    say: Callable[[], object],
    size: int,
) -> Tensor:
    """The images, [n, C, H, W] in [-1, 1], of a share of what is ``wanted``, which may be none."""
    denoiser, conditioner, shape = trained
    precision = PRECISION[cfg["sample_precision"]]
    guided = built_guidance(cfg["guidance"])(_models(denoiser, inputs, place, precision))
    sampler, (encode, decode, factor) = build(cfg["sampler"], "sampler"), _coder(inputs, place)
    channels = DataInfo.read(inputs["data"].path).channels
    images = [torch.empty(0, channels, *(factor * side for side in shape[1:]))]
    for some in (range(start, min(start + size, share.stop)) for start in share[::size]):
        part = {name: values[some.start : some.stop].to(place) for name, values in wanted.items()}
        rng = SampleNoise(cfg["seed"], some, place, torch.float32)
        if "source" in part:
            part["source"] = encode(part["source"])
        if CONTROL in part:
            part[CONTROL] = part[CONTROL].float() / 255
        cond = condition_of(conditioner, part, some.start, cfg["guidance"])
        # around all steps, so that weights are cast once for them
        with torch.autocast(place.type, enabled=False):
            x0 = sampler(guided, rng.normal(*shape), cond, rng, lambda _: say())
        images.append(decode(x0).cpu())
    return torch.cat(images)


def _models(
    denoiser: NetworkDenoiser,
    inputs: Mapping[str, Artifact],
    place: torch.device,
    precision: torch.dtype | None,
) -> Models:
    """The denoiser and what this study has trained beside it."""
    classifier = weaker = None
    if "classifier" in inputs:
        classifier = load_classifier(inputs["classifier"], inputs["data"]).to(place).log_probability
    if "weaker" in inputs:
        weaker = load_denoiser(inputs["weaker"], inputs["data"])[0].to(place).precise(precision)
    return Models(denoiser.to(place).precise(precision), classifier, weaker)


Code = Callable[[Tensor], Tensor]


def _coder(inputs: Mapping[str, Artifact], place: torch.device) -> tuple[Code, Code, int]:
    """From pictures to edit to a condition, from what the sampler gives to images, and how often it fits into
    a side of these.
    """
    if "latents" not in inputs:
        return lambda source: source, lambda x0: x0, 1
    autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"]).to(place)
    space = load_space(inputs.get("base_latents", inputs["latents"])).to(place)
    encode = partial(encoded_source, autoencoder)
    return encode, lambda x0: autoencoder.decode(space.restore(x0)), autoencoder.downsampling
