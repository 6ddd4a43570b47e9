"""What ADM's networks are made of, as blocks of diffusers (Dhariwal & Nichol 2021, sec. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from condiff.diffusion.process import Marginal

GROUPS = 32  # of every norm
EPS = 1e-5  # of every norm
TIME_WIDTHS = 4  # the embedding of time, in widths of the network
SAME_STEP = 1e-2  # of a step; float32 keeps t to 6e-5 of one of 1,000 steps


@dataclass(frozen=True)
class Design:
    """The numbers that an ADM config names; ``name`` is the class that is built, for what it refuses."""

    name: str
    size: int  # of the picture, a side
    width: int
    multipliers: Sequence[float]  # of the width, one for each level, from the full size down
    blocks: int  # residual ones of each level
    attention: Sequence[int]  # sizes at which features attend to one another
    heads: int | None  # of each attention, or
    head_width: int | None  # channels of each head
    scale_shift: bool  # time and class scale the features too
    block_resampling: bool  # residual blocks halve and double the size, instead of a convolution
    dropout: float

    def __post_init__(self) -> None:
        if (self.heads is None) == (self.head_width is None):
            raise ValueError(
                f"{self.name}.heads: give heads or head_width, and null for the other,"
                f" got {self.heads} and {self.head_width}"
            )
        if not self.widths:
            raise ValueError(f"{self.name}.multipliers: must name at least one level, got []")
        if any(width % GROUPS or not width for width in self.widths):
            raise ValueError(
                f"{self.name}.multipliers: times width must be multiples of {GROUPS}, got {self.widths}"
            )
        factor = 2 ** (len(self.widths) - 1)
        if self.size % factor:
            raise ValueError(
                f"{self.name}.multipliers: {len(self.widths)} levels need a size that is a multiple of"
                f" {factor}, got {self.size}"
            )
        sizes = [self.size // 2**level for level in range(len(self.widths))]
        if not {*self.attention} <= {*sizes}:
            raise ValueError(
                f"{self.name}.attention: must be sizes of the levels {sizes}, got {list(self.attention)}"
            )
        attends = [w for w, size in zip(self.widths, sizes, strict=True) if size in self.attention]
        share = self.heads or self.head_width or 1
        if any(width % share for width in [*attends, self.widths[-1]]):
            raise ValueError(
                f"{self.name}.{'heads' if self.heads else 'head_width'}: must divide the widths that attend,"
                f" {sorted({*attends, self.widths[-1]})}, got {share}"
            )

    @property
    def widths(self) -> list[int]:
        return [int(multiplier * self.width) for multiplier in self.multipliers]

    def residual(self, narrow: int, wide: int, down: bool = False, up: bool = False) -> ResnetBlock2D:
        block = ResnetBlock2D(
            in_channels=narrow,
            out_channels=wide,
            temb_channels=TIME_WIDTHS * self.width,
            groups=GROUPS,
            eps=EPS,
            dropout=self.dropout,
            time_embedding_norm="scale_shift" if self.scale_shift else "default",
            down=down,
            up=up,
        )
        silence(block.conv2)
        return block

    def attend(self, width: int) -> Attention:
        heads = self.heads or width // (self.head_width or width)
        layer = Attention(
            width,
            heads=heads,
            dim_head=width // heads,
            bias=True,
            norm_num_groups=GROUPS,
            eps=EPS,
            residual_connection=True,
        )
        silence(layer.to_out[0])  # pyright: ignore[reportOptionalSubscript]
        return layer

    def level(self, narrow: int, wide: int, size: int) -> list[nn.Module]:
        """A residual block, and attention where features of this size attend."""
        return [self.residual(narrow, wide), *([self.attend(wide)] if size in self.attention else [])]

    def halve(self, width: int) -> nn.Module:
        if self.block_resampling:
            return self.residual(width, width, down=True)
        return Downsample2D(width, use_conv=True, name="op")

    def double(self, width: int) -> nn.Module:
        if self.block_resampling:
            return self.residual(width, width, up=True)
        return Upsample2D(width, use_conv=True)

    def way_down(self, channels: int) -> tuple[nn.ModuleList, list[int]]:
        """The blocks from the picture to the last level, and how many channels each of them leaves."""
        width, size = self.widths[0], self.size
        blocks, left = [Layers(nn.Conv2d(channels, width, 3, padding=1))], [width]
        for place, wide in enumerate(self.widths):
            for _ in range(self.blocks):
                blocks.append(Layers(*self.level(width, wide, size)))
                left.append(width := wide)
            if place + 1 < len(self.widths):
                blocks.append(Layers(self.halve(width)))
                left.append(width)
                size //= 2
        return nn.ModuleList(blocks), left

    def middle(self) -> "Layers":
        width = self.widths[-1]
        return Layers(self.residual(width, width), self.attend(width), self.residual(width, width))

    def way_up(self, left: Sequence[int]) -> nn.ModuleList:
        """The blocks back to the picture; each is also given what one on the way down has left."""
        waiting, width, size = [*left], self.widths[-1], self.size // 2 ** (len(self.widths) - 1)
        blocks = []
        for place, wide in reversed([*enumerate(self.widths)]):
            for repeat in range(self.blocks + 1):
                layers = self.level(width + waiting.pop(), wide, size)
                width = wide
                if place and repeat == self.blocks:
                    layers.append(self.double(width))
                    size *= 2
                blocks.append(Layers(*layers))
        return nn.ModuleList(blocks)


class Layers(nn.ModuleList):
    """One after another; those that ask for the time are told it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(layers)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, time) if isinstance(layer, ResnetBlock2D) else layer(x)
        return x


class StepEmbedding(nn.Module):
    """Which of the steps 0 .. ``num_steps`` - 1 of a chain a time is, embedded: [B, 4 width]."""

    def __init__(self, width: int, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.waves = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.mlp = TimestepEmbedding(width, TIME_WIDTHS * width)

    def forward(self, m: Marginal) -> Tensor:
        return self.mlp(self.waves(step_of(m, self.num_steps)).to(self.mlp.linear_1.weight.dtype))


def step_of(m: Marginal, num_steps: int) -> Tensor:
    """t = n / N is step n - 1, [B] float64, and a whole number although t is rounded; in between, between."""
    place = num_steps * m.t.flatten().double() - 1
    whole = place.round()
    return torch.where((place - whole).abs() < SAME_STEP, whole, place)


def silence(layer: nn.Module) -> None:
    """Let a layer begin without effect, as the last ones of ADM's residuals and outputs do."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
