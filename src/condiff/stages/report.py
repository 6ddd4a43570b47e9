"""The pictures and the page of a finished run, out of its artifacts; no torch: a cached run is quick."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from condiff.config.text_rules import reads_text
from condiff.data.captions import captions_of
from condiff.data.shards import Shards
from condiff.data.sides import OF_CLASS
from condiff.data.source import DataInfo
from condiff.evaluation.parts import PARTS, REAL
from condiff.files import read_json
from condiff.reports.captioned import captioned
from condiff.reports.curves import Curve, Series, fidelity_lines, loss_curves
from condiff.reports.grid import grid
from condiff.reports.report import Figure, Panel, Report, StageRow
from condiff.stages.data_shown import data_figure
from condiff.stages.environment import environment
from condiff.stages.guided import guided
from condiff.stages.notes import notes, of_obedience
from condiff.stages.obedience import rows_of
from condiff.stages.stage import BESIDE, CAPTION, LOG, MADE, PICTURES, PICTURES_MADE, Artifact
from condiff.stages.study import Step
from condiff.stages.taught import taught_figure

COLUMNS = 10  # pictures of each class
CLASSES = 10  # the most that a grid shows
GAP = 24  # pixels between pictures side by side
STRIP = 6  # steps of a training that are shown
ANSWER, HINT = "the true answer", "the hint"
# What the pictures of a stage are, from left to right.
_WORDS = {
    "samples": {"source": "what to change", "control": HINT, "image": "samples", "target": ANSWER},
    "reconstructions": {"target": "held-out real", "image": "reconstructed"},
}
MOST_CAPTIONED, CAPTIONED_COLUMNS = 20, 5  # pictures with their captions
SHOWN = 64  # pixels that a small picture is enlarged to


def row(step: Step, seconds: float | None) -> StageRow:
    return StageRow(step.stage.name, step.key, step.status, step.why, seconds)  # pyright: ignore[reportArgumentType]


def log_rows(done: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """What every stage logged, stage after stage."""
    return [row for artifact in done.values() for row in rows_of(artifact.path / LOG)]


def samples_grid(done: Mapping[str, Artifact]) -> Image.Image:
    """Samples by class, a class a row, with its name on the left; between sources and answers if any."""
    return joined(samples_panels(done))


def joined(panels: Sequence[Panel]) -> Image.Image:
    """Side by side, as one picture."""
    width = sum(panel.image.width for panel in panels) + GAP * (len(panels) - 1)
    whole, left = Image.new("RGBA", (width, max(panel.image.height for panel in panels))), 0
    for panel in panels:
        whole.paste(panel.image, (left, 0))
        left += panel.image.width + GAP
    return whole


def samples_panels(done: Mapping[str, Artifact]) -> list[Panel]:
    """What was made, and where it was made from pictures these and the true answers, by class."""
    info = DataInfo.read(done["data"].path)
    stage = next(stage for stage in MADE if stage in done)
    stored = load_file(done[stage].path / PICTURES_MADE)
    words, captions = _WORDS[stage], captions_of(stored)
    if "control" in stored:
        hints = stored["control"]
        several = np.split(hints, hints.shape[1] // (info.control or info.channels), axis=1)
        shown = {name: several if name == "control" else [stored[name]] for name in words if name in stored}
        return [Panel(words[name], _first(part)) for name, parts in shown.items() for part in parts]
    if captions is not None and "source" not in stored:
        some = np.moveaxis(stored["image"][:MOST_CAPTIONED], 1, -1)
        return [Panel(words["image"], captioned(some, captions[:MOST_CAPTIONED], CAPTIONED_COLUMNS))]
    return [
        Panel(text, _by_class(np.moveaxis(stored[name], 1, -1), stored["label"], info))
        for name, text in words.items()
        if name in stored
    ]


def report(
    cfg: Mapping[str, Any], command: str, steps: Sequence[Step], done: Mapping[str, Artifact]
) -> Report:
    metrics = metrics_in(done)
    rows = log_rows(done)
    return Report(
        name=cfg["name"],
        question=cfg["question"],
        command=command,
        guidance=guided(cfg["guidance"]) if cfg["guidance"] and "samples" in cfg["stages"] else None,
        stages=[row(step, step.seconds) for step in steps],
        metrics=metrics,
        pictures=[
            *_samples_figure(done),
            *data_figure(done),
            *_class_figure(done),
            *taught_figure(done),
            *_evaluated_figure(done),
            *_strip("Through training", "denoiser", done),
            *_strip("The adapter through training", "adapter", done),
            *_reconstructions_figure(done),
            *_strip("Reconstructions through training", "autoencoder", done),
        ],
        curves=[*loss_curves(rows), *_classifier_curve(done), *watched_curves(rows, metrics)],
        config=cfg,
        environment=environment(),
        notes=notes(rows, done),
        measured=of_obedience(rows),
    )


def metrics_in(done: Mapping[str, Artifact]) -> dict[str, Any]:
    """What was measured, of samples, of given pictures, or of reconstructions and their latents."""
    found = (done[name].path / "metrics.json" for name in ("metrics", "evaluation") if name in done)
    measured = next((read_json(path) for path in found), {})
    return {**measured, **_of_their_latents(done)} if measured and "reconstructions" in done else measured


def _of_their_latents(done: Mapping[str, Artifact]) -> dict[str, Any]:
    """How much of a Gaussian latent, or of a codebook, is used."""
    found = read_json(done["autoencoder"].path / "autoencoder.json")
    names = {
        "kl_per_dimension": "nats that a number of the latent is from N(0, 1), mean over held-out pictures",
        "codes_used": f"share of {found.get('codes')} codes that held-out pictures choose",
        "perplexity": f"codes, of {found.get('codes')}, that used alike would be as many",
    }
    return {
        name: {"value": found[name], "n": found["n"], "protocol": protocol, "interval": None}
        for name, protocol in names.items()
        if name in found
    }


def _samples_figure(done: Mapping[str, Artifact]) -> list[Figure]:
    if not any(stage in done for stage in MADE):
        return []
    panels = samples_panels(done)
    if "samples" not in done:
        caption = "Held-out pictures, never trained on, and what comes of them; each row one class."
        return [Figure("Pictures and their reconstructions", caption, panels)]
    if len(panels) > 1 and panels[0].label == HINT:
        caption = "The first samples: each stands where its hint does, and the real picture of that hint."
        return [Figure("Samples beside their hints", caption, panels)]
    if len(panels) > 1:
        caption = "Each row one class: what was to be done. None of these pictures was trained on."
        return [Figure("Samples beside their sources", caption, panels)]
    if reads_text(done["denoiser"].manifest["config"]):
        caption = "The first samples, each above the caption that it was asked to show."
        return [Figure("Samples by caption", caption, panels)]
    info, shards = DataInfo.read(done["data"].path), Shards.open(done["data"].path, "held_out")
    real = np.stack([_pixels(shards.read(i, "png")) for i in range(len(shards.keys))])
    label = np.array(shards.labels) if info.num_classes else np.zeros(len(real), dtype=np.int64)
    panels.append(Panel("held-out real", _by_class(real, label, info)))
    caption = "Each row one class, as asked for; beside them real pictures that no stage was trained on."
    return [Figure("Samples by class", caption, panels)]


def _class_figure(done: Mapping[str, Artifact]) -> list[Figure]:
    """What is drawn of the class of an adapter's subject, above what its base draws of the same noise."""
    text = done["samples"].manifest["config"].get("class_text") if "samples" in done else None
    if text is None:
        return []
    stored = load_file(done["samples"].path / PICTURES_MADE)
    images = np.moveaxis(np.concatenate([stored[name][:COLUMNS] for name in OF_CLASS]), 1, -1)
    picture = grid(images, len(images) // 2, row_labels=["adapted", "base"], scale=_scale(images))
    caption = f'The first samples of "{text}" above what the base draws of the same noise.'
    return [Figure("The class of the subject", caption, [Panel("", picture)])]


def _evaluated_figure(done: Mapping[str, Artifact]) -> list[Figure]:
    if "evaluation" not in done:
        return []
    panels = [
        Panel(name, Image.open(file))
        for name in ("images", "reference")
        if (file := done["evaluation"].path / f"{name}.png").is_file()
    ]
    caption = "Some of the pictures, cropped to squares and resized to be looked at; measured as they are."
    return [Figure("What was measured", caption, panels)]


def _reconstructions_figure(done: Mapping[str, Artifact]) -> list[Figure]:
    if "autoencoder" not in done:
        return []
    images = np.moveaxis(load_file(done["autoencoder"].path / "reconstructions.safetensors")["image"], 1, -1)
    columns = len(images) // 2
    picture = grid(images, columns, row_labels=["real", "decoded"], scale=_scale(images))
    found = read_json(done["autoencoder"].path / "autoencoder.json")
    caption = (
        f"Held-out pictures above what the autoencoder makes of their latents: PSNR "
        f"{found['held_out_psnr']:.1f} dB over {found['n']}{_of_latents(found)}."
    )
    return [Figure("Reconstructions", caption, [Panel("", picture)])]


def _of_latents(found: Mapping[str, Any]) -> str:
    if "codes" in found:
        return (
            f"; they use {found['codes_used']:.0%} of {found['codes']} codes,"
            f" as many as {found['perplexity']:.0f} that were used alike"
        )
    divergence = found.get("kl_per_dimension")
    return "" if divergence is None else f"; {divergence:.2f} nats of KL a dimension of the latent"


def _strip(title: str, stage: str, done: Mapping[str, Artifact]) -> list[Figure]:
    """What a stage showed while it trained, as many steps side by side as a page is wide."""
    folder = done[stage].path / PICTURES if stage in done else None
    files = [] if folder is None else sorted(folder.glob("step=*.png"))
    if folder is None or not files:
        return []
    wanted = min(len(files), STRIP)
    chosen = [files[(k + 1) * len(files) // wanted - 1] for k in range(wanted)]  # the last one is among them
    beside = folder / BESIDE
    panels = [Panel(HINT, Image.open(beside))] if beside.is_file() else []
    panels += [Panel(f"step {int(file.stem.partition('=')[2])}", Image.open(file)) for file in chosen]
    return [Figure(title, read_json(folder / CAPTION), panels)]


def _classifier_curve(done: Mapping[str, Artifact]) -> list[Curve]:
    if "classifier" not in done:
        return []
    found = read_json(done["classifier"].path / "classifier.json")
    line = Series("accuracy", list(zip(found["noise_left"], found["accuracy"], strict=True)))
    caption = f"Of the classifier that guides, on {found['n']} held-out pictures; 0 is data, 1 is noise."
    return [Curve("classifier by noise level", caption, [line], x_label="noise left", y_label="accuracy")]


def watched_curves(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[Curve]:
    """What was measured while the denoiser, or its adapter, trained, a plot a metric.

    The parts of a fidelity have none of their own: its ceiling and its floor are lines beside it.
    """
    own = [row for row in rows if row["stage"] in ("denoiser", "adapter")]
    caption = "Of samples of the averaged weights, while training; of an adapter at scale 1."
    parts = {f"{name}{end}" for name in metrics if f"{name}{REAL}" in metrics for end in PARTS}
    plots = {name: fidelity_lines(own, name) for name in metrics if name not in parts}
    return [Curve(name, caption, lines, y_label=name) for name, lines in plots.items() if lines]


def _by_class(images: np.ndarray, label: np.ndarray, info: DataInfo) -> Image.Image:
    shown = range(min(max(1, info.num_classes), CLASSES))
    rows = [images[label == k][:COLUMNS] for k in shown]
    blank = np.full_like(images[:1], 255)
    full = [np.concatenate([r, *[blank] * (COLUMNS - len(r))]) for r in rows]
    names = [info.class_names[k] for k in shown] if info.num_classes else []
    return grid(np.concatenate(full), COLUMNS, row_labels=names, scale=_scale(images))


def _first(images: np.ndarray) -> Image.Image:
    """The first of some pictures, [N, C, H, W], in their order."""
    some = np.moveaxis(images[:MOST_CAPTIONED], 1, -1)
    return grid(some, CAPTIONED_COLUMNS, scale=_scale(some))


def _scale(images: np.ndarray) -> int:
    return max(1, SHOWN // images.shape[1])


def _pixels(png: bytes) -> np.ndarray:
    """[H, W, C] uint8."""
    array = np.asarray(Image.open(io.BytesIO(png)))
    return array[..., None] if array.ndim == 2 else array
