"""What benchmarks train: a network of ours at some size, what it is told, and its parts for a bare loop."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from condiff.conditioners.conditioner import Conditioner
from condiff.conditioners.encoders import TextEncoder
from condiff.conditioners.encodings import Encoding
from condiff.conditioners.label import ClassLabel
from condiff.conditioners.text import Text
from condiff.data.dataset import ShardDataset
from condiff.data.npy import to_npy
from condiff.data.shards import ShardWriter
from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal
from condiff.networks.ldm import LDM
from condiff.networks.unet import UNet

ON_GPU = torch.cuda.is_available()
PLACE = torch.device("cuda" if ON_GPU else "cpu")
CLASSES, TOKENS = 10, 77  # of labels; in a caption, as CLIP has it


@dataclass(frozen=True)
class Size:
    """Of [4, side, side] latents. ``call`` asks a network of ``make`` without any of our wrapping."""

    make: Callable[[], nn.Module]
    call: Callable[[Any, Tensor, Tensor, Tensor], Tensor]  # network, x_t, step [B] in 0..999, told
    side: int
    batch: int
    latents: int  # how many there are
    width: int = 0  # of tokens; 0: it is told labels
    bf16: bool = False
    example: Callable[[], nn.Module] | None = None  # diffusers' example's own network, where it is another

    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make()

    def conditioner(self) -> Conditioner:
        if self.width:
            return Text(_Made(self.width), num_classes=1, with_null=True, half=False)
        return ClassLabel(num_classes=CLASSES, with_null=True)

    def told(self) -> Tensor:
        """What is known of each latent and, last, of none."""
        if self.width:
            return torch.randn(self.latents + 1, TOKENS, self.width, device=PLACE)
        return torch.cat([torch.arange(self.latents) % CLASSES, torch.tensor([CLASSES])]).to(PLACE)

    def data(self, folder: Path) -> ShardDataset:
        rng = torch.Generator().manual_seed(0)
        with ShardWriter(folder, "train") as writer:
            for i in range(self.latents):
                mean = torch.randn(4, self.side, self.side, generator=rng)
                moments = torch.cat([mean, torch.full_like(mean, -6.0)])
                label = {"txt": f"picture {i}".encode()} if self.width else {"cls": b"%d" % (i % CLASSES)}
                writer.write(f"{i:05d}", {"npy": to_npy(moments.numpy()), **label})
        return ShardDataset(folder, "train")


class DiT(nn.Module):
    """A transformer that is told labels (Peebles 2023) behind the call of our networks."""

    def __init__(self, layers: int, heads: int, head_width: int, side: int) -> None:
        super().__init__()
        self.net = cast(Any, DiTTransformer2DModel)(
            num_attention_heads=heads,
            attention_head_dim=head_width,
            in_channels=4,
            out_channels=4,
            num_layers=layers,
            sample_size=side,
            num_embeds_ada_norm=1000,
        )

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        return self.net(x, 1000 * m.angle.flatten(), class_labels=cond.label).sample


class _Made(TextEncoder):
    """Random tokens for each caption."""

    length = TOKENS

    def __init__(self, width: int) -> None:
        self._width = width

    @property
    def width(self) -> int:
        return self._width

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> list[Encoding]:
        return [Encoding(torch.randn(TOKENS, self.width), torch.randn(self.width)) for _ in texts]

    def num_cut(self, texts: Sequence[str]) -> int:
        return 0


def _by_label(network: Any, x_t: Tensor, step: Tensor, told: Tensor) -> Tensor:
    return network.net(x_t, step, class_labels=told).sample


def _by_tokens(network: Any, x_t: Tensor, step: Tensor, told: Tensor) -> Tensor:
    return network.net(x_t, step, told).sample


def _digits() -> nn.Module:
    return UNet(4, CLASSES + 1, 8, [32, 64], [False, True])


def _example() -> nn.Module:
    """As diffusers' program for labels makes it, with these widths and its own defaults."""
    net = UNet2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        num_class_embeds=CLASSES + 1,
    )
    return _Wrapped(net)


class _Wrapped(nn.Module):
    """A network where ``Size.call`` looks for it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


def _stable_diffusion(width: int, side: int, token_width: int) -> nn.Module:
    return LDM(4, 0, side, width, [1, 2, 4, 4], [1, 2, 4], token_width, heads=8, text_width=token_width)


SIZES = {
    "digits": Size(_digits, _by_label, 8, 64, 4500, example=_example),
    "sd15": Size(lambda: _stable_diffusion(320, 64, 768), _by_tokens, 64, 16, 64, width=768, bf16=True),
    "dit_xl2": Size(lambda: DiT(28, 16, 72, 32), _by_label, 32, 64, 512, bf16=True),
    "sd15_toy": Size(lambda: _stable_diffusion(32, 8, 32), _by_tokens, 8, 2, 64, width=32),
    "dit_toy": Size(lambda: DiT(2, 2, 24, 16), _by_label, 16, 8, 64),
}


def written(size: Size) -> tuple[tempfile.TemporaryDirectory[str], ShardDataset]:
    """The latents as shards, for as long as the folder is kept."""
    folder = tempfile.TemporaryDirectory()
    return folder, size.data(Path(folder.name))
