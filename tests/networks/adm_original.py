"""ADM's networks restated on a state dict in the layout of its published files, without any module.

What a layer is shows in the names of its tensors; what no name shows (heads, their order, which residual
blocks halve or double the size) is told by the flags.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

NORM_GROUPS = 32
Named = tuple[str, tuple[int, ...]]  # a tensor's name and shape


@dataclass(frozen=True)
class Flags:
    """The flags of ADM's programs, by their names; ``outputs`` and ``inputs`` are channels."""

    image_size: int
    num_channels: int
    num_res_blocks: int
    channel_mult: tuple[float, ...]
    attention_resolutions: tuple[int, ...]
    num_heads: int = 4
    num_head_channels: int = -1
    use_scale_shift_norm: bool = True
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    num_classes: int | None = None
    inputs: int = 3
    outputs: int = 6

    def heads(self, width: int) -> int:
        return self.num_heads if self.num_head_channels == -1 else width // self.num_head_channels

    def but(self, **change) -> "Flags":
        return replace(self, **change)


@dataclass(frozen=True)
class Encoder(Flags):
    """Those of the classifier, whose ``outputs`` are its classes; 64 channels a head are fixed there."""

    num_head_channels: int = 64
    resblock_updown: bool = True
    outputs: int = 1000


def shapes(flags: Flags) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a published file with these flags."""
    return dict(_tensors(flags))


def random(flags: Flags, dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, Tensor]:
    """A file's content that makes a network whose every layer matters."""
    rng = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes(flags).items():
        noise = torch.randn(shape, generator=rng, dtype=dtype)
        fan_in = max(1, math.prod(shape[1:]))
        is_gain = len(shape) == 1 and name.endswith("weight")
        made[name] = 1 + 0.2 * noise if is_gain else noise / fan_in**0.5 if len(shape) > 1 else 0.1 * noise
    return made


def forward(
    flags: Flags,
    weights: dict[str, Tensor],
    x: Tensor,
    step: Tensor,
    label: Tensor | None = None,
    low_res: Tensor | None = None,
) -> Tensor:
    """The output for x at steps 0..T-1, [B]."""
    net = _Reading(flags, weights, _embedded(flags, weights, step, label))
    if low_res is not None:
        x = torch.cat([x, F.interpolate(low_res, x.shape[-2:], mode="bilinear")], 1)
    kept = []
    for block in range(net.count("input_blocks")):
        x = net.block(f"input_blocks.{block}", x, halve=block % (flags.num_res_blocks + 1) == 0)
        kept.append(x)
    x = net.block("middle_block", x)
    for block in range(net.count("output_blocks")):
        is_last_of_level = (block + 1) % (flags.num_res_blocks + 1) == 0
        x = net.block(f"output_blocks.{block}", torch.cat([x, kept.pop()], 1), double=is_last_of_level)
    x = F.silu(net.norm("out.0", x))
    return _pooled(flags, net, x) if isinstance(flags, Encoder) else net.conv("out.2", x)


def _embedded(flags: Flags, weights: dict[str, Tensor], step: Tensor, label: Tensor | None) -> Tensor:
    half = flags.num_channels // 2
    speed = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10000) / half))
    turned = step.float()[:, None] * speed
    wave = torch.cat([turned.cos(), turned.sin()], 1).to(weights["time_embed.0.weight"].dtype)
    first, second = ([weights[f"time_embed.{i}.{kind}"] for kind in ("weight", "bias")] for i in (0, 2))
    embedded = F.linear(F.silu(F.linear(wave, *first)), *second)
    return embedded if label is None else embedded + weights["label_emb.weight"][label]


class _Reading:
    """Layers looked up by name."""

    def __init__(self, flags: Flags, weights: dict[str, Tensor], embedded: Tensor) -> None:
        self.flags, self.weights, self.embedded = flags, weights, embedded

    def count(self, part: str) -> int:
        return len({name.split(".")[1] for name in self.weights if name.startswith(f"{part}.")})

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.group_norm(x, NORM_GROUPS, *self.pair(name))

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self.pair(name)
        return F.conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)

    def block(self, name: str, x: Tensor, halve: bool = False, double: bool = False) -> Tensor:
        layers = sorted({key.removeprefix(f"{name}.").split(".")[0] for key in self._of(name)})
        for place, layer in enumerate(layers):
            path, is_last = f"{name}.{layer}", place == len(layers) - 1
            if f"{path}.qkv.weight" in self.weights:
                x = x + self.attention(path, x)
            elif f"{path}.op.weight" in self.weights:
                x = self.conv(f"{path}.op", x, stride=2)
            elif f"{path}.conv.weight" in self.weights:
                x = self.conv(f"{path}.conv", _doubled(x))
            elif f"{path}.weight" in self.weights:
                x = self.conv(path, x)
            else:
                x = self.residual(path, x, halve, double and is_last and place > 0)
        return x

    def residual(self, name: str, x: Tensor, halve: bool, double: bool) -> Tensor:
        h = F.silu(self.norm(f"{name}.in_layers.0", x))
        for wanted, change in ((halve, lambda y: F.avg_pool2d(y, 2)), (double, _doubled)):
            x, h = (change(x), change(h)) if wanted else (x, h)
        h = self.conv(f"{name}.in_layers.2", h)
        told = F.linear(F.silu(self.embedded), *self.pair(f"{name}.emb_layers.1"))[:, :, None, None]
        if self.flags.use_scale_shift_norm:
            gain, offset = told.tensor_split(2, 1)
            h = self.norm(f"{name}.out_layers.0", h) * (1 + gain) + offset
        else:
            h = self.norm(f"{name}.out_layers.0", h + told)
        h = self.conv(f"{name}.out_layers.3", F.silu(h))
        has_shortcut = f"{name}.skip_connection.weight" in self.weights
        return h + (self.conv(f"{name}.skip_connection", x) if has_shortcut else x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.pair(f"{name}.qkv")
        joint = F.conv1d(self.norm(f"{name}.norm", x).flatten(2), weight, bias)
        found = attended(joint, self.flags.heads(x.shape[1]), self.flags.use_new_attention_order)
        weight, bias = self.pair(f"{name}.proj_out")
        return F.conv1d(found, weight, bias).view_as(x)

    def _of(self, name: str) -> Iterator[str]:
        return (key for key in self.weights if key.startswith(f"{name}."))


def attended(joint: Tensor, heads: int, new_order: bool) -> Tensor:
    """Head by head; in the new order [q of all heads, k of all, v of all], else [q, k, v] of each head."""
    width = joint.shape[1] // 3
    depth, found = width // heads, []
    for head in range(heads):
        starts = [part * width + head * depth for part in range(3)]
        if not new_order:
            starts = [3 * head * depth + part * depth for part in range(3)]
        q, k, v = (joint[:, start : start + depth] for start in starts)
        share = (torch.einsum("bdi,bdj->bij", q, k) / math.sqrt(depth)).softmax(-1)
        found.append(torch.einsum("bij,bdj->bdi", share, v))
    return torch.cat(found, 1)


def _doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, -1).repeat_interleave(2, -2)


