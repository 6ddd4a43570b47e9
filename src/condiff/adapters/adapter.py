"""A low-rank adapter, whatever file it came from: two thin matrices for each layer that it changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """What is added to the weight of one layer: (alpha / rank) up down (Hu 2021, sec. 4.1; from memory).

    Of a convolution, ``down`` has its kernel and ``up`` is 1 x 1, as kohya and peft have it. ``magnitude`` is
    the length to which each row of the new weight is then brought (Liu 2024: DoRA; from memory).

    At another scale than 1 the whole change is scaled, also with magnitudes: a line from the base to what was
    trained. peft, and so diffusers, scales the product alone before the rows are brought to their lengths, at
    0 to a network that is not the base.
    """

    down: Tensor  # [r, in] or [r, in, k, k]
    up: Tensor  # [out, r] or [out, r, 1, 1]
    alpha: float
    magnitude: Tensor | None = None  # [out]

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def fits_itself(self) -> bool:
        """Whether its tensors belong together."""
        down, up = self.down.shape, self.up.shape
        dims = len(down) == len(up) and len(down) in (2, 4) and min(*down, *up) > 0
        joined = dims and up[1] == down[0] and all(size == 1 for size in up[2:])
        return joined and (self.magnitude is None or self.magnitude.shape == up[:1])

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weights that it can change."""
        return (self.up.shape[0], *self.down.shape[1:])

    def delta(self) -> Tensor:
        """What is added to the weight, before a magnitude has its say."""
        return self.scale * (self.up.flatten(1) @ self.down.flatten(1)).reshape(self.weight_shape)

    def change(self, weight: Tensor) -> Tensor:
        """What is added to this weight in all, in the precision of ``delta``."""
        delta = self.delta()
        if self.magnitude is None:
            return delta
        whole = weight.to(delta) + delta
        lengths = whole.flatten(1).norm(dim=1)  # of the rows (Liu 2024, eq. 5; from memory)
        return whole * (self.magnitude.to(delta) / lengths).view(-1, *[1] * (whole.dim() - 1)) - weight


@dataclass(frozen=True)
class Adapter:
    """layers: by part of the base and name of the module there: ``unet.mid_block.attentions.0.proj_in``.

    base: by part a hash of what it was trained on, where known. trigger: words of a text that call it up.
    """

    layers: Mapping[str, Layer]
    base: Mapping[str, str] = field(default_factory=dict)
    trigger: tuple[str, ...] = ()

    def parts(self) -> dict[str, dict[str, Layer]]:
        """Its layers by part, and there by the name of the module."""
        parts: dict[str, dict[str, Layer]] = {}
        for name, layer in self.layers.items():
            part, _, module = name.partition(".")
            parts.setdefault(part, {})[module] = layer
        return parts
