"""Several conditions at once, and how they are dropped: together, each by itself, or in turn."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from condiff.conditioners.conditioner import DROP, Conditioner, Lacking, Uniform
from condiff.diffusion.condition import FIELDS, Condition
from condiff.ranges import Count, checked

Dropout = Literal["joint", "independent", "exclusive"]


class Several(Conditioner):
    """The conditions of all ``parts``, by name.

    Tokens of several parts stand one after another, narrower ones filled up with zeros; pooled vectors are
    joined to one (both as in SD3, Esser 2024, sec. 4.2, from memory); any other field may come from one part.

    dropout: what a ``share`` is not told. "joint": all parts at once. "independent": each part by a draw of
        its own, as SD3's encoders. "exclusive": by one draw a ``share`` lacks the first part alone, one the
        second alone, and so on, and one all.
    """

    @checked
    def __init__(
        self,
        parts: dict[str, Callable[..., Conditioner]],
        num_classes: Count,
        with_null: bool,
        dropout: Dropout = "joint",
    ) -> None:
        if len(parts) < 2:
            raise ValueError(f"Several.parts must be two or more, got {[*parts]}")
        self.parts = {
            name: make(num_classes=num_classes, with_null=with_null) for name, make in parts.items()
        }
        self.dropout = dropout
        self.needs_text = any(part.needs_text for part in self.parts.values())  # pyright: ignore[reportAttributeAccessIssue]
        self.needs_source = any(part.needs_source for part in self.parts.values())  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def num_labels(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sum(part.num_labels for part in self.parts.values())

    @property
    def token_width(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return max(part.token_width for part in self.parts.values())

    @property
    def most_dropped(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1 / (len(self.parts) + 1) if self.dropout == "exclusive" else 1.0

    @property
    def pooled_width(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sum(part.pooled_width for part in self.parts.values())

    def concat_channels(self, channels: int) -> int:
        return sum(part.concat_channels(channels) for part in self.parts.values())

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        return joined([part(batch) for part in self.parts.values()])

    @contextmanager
    def anew(self) -> Iterator[None]:
        with ExitStack() as stack:
            for part in self.parts.values():
                stack.enter_context(part.anew())
            yield

    def example(self, batch: Mapping[str, Any]) -> Condition:
        return joined([part.example(batch) for part in self.parts.values()])

    def dropped(self, batch: Mapping[str, Any], uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        conds, lacking = [], {}
        for place, (name, part) in enumerate(self.parts.items()):
            cond, own = part.dropped(batch, self._draw(name, place, uniform, share), share)
            conds.append(cond)
            lacking |= {f"{name}.{of}" if len(own) > 1 else name: which for of, which in own.items()}
        return joined(conds), lacking

    def _draw(self, name: str, place: int, uniform: Uniform, share: float) -> Uniform:
        """What a part is to take for its draws: below ``share`` it is dropped."""
        if self.dropout == "joint":
            return lambda _: uniform(DROP)  # whatever streams a part would draw its own parts by
        if self.dropout == "independent":
            return lambda stream: uniform(f"{stream}.{name}")
        num = len(self.parts)

        def in_turn(_: str) -> Tensor:
            u = uniform(DROP)
            own = (u >= place * share) & (u < (place + 1) * share)
            every = (u >= num * share) & (u < (num + 1) * share)
            return torch.where(own | every, 0.0, 1.0)

        return in_turn

    def encode(
        self,
        training: Collection[str],
        others: Collection[str],
        folder: Path,
        place: torch.device | str,
    ) -> None:
        for name, part in self._of_text().items():
            (folder / name).mkdir()
            part.encode(training, others, folder / name, place)

    def recall(self, folder: Path) -> None:
        for name, part in self._of_text().items():
            part.recall(folder / name)

    def leave(self, folder: Path) -> None:
        for name, part in self._of_text().items():
            (folder / name).mkdir(exist_ok=True)
            part.leave(folder / name)

    def heed(self, folder: Path) -> None:
        for name, part in self._of_text().items():
            part.heed(folder / name)

    def _of_text(self) -> dict[str, Conditioner]:
        return {name: part for name, part in self.parts.items() if part.needs_text}


def joined(conds: Sequence[Condition]) -> Condition:
    """One condition of several of the same samples, each of other things; and their nulls likewise."""
    found: dict[str, Any] = {}
    for name in FIELDS:
        values = [getattr(cond, name) for cond in conds]
        there = [value for value in values if value is not None]
        if len(there) > 1 and name not in ("tokens", "token_mask", "pooled"):
            raise ValueError(f"Several.parts: {len(there)} of them give a {name}; one may")
        if there:
            found[name] = _JOIN[name](there) if name in _JOIN else there[0]
    nulls = [cond.null for cond in conds if cond.null is not None]
    return Condition(**found, null=joined(nulls) if len(nulls) == len(conds) else None)


def _one_after_another(tokens: Sequence[Tensor]) -> Tensor:
    """[B, sum of L, widest]"""
    widest = max(part.shape[-1] for part in tokens)
    return torch.cat([pad(part, (0, widest - part.shape[-1])) for part in tokens], dim=1)


_JOIN: dict[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "tokens": _one_after_another,
    "token_mask": lambda masks: torch.cat([*masks], dim=1),
    "pooled": lambda vectors: torch.cat([*vectors], dim=1),
}
