"""What kohya's files call the layers of a base, found from the base's own layers.

A name is the module's with underscores for dots, which cannot be undone by itself: so all names of the base
are made and looked up. Of SDXL the U-Net's are those of its authors' files (``input_blocks.4.1``).
"""

from condiff.adapters.base import Base
from condiff.adapters.diffusers_file import full_name
from condiff.ldm_names import layer_name

PREFIXES = {
    "unet": ("lora_unet_",),
    "text_encoder": ("lora_te_", "lora_te1_"),  # of a pipeline with one, and with two
    "text_encoder_2": ("lora_te2_",),
}


def written(base: Base) -> dict[str, str]:
    """The name in a file of each layer of the base that has one."""
    authors = _authors(base)
    names: dict[str, str] = {}
    for name in base.shapes:
        part, _, module = name.partition(".")
        if part not in PREFIXES:
            continue
        prefix = PREFIXES[part][-1] if base.is_xl else PREFIXES[part][0]
        theirs = authors.get(name) if base.is_xl and part == "unet" else full_name(module)
        if theirs is not None:
            names[name] = _joined(prefix, theirs)
    return names


def meant(base: Base) -> dict[str, list[str]]:
    """The layers of the base that a name in a file can mean: one, were it not for odd networks."""
    authors = _authors(base)
    names: dict[str, list[str]] = {}
    for name in base.shapes:
        part, _, module = name.partition(".")
        spellings = {full_name(module), authors.get(name, full_name(module))}
        for prefix in PREFIXES.get(part, ()):
            for spelling in spellings:
                names.setdefault(_joined(prefix, spelling), []).append(name)
    return names


def _authors(base: Base) -> dict[str, str]:
    """The names of a U-Net's layers in its authors' files, of those that have one."""
    modules = [name.removeprefix("unet.") for name in base.shapes if name.startswith("unet.")]
    steps = [module.split(".") for module in modules if module.startswith("down_blocks.")]
    levels = sorted({int(step[1]) for step in steps})
    attends = [any(int(step[1]) == level and step[2] == "attentions" for step in steps) for level in levels]
    blocks = len({step[3] for step in steps if step[1:3] == ["0", "resnets"]})
    named = {module: layer_name(module, blocks, attends) for module in modules} if blocks else {}
    return {f"unet.{module}": theirs for module, theirs in named.items() if theirs is not None}


def _joined(prefix: str, module: str) -> str:
    return prefix + module.replace(".", "_")
