"""What a check has counted, in words and tables."""

import math
from collections.abc import Mapping
from typing import Any

from condiff.callbacks.trainings import DIVIDED
from condiff.reports.tables import PLAIN, Palette, table

CHECKED = "check.json"
_DRAWN = ("sampling", "prior")  # of a study's samples, and of what its base draws for an adapter's training
_LETTERS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def check_tables(
    found: Mapping[str, Any], devices: int = 1, palette: Palette = PLAIN, strategy: str = "ddp"
) -> str:
    """The networks, what training and sampling take, and what differs from the paper, for a terminal."""
    parts = [_networks(found, palette), _training(found, devices, strategy, palette)]
    parts += [_sampling(name, found[name], palette) for name in _DRAWN if name in found]
    return "\n\n".join([*parts, "\n".join(check_notes(found))])


def check_told(found: Mapping[str, Any]) -> list[str]:
    """The same for a page, a sentence a number."""
    lines = [
        f"{name}: {own['class']} of {short(own['parameters'])} parameters; {short(own['flop'], 'FLOP')} for"
        f" one picture, {_trained(own)}; {size(own['bytes_states'])} of states,"
        f" {size(own['bytes_activations'])} of activations a picture."
        for name, own in found["networks"].items()
    ]
    for name in (name for name in _DRAWN if name in found):
        own = found[name]
        whole = short(own["flop_picture"] * own["num_samples"], "FLOP")
        lines.append(
            f"{name}: {short(own['flop_picture'], 'FLOP')} for one picture in {own['steps']:,} steps of"
            f" {own['sampler']} with {own['guidance']}, {whole} for {own['num_samples']:,}."
        )
    return [*lines, *check_notes(found)]


def check_notes(found: Mapping[str, Any]) -> list[str]:
    """What stands in no table, a sentence each."""
    channels, height, width = found["shape"]
    notes = [
        f"Counted for x0 of {channels} x {height} x {width}. A product and its sum are two operations (FLOP),"
        " where papers often count one; the way back takes twice the way forward, less by the share of the"
        " weights that is not trained.",
        "Memory is an estimate: a device holds the states (weights, gradients, AdamW's moments, average) and,"
        " for each picture of its part of the batch, what the way back needs, which bf16-mixed halves."
        " A discriminator and a perceptual distance that an autoencoder is trained by are not counted.",
        *(f"{name} {own['trains']}." for name, own in found["networks"].items() if "trains" in own),
    ]
    recipe = found["recipe"]
    if recipe is None:
        return [*notes, "This study states no recipe of a paper to be compared with."]
    changed, same = recipe["changed"], recipe["same"]
    return [
        *notes,
        f"Recipe: {recipe['source']}; {same} of {same + len(changed)} values are the paper's.",
        *(f"{o['key']}: {_value(o['paper'])} in the paper, {_value(o['here'])} here" for o in changed),
        *(f"Not the paper's: {sentence}" for sentence in recipe["differs"]),
    ]


def _networks(found: Mapping[str, Any], palette: Palette) -> str:
    rows = [
        [name, short(own["parameters"]), short(own["flop"], "FLOP"), own["class"]]
        for name, own in found["networks"].items()
    ]
    return table(["network", "parameters", "one picture", "class"], rows, palette)


def _training(found: Mapping[str, Any], devices: int, strategy: str, palette: Palette) -> str:
    rows = [
        [
            name,
            f"{own['steps']:,}",
            f"{own['batch_size']:,}",
            short(own["flop_step"], "FLOP"),
            short(own["flop_training"], "FLOP"),
            size(own["bytes_states"]),
            size(own["bytes_activations"]),
            size(on_a_device(own, devices, devices if strategy == "fsdp" and name in DIVIDED else 1)),
        ]
        for name, own in found["networks"].items()
    ]
    head = ["training", "steps", "batch", "a step", "all steps", "states", "activations, a picture"]
    head += [f"memory on each of {devices}" if devices > 1 else "memory"]
    return table(head, rows, palette)


def _sampling(name: str, own: Mapping[str, Any], palette: Palette) -> str:
    calls = ", ".join(f"{name} {count:,}" for name, count in own["calls"].items())
    cells = [own["sampler"], f"{own['steps']:,}", calls, short(own["flop_picture"], "FLOP")]
    cells += [short(own["flop_picture"] * own["num_samples"], "FLOP"), own["guidance"]]
    head = [
        name,
        "steps",
        "network calls",
        "one picture",
        f"{own['num_samples']:,} pictures",
        "guidance",
    ]
    return table(head, [cells], palette)


def _trained(own: Mapping[str, Any]) -> str:
    if not own["steps"]:
        return "and it is used as it is"
    steps = f"{own['steps']:,} steps of {own['batch_size']:,} pictures"
    return f"{short(own['flop_training'], 'FLOP')} for {steps}"


def on_a_device(own: Mapping[str, Any], devices: int, parts: int = 1) -> float:
    """Bytes of a training where so many share a batch; bf16-mixed halves what the way back needs.

    parts: that the states are held in, a block that is gathered for a while apart.
    """
    share = -(-own["batch_size"] // (devices * own["accumulate"]))
    kept = own["bytes_activations"] * (0.5 if "bf16" in own["precision"] else 1)
    return own["bytes_states"] / parts + share * kept


def short(number: float, unit: str = "") -> str:
    """Four digits and a letter for the thousands: 553.8 M."""
    power = min(int(math.log10(number)) // 3, len(_LETTERS) - 1) if number >= 1 else 0
    return f"{number / 1000**power:.4g} {_LETTERS[power]}{unit}".rstrip()


def size(number: float) -> str:
    """Bytes in GiB, in MiB below one."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
