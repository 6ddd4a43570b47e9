"""Pictures that were asked for, as files to be looked at and handed on; no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import load_file

from condiff.config.nodes import at, attribute, class_of
from condiff.config.origins import FROM, NEGATIVE
from condiff.config.text_rules import reads_label
from condiff.data.captions import captions_of
from condiff.data.source import DataInfo
from condiff.files import copy_whole, written_whole
from condiff.reports.captioned import captioned
from condiff.reports.redact import redact
from condiff.reports.report import Figure, Panel, Report
from condiff.stages.environment import environment
from condiff.stages.finished_adapters import hints_named
from condiff.stages.guided import guided
from condiff.stages.hint_files import hint_of_each
from condiff.stages.report import ANSWER, joined, row, samples_panels
from condiff.stages.stage import PICTURES_MADE, Artifact
from condiff.stages.study import Step

CONTROL = "control"  # its hint
EVEN = "Even"  # the plain use of one
FOLDER, SHEET = "samples", "samples.png"
MOST, COLUMNS = 100, 8  # pictures on one sheet
_SOURCE = "source"  # what a picture was made from


def sheet(cfg: Mapping[str, Any], done: Mapping[str, Artifact]) -> Figure:
    """The first pictures above what each was asked to show, or beside what they were made from."""
    stored = load_file(done[FOLDER].path / PICTURES_MADE)
    title = f"Samples from {cfg[FROM]}"
    if CONTROL in stored:
        return _beside_hints(title, done, stored)
    if _SOURCE in stored:
        answered = cfg["label"] is None  # the answers are to what held-out pictures ask for
        panels = [panel for panel in samples_panels(done) if answered or panel.label != ANSWER]
        return Figure(title, "Each row one class: what was to be done.", panels)
    some = np.moveaxis(stored["image"][:MOST], 1, -1)
    shown = captioned(some, prompts(done, stored)[:MOST], min(COLUMNS, len(some)))
    caption = f"{len(some)} of {len(stored['image'])} pictures, each above what it was asked to show."
    return Figure(title, caption, [Panel("samples", shown)])


def _beside_hints(title: str, done: Mapping[str, Artifact], stored: Mapping[str, np.ndarray]) -> Figure:
    info, (images, hints) = (
        DataInfo.read(done["data"].path),
        (stored[name][:MOST] for name in ("image", CONTROL)),
    )
    several = np.split(hints, hints.shape[1] // (info.control or info.channels), axis=1)
    pairs = np.concatenate([_coloured(part) for part in (*several, images)], axis=2)
    shown = captioned(pairs, prompts(done, stored)[:MOST], min(COLUMNS // 2, len(pairs)))
    counted = f"{len(pairs)} of {len(stored['image'])} pictures"
    caption = f"{counted}, each beside its hint and above what it was asked to show."
    return Figure(title, caption, [Panel("hint and sample", shown)])


def _coloured(images: np.ndarray) -> np.ndarray:
    """[N, 1 or 3, H, W] as [N, H, W, 3]."""
    return np.moveaxis(images, 1, -1).repeat(3 // images.shape[1], axis=-1)


def prompts(done: Mapping[str, Artifact], stored: Mapping[str, np.ndarray]) -> list[str]:
    """In words what each picture was asked to show: a class by its name, or a caption, or both."""
    classes, captions = [""] * len(stored["image"]), captions_of(stored)
    info = DataInfo.read(done["data"].path)
    config = done["denoiser"].manifest["config"]
    is_heard = "classifier" in done or not attribute(at(config, "conditioner"), "needs_guide")
    if info.num_classes and reads_label(config) and is_heard:
        classes = [info.class_names[k] for k in stored["label"]]
    pairs = zip(classes, captions or [""] * len(classes), strict=True)
    return [": ".join(filter(None, pair)) for pair in pairs]


def leave(cfg: Mapping[str, Any], done: Mapping[str, Artifact], folder: Path) -> None:
    """``samples/``, a file a picture that tells in its text how it came about, and all in one file."""
    path = done[FOLDER].path / PICTURES_MADE
    stored, strength = load_file(path), guided(cfg["guidance"])
    told = {
        FROM: str(cfg[FROM]),
        "denoiser": done["denoiser"].key,
        **({"adapter": _adapter(done["adapter"].key, cfg["adapter"])} if "adapter" in done else {}),
        **({"adapters": ", ".join(cfg["adapters"])} if cfg["adapters"] else {}),
        "seed": str(cfg["seed"]),
        "guidance": strength.name,
        "scale": strength.shown(),
        "sampler": f"{class_of(cfg['sampler'])}, {cfg['sampler'].get('steps')} steps",
    }
    images, hints = np.moveaxis(stored["image"], 1, -1), _hints(cfg, done, stored)
    (folder / FOLDER).mkdir(exist_ok=True)
    for old in (folder / FOLDER).glob("[0-9]*.png"):  # of an earlier command in the same folder
        old.unlink()
    for index, (image, prompt) in enumerate(zip(images, prompts(done, stored), strict=True)):
        words = {"prompt": prompt, NEGATIVE: _negative(cfg, index), **told, "index": str(index)}
        words |= {"hint": hints[index]} if hints else {}
        with written_whole(folder / FOLDER / f"{index:05d}.png") as temporary:
            _picture(image).save(temporary, format="PNG", pnginfo=_text(words))
    with written_whole(folder / SHEET) as temporary:
        joined(sheet(cfg, done).panels).save(temporary, format="PNG")
    copy_whole(done[FOLDER].path, folder, [PICTURES_MADE])
    print(f"\nsamples: {folder / FOLDER}, {len(images)} pictures, and {folder / SHEET}")


def drawn_report(
    cfg: Mapping[str, Any], command: str, steps: Sequence[Step], done: Mapping[str, Artifact]
) -> Report:
    """A small page: the pictures, how they came about, and the config."""
    return Report(
        name=cfg["name"],
        question=cfg["question"],
        command=command,
        guidance=guided(cfg["guidance"]),
        stages=[row(step, step.seconds) for step in steps],
        metrics={},
        pictures=[sheet(cfg, done)],
        config=cfg,
        environment=environment(),
    )


def _adapter(key: str, own: Mapping[str, Any]) -> str:
    """What it is and how it is used: KEY at 0.5, start 0.2, end 0.8, GuessOriginal."""
    parts, control = [f"{key} at {own['scale']:g}"], own.get("control")
    if control:
        parts += [f"{name} {control[name]:g}" for name in ("start", "end") if name in control]
        parts += [name] if (name := class_of(control)) != EVEN else []
    return ", ".join(parts)


def _hints(
    cfg: Mapping[str, Any], done: Mapping[str, Artifact], stored: Mapping[str, np.ndarray]
) -> list[str]:
    """The hint of each picture in words; none where they have no hints."""
    if CONTROL not in stored:
        return []
    held_out = DataInfo.read(done["data"].path).num_held_out
    return hint_of_each(hints_named(cfg), len(stored["image"]), held_out)


def _negative(cfg: Mapping[str, Any], index: int) -> str:
    given = cfg[NEGATIVE] or ""
    return given[index % len(given)] if isinstance(given, list) else given


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _text(words: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    for key, value in redact(dict(words)).items():
        info.add_text(key, value)
    return info
