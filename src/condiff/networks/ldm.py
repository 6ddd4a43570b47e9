"""Latent diffusion's U-Net (Rombach 2022), which its published weights and Stable Diffusion's fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal
from condiff.ldm_names import original_name
from condiff.networks.adm_blocks import step_of
from condiff.networks.attention import PerturbedSelfAttention
from condiff.networks.unet import attended, stacked
from condiff.ranges import Count, Natural, Positive, Probability, checked
from condiff.single_file import AVERAGED, CONDITION, U_NET, averaged, named, part, shapes_of
from condiff.weight_files import misfit, read_tensors

LABELS = "embedding.weight"  # what the authors' embedder of classes holds


class LDM(nn.Module):
    """Backbone: latent diffusion's U-Net, which attends to tokens; a study of labels has one for each label.

    It is told which step of a chain of ``num_steps`` it is at. Tokens of text are as wide as their encoder
    makes them, ``text_width``, which is ``token_width`` where weights are given.

    attention: by how much a level that attends is smaller than the finest one.
    heads, head_width: of each attention one of them, how many heads it has or how wide they are.
    linear_projection: whether what stands around attention is linear, as in Stable Diffusion 2.
    weights: a single file in the authors' layout, which ``fill`` takes in.
    """

    needs_chain: ClassVar[bool] = True
    needs_condition: ClassVar[bool] = True
    attends: ClassVar[bool] = True
    layout: ClassVar[str] = "the layout of latent diffusion's or Stable Diffusion's single files"

    @checked
    def __init__(
        self,
        channels: Count,
        num_labels: Natural,
        size: Count,
        width: Count,
        multipliers: list[Positive],
        attention: list[Count],
        token_width: Count,
        blocks: Count = 2,
        heads: Count | None = None,
        head_width: Count | None = None,
        linear_projection: bool = False,
        dropout: Probability = 0.0,
        num_steps: Count = 1000,
        concat_channels: Natural = 0,
        text_width: Natural = 0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        token_width = text_width or token_width
        widths = [int(width * multiplier) for multiplier in multipliers]
        factors = [2**level for level in range(len(widths))]
        _check(widths, factors, attention, size, heads, head_width)
        self.blocks, self.attending = blocks, [factor in attention for factor in factors]
        self.num_steps, self.weights = num_steps, weights
        self.label_tokens = nn.Embedding(num_labels, token_width) if num_labels else None
        self.net = UNet2DConditionModel(
            sample_size=size,
            in_channels=channels + concat_channels,
            out_channels=channels,
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in self.attending),
            mid_block_type="UNetMidBlock2DCrossAttn",
            up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in self.attending[::-1]),
            # diffusers reads this as the number of heads in these blocks
            attention_head_dim=tuple(heads or max(1, w // (head_width or w)) for w in widths),  # pyright: ignore[reportArgumentType]
            cross_attention_dim=token_width,
            use_linear_projection=linear_projection,
            dropout=dropout,
        )

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W], and an answer of the same shape."""
        tokens, mask = attended(self.label_tokens, cond, type(self).__name__)
        return self.net(
            stacked(x, cond), step_of(m, self.num_steps), tokens, encoder_attention_mask=mask
        ).sample

    def perturbed(self, layers: Sequence[str]) -> nn.Module:
        """The same network with some of its self-attention perturbed."""
        return PerturbedSelfAttention(self, layers)

    def fill(self, key: str) -> None:
        """Take in the weights that it was given, strictly; ``key`` is where the config has this network."""
        assert self.weights is not None
        try:
            file = named(self.weights)
        except ValueError as error:
            raise ValueError(f"{key}.weights: {error}") from error
        if file is None:
            raise ValueError(f"{key}.weights: {self.weights} is no file; give one in {self.layout}")
        fill(self, file, key)

    def names(self) -> dict[str, str]:
        """Of each tensor of this network, its name in the authors' files: of the U-Net without its prefix."""
        inner = {
            f"net.{name}": U_NET + original_name(name, self.blocks, self.attending)
            for name in self.net.state_dict()
        }
        return inner if self.label_tokens is None else {"label_tokens.weight": CONDITION + LABELS, **inner}


def fill(network: LDM, file: Path, key: str) -> None:
    """Give a network the weights of a single file; ValueError where one is missing, left over or misshapen.

    Where the file has a moving average of the U-Net beside the last weights, it is the average that is taken.
    """
    names = network.names()
    try:
        there = {U_NET + name: U_NET + name for name in part(file, U_NET)}
        if any(name.startswith(AVERAGED) for name in shapes_of(file)):
            there = {name: averaged(name.removeprefix(U_NET)) for name in there}
        if network.label_tokens is not None:
            there |= {CONDITION + name: CONDITION + name for name in part(file, CONDITION)}
        given = read_tensors([file], key, [*there.values()])
    except ValueError as error:
        said = str(error)
        raise ValueError(said if said.startswith(f"{key}.") else f"{key}.weights: {said}") from error
    wanted = {names[name]: tensor for name, tensor in network.state_dict().items()}
    tensors = {name: given[stored] for name, stored in there.items()}
    wrong = misfit(wanted, tensors)
    if wrong:
        raise ValueError(
            f"{key}.weights: {file} does not fit {key} ({type(network).__name__}): {wrong}; set {key} to the"
            " configuration that the file was trained with, and the data to its classes"
        )
    network.load_state_dict({name: tensors[stored] for name, stored in names.items()}, strict=True)


def _check(
    widths: list[int],
    factors: list[int],
    attention: list[int],
    size: int,
    heads: int | None,
    head_width: int | None,
) -> None:
    wrong = [factor for factor in attention if factor not in factors]
    if wrong:
        raise ValueError(
            f"LDM.attention must be among {factors}, how much smaller levels are, got {wrong[0]}"
        )
    if (heads is None) == (head_width is None):
        raise ValueError("LDM.heads must be given or head_width, one of both")
    if any(width % 32 for width in widths):
        raise ValueError(f"LDM.width times each multiplier must be a multiple of 32, got {widths}")
    attended = [w for w, factor in zip(widths, factors, strict=True) if factor in attention] + widths[-1:]
    if any(width % (heads or head_width or 1) for width in attended):
        name = "heads" if heads else "head_width"
        raise ValueError(
            f"LDM.{name} must divide each width that attends, {attended}, got {heads or head_width}"
        )
    if size % factors[-1]:
        raise ValueError(
            f"LDM.multipliers: {len(widths)} levels need a size that is a multiple of"
            f" {factors[-1]}, got {size}"
        )
