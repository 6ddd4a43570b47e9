"""LoRA: for each of some layers two thin matrices, which peft trains (Hu 2021)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn

from condiff.adapters import diffusers_file
from condiff.adapters.adapter import Adapter
from condiff.adapters.base import Base, digest_of
from condiff.adapters.halved import halve
from condiff.adapters.peft_settings import targets_of
from condiff.adapters.tuning import Tuning, ends_so, inside, part_of
from condiff.ranges import Count, Positive, Probability, checked

_DIMS = {"linear": 2, "conv": 4}  # of a weight
_Init = Literal["kaiming", "gaussian", "orthogonal", "olora", "pissa", "pissa_niter_4", "pissa_niter_16"]
# These begin with a share of the weights, which are lowered by it.
_FROM_BASE = ("olora", "pissa", "pissa_niter_4", "pissa_niter_16")
_LINEAR = ("orthogonal", *_FROM_BASE)  # peft has these for linear layers alone


class LowRank(Tuning):
    """Adds alpha / rank times the product of two matrices to the weight of each layer that is chosen.

    kinds: of layers. names: ends of their names, such as to_q or attentions.0.to_q, in which * is anything,
        as in down_blocks.*.to_q; null takes all.
    root_scale: the scale is alpha / sqrt(rank) (Kalajdzievski 2023: rsLoRA).
    dora: the length of each row of the weight is trained apart from its direction (Liu 2024: DoRA).
    dropout: the share of a layer's inputs that the matrices are not shown in training.
    init: of the first matrix, kaiming or gaussian, and the second one is zero; or orthogonal, of two whose
        product is zero; or a share of the weights, from their QR (Büyükakyüz 2024: olora) or their largest
        singular values (Meng 2024: pissa; both from memory), which pissa_niter_N finds nearly, by N rounds
        of a faster iteration. Training starts at the base with each of them, and what is written is the
        difference to it, for a share of the weights of twice the rank. peft's others are left out: eva and
        corda look at data before the training, loftq is for a base in few bits, and mica does not train the
        second matrix, of singular vectors, which a checkpoint here, of what is trained, would not hold.
    frozen: what the base is kept and computed in while the matrices, in float32, are trained.
    """

    package: ClassVar[str] = "peft"  # that the extra lora brings
    with_text: ClassVar[bool] = True
    by_parts: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        kinds: list[Literal["linear", "conv"]],
        names: list[str] | None = None,
        rank: Count = 8,
        alpha: Positive = 8.0,
        root_scale: bool = False,
        dora: bool = False,
        dropout: Probability = 0.0,
        init: _Init = "kaiming",
        frozen: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        if not kinds:
            raise ValueError("LowRank.kinds: must name at least one of linear, conv, got []")
        if names is not None and not names:
            raise ValueError("LowRank.names: must have at least one end of a name, got []; null takes all")
        if init in _LINEAR and "conv" in kinds:
            raise ValueError(f"LowRank.init: {init} is for kinds [linear] alone; use kaiming or gaussian")
        if init == "orthogonal" and rank % 2:
            raise ValueError(f"LowRank.init: orthogonal needs an even rank, got {rank}")
        self.kinds, self.names, self.rank, self.alpha = kinds, names, rank, alpha
        self.root_scale, self.dora, self.dropout = root_scale, dora, dropout
        self.init: _Init = init
        self.frozen = frozen

    def begin(self, network: nn.Module) -> nn.Module:
        from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415  an extra, not asked for in sampling

        from condiff.adapters.in_peft import remember  # noqa: PLC0415  peft

        network.requires_grad_(False)
        own = inside(network)
        chosen = self.chosen(own)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # pyright: ignore[reportArgumentType]  multiplied only
            target_modules=targets_of(chosen, [*_shapes(own)]),
            use_rslora=self.root_scale,
            use_dora=self.dora,
            lora_dropout=self.dropout,
            # peft's own hint has [number of iters] for a number
            init_lora_weights=self.init if self.init != "kaiming" else True,  # pyright: ignore[reportArgumentType]
        )
        inject_adapter_in_model(config, own)
        if self.init in _FROM_BASE:
            remember(own)
        if self.frozen == "bfloat16":
            halve(network)
        return network

    def check(self, network: nn.Module) -> None:
        self.chosen(inside(network))

    def write(self, network: nn.Module, path: Path, base: str, trigger: Sequence[str]) -> None:
        part = part_of(network)
        write({part: inside(network)}, path, {part: base}, trigger)

    def changes(self, path: Path, network: nn.Module) -> dict[str, Tensor]:
        return added(diffusers_file.read(path, base_of(network)), network)

    def chosen(self, network: nn.Module) -> list[str]:
        """The names of the layers that are adapted; ValueError where an end of a name is of none of them."""
        dims = {_DIMS[kind] for kind in self.kinds}
        known = [name for name, shape in _shapes(network).items() if len(shape) in dims]
        ends = [""] if self.names is None else self.names
        idle = [end for end in ends if not any(ends_so(name, end) for name in known)]
        if idle:
            raise ValueError(self._nothing(idle[0], network, known))
        return [name for name in known if any(ends_so(name, end) for end in ends)]

    def _nothing(self, end: str, network: nn.Module, known: list[str]) -> str:
        kinds, what = " or ".join(self.kinds), type(network).__name__
        if not known:
            return f"adapter.tuning.kinds: {what} has no {kinds} layer; use adapter=full"
        last = sorted({name.removesuffix(".0").rpartition(".")[2] for name in known})
        return (
            f"adapter.tuning.names: {end!r} is the end of none of the {len(known)} {kinds} layers of {what};"
            f" theirs are {', '.join(last)}, or use adapter=linear"
        )


def write(
    parts: Mapping[str, nn.Module], path: Path, digests: Mapping[str, str], trigger: Sequence[str]
) -> None:
    """One file of what was trained in networks of a pipeline; digests: of what each began as."""
    from condiff.adapters.in_peft import taken  # noqa: PLC0415  peft

    layers = {f"{part}.{name}": at for part, net in parts.items() for name, at in taken(net).items()}
    diffusers_file.write(path, Adapter(layers, digests, tuple(trigger)), Base.of(parts))


def base_of(network: nn.Module) -> Base:
    """What an adapter of a backbone stands on, with a digest."""
    part, own = part_of(network), inside(network)
    return Base.of({part: own}, {part: digest_of(own)})


def added(adapter: Adapter, network: nn.Module, part: str | None = None) -> dict[str, Tensor]:
    """What an adapter adds to each parameter of a part that it fits, in float32; null: a backbone's own."""
    weights, found = {id(weight): name for name, weight in network.named_parameters()}, {}
    for name, layer in adapter.parts().get(part or part_of(network), {}).items():
        weight = inside(network).get_parameter(f"{name}.weight")
        found[weights[id(weight)]] = layer.change(weight.detach().float().cpu()).float()
    return found


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name.partition(".")[2]: shape for name, shape in Base.of({"": network}).shapes.items()}