def _pooled(flags: Flags, net: _Reading, x: Tensor) -> Tensor:
    places = x.flatten(2)
    places = torch.cat([places.mean(2, keepdim=True), places], 2) + net.weights["out.2.positional_embedding"]
    joint = F.conv1d(places, *net.pair("out.2.qkv_proj"))
    found = attended(joint, x.shape[1] // flags.num_head_channels, new_order=True)
    return F.conv1d(found, *net.pair("out.2.c_proj"))[:, :, 0]


def _tensors(flags: Flags) -> Iterator[Named]:
    told = 4 * flags.num_channels
    yield from _affine("time_embed.0", told, flags.num_channels)
    yield from _affine("time_embed.2", told, told)
    if flags.num_classes is not None:
        yield "label_emb.weight", (flags.num_classes, told)
    widths = [int(flags.num_channels * multiplier) for multiplier in flags.channel_mult]
    width, size, number, kept = widths[0], flags.image_size, 1, [widths[0]]
    yield from _affine("input_blocks.0.0", width, flags.inputs, 3, 3)
    for level, wide in enumerate(widths):
        for _ in range(flags.num_res_blocks):
            yield from _level(flags, f"input_blocks.{number}", width, wide, size)
            width, number, kept = wide, number + 1, [*kept, wide]
        if level < len(widths) - 1:
            name = f"input_blocks.{number}.0"
            plain = _affine(f"{name}.op", width, width, 3, 3)
            yield from _residual(flags, name, width, width) if flags.resblock_updown else plain
            size, number, kept = size // 2, number + 1, [*kept, width]
    yield from _residual(flags, "middle_block.0", width, width)
    yield from _attention("middle_block.1", width)
    yield from _residual(flags, "middle_block.2", width, width)
    yield from _affine("out.0", width if isinstance(flags, Encoder) else widths[0])
    if isinstance(flags, Encoder):
        yield "out.2.positional_embedding", (width, size * size + 1)
        yield from _affine("out.2.qkv_proj", 3 * width, width, 1)
        yield from _affine("out.2.c_proj", flags.outputs, width, 1)
        return
    yield from _affine("out.2", flags.outputs, widths[0], 3, 3)
    number = 0
    for level in range(len(widths) - 1, -1, -1):
        for repeat in range(flags.num_res_blocks + 1):
            name = f"output_blocks.{number}"
            yield from _level(flags, name, width + kept.pop(), widths[level], size)
            width, number = widths[level], number + 1
            if level and repeat == flags.num_res_blocks:
                layer = f"{name}.{2 if size in flags.attention_resolutions else 1}"
                plain = _affine(f"{layer}.conv", width, width, 3, 3)
                yield from _residual(flags, layer, width, width) if flags.resblock_updown else plain
                size *= 2


def _level(flags: Flags, name: str, narrow: int, wide: int, size: int) -> Iterator[Named]:
    yield from _residual(flags, f"{name}.0", narrow, wide)
    if size in flags.attention_resolutions:
        yield from _attention(f"{name}.1", wide)


def _residual(flags: Flags, name: str, narrow: int, wide: int) -> Iterator[Named]:
    yield from _affine(f"{name}.in_layers.0", narrow)
    yield from _affine(f"{name}.in_layers.2", wide, narrow, 3, 3)
    told = 2 * wide if flags.use_scale_shift_norm else wide
    yield from _affine(f"{name}.emb_layers.1", told, 4 * flags.num_channels)
    yield from _affine(f"{name}.out_layers.0", wide)
    yield from _affine(f"{name}.out_layers.3", wide, wide, 3, 3)
    if narrow != wide:
        yield from _affine(f"{name}.skip_connection", wide, narrow, 1, 1)


def _attention(name: str, width: int) -> Iterator[Named]:
    yield from _affine(f"{name}.norm", width)
    yield from _affine(f"{name}.qkv", 3 * width, width, 1)
    yield from _affine(f"{name}.proj_out", width, width, 1)


def _affine(name: str, *shape: int) -> Iterator[Named]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
