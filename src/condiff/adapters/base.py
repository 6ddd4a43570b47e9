"""What an adapter is made for: the layers of a base by name, and whether an adapter fits them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import nn

from condiff.adapters.adapter import Adapter

_BARE = "text_model."  # CLIP's text model stood in a module of this name until transformers 5
_WRAPPED, _ADDED = ".base_layer", "lora_"  # of peft
_KNOWN: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


@dataclass(frozen=True)
class Base:
    """shapes: of the weight of each layer that can be adapted, by part and module. digests: of its parts."""

    shapes: Mapping[str, tuple[int, ...]]
    digests: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Mapping[str, nn.Module], digests: Mapping[str, str] | None = None) -> "Base":
        """Of networks by the names that a pipeline gives them: unet, transformer, text_encoder, ....

        A part without its digest (``digest_of``) is not compared with what an adapter was trained on. What
        peft has put into a network does not count.
        """
        shapes = {
            f"{part}.{name.removesuffix(_WRAPPED)}": tuple(module.weight.shape)
            for part, network in parts.items()
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d) and not _is_added(name)
        }
        return cls(shapes, digests or {})

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.shapes))

    @property
    def is_xl(self) -> bool:
        """Whether it is of SDXL's kind, which is also told the size of a picture."""
        return "unet.add_embedding.linear_1" in self.shapes or "text_encoder_2" in self.parts

    def own_name(self, name: str) -> str:
        """How the base calls a layer, as CLIP's text model has two ways to; what it does not know stays."""
        part, _, module = name.partition(".")
        other = module.removeprefix(_BARE) if module.startswith(_BARE) else f"{_BARE}{module}"
        known = name not in self.shapes and part.startswith("text_encoder")
        return f"{part}.{other}" if known and f"{part}.{other}" in self.shapes else name

    def own_names(self, names: Iterable[str], what: str) -> dict[str, str]:
        """Names of layers in a file by the base's own; ValueError where two are of one layer."""
        names = list(names)
        own = {self.own_name(name): name for name in names}
        if len(own) < len(names):
            raise ValueError(
                f"{what}: {len(names) - len(own)} layers are there by two names; remove one of them"
            )
        return own

    def check(self, adapter: Adapter, what: str) -> None:
        """ValueError, in one line that starts with ``what``, if the adapter is another base's."""
        if not adapter.layers:
            raise ValueError(f"{what}: it has no layer of a LoRA")
        wrong = self._foreign(adapter) or self._misshapen(adapter) or self._other(adapter)
        if wrong:
            raise ValueError(f"{what}: {wrong}")

    def _other(self, adapter: Adapter) -> str | None:
        both = [part for part in adapter.parts() if part in self.digests and part in adapter.base]
        other = [part for part in both if self.digests[part] != adapter.base[part]]
        if not other:
            return None
        part, its, own = other[0], adapter.base[other[0]], self.digests[other[0]]
        return (
            f"its {len(adapter.layers)} layers fit, but were trained on the {part} {its[:12]}, and this one"
            f" is {own[:12]}; give the base that it was trained on"
        )

    def _foreign(self, adapter: Adapter) -> str | None:
        foreign = [name for name in adapter.layers if name not in self.shapes]
        return foreign_names(foreign, len(adapter.layers), self.parts) if foreign else None

    def _misshapen(self, adapter: Adapter) -> str | None:
        wrong = [
            name
            for name, layer in adapter.layers.items()
            if not layer.fits_itself or layer.weight_shape != self.shapes.get(name)
        ]
        if not wrong:
            return None
        layer, shape = adapter.layers[wrong[0]], self.shapes[wrong[0]]
        extra = "" if layer.magnitude is None else f" and a magnitude {list(layer.magnitude.shape)}"
        return (
            f"{len(wrong)} of {len(adapter.layers)} layers do not fit the base, {wrong[0]} with a down"
            f" {list(layer.down.shape)}, an up {list(layer.up.shape)}{extra} for a weight {list(shape)}; give"
            " the base that it was trained on"
        )


class Digests(Mapping[str, str]):
    """Of networks by part that stay as they are: each is made when it is first asked for, once a process."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._networks = networks

    def __getitem__(self, part: str) -> str:
        network = self._networks[part]
        if network not in _KNOWN:
            _KNOWN[network] = digest_of(network)
        return _KNOWN[network]

    def __contains__(self, part: object) -> bool:
        return part in self._networks  # without making it

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)


def foreign_names(names: list[str], total: int, parts: tuple[str, ...]) -> str:
    """The end of a sentence about layers that match nothing."""
    return (
        f"{len(names)} of {total} layers match nothing in the base, {names[0]} for one; the base given has"
        f" {', '.join(parts)}: give the one that it was trained on, with all its parts"
    )


def digest_of(network: nn.Module) -> str:
    """sha256 of names, shapes and values, in float32, of its weights, without what peft has put into it."""
    total = hashlib.sha256()
    state = {name.replace(_WRAPPED, ""): tensor for name, tensor in network.state_dict().items()}
    for name, tensor in sorted(state.items()):
        if not _is_added(name):
            total.update(f"{name} {list(tensor.shape)}\n".encode())
            total.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return total.hexdigest()


def _is_added(name: str) -> bool:
    return any(step.startswith(_ADDED) for step in name.split("."))
