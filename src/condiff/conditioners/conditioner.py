"""What every conditioner is: from a batch to its condition, and what it is to ask for less."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition

Uniform = Callable[[str], Tensor]  # a stream of draws by its name, [B] in [0, 1)
Lacking = dict[str, Tensor]  # by what a condition is made of, which samples are not told it, [B] bool
DROP = "drop_condition"  # the stream that a condition is dropped by


class Conditioner(ABC):
    """Encodes what samples are conditioned on; its null is what "not asked for" is, in training as in use."""

    gives: ClassVar[tuple[str, ...]]  # fields of the condition
    needs_source: ClassVar[bool] = False  # whether it reads the picture that an example was made from
    needs_text: ClassVar[bool] = False  # whether it reads captions
    needs_control: ClassVar[bool] = False  # whether it reads a hint that comes with a picture
    most_dropped: ClassVar[float] = 1.0  # the largest share that ``dropped`` can be asked for

    num_labels: int = 0  # rows of an embedding table that holds every label and the null
    token_width: int = 0  # of what it gives to be attended to
    pooled_width: int = 0  # of the one vector that it gives of a text

    @abstractmethod
    def __call__(self, batch: Mapping[str, Any]) -> Condition: ...

    @abstractmethod
    def dropped(self, batch: Mapping[str, Any], uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        """The condition, a share of it not asked for, and of what each sample is not told."""

    def concat_channels(self, channels: int) -> int:
        """How many channels it stacks under x_t, which has ``channels``."""
        return 0

    @contextmanager
    def anew(self) -> Iterator[None]:
        """While nothing holds that is known of texts; what is learnt of others meanwhile is not kept."""
        yield

    def example(self, batch: Mapping[str, Any]) -> Condition:
        """A condition of the right shapes, for which nothing large is loaded."""
        return self(batch)

    def encode(
        self,
        training: Collection[str],
        others: Collection[str],
        folder: Path,
        place: torch.device | str,
    ) -> None:
        """Leave in a folder what it needs to know of these texts, found out on a device.

        What it learns of texts in general it learns of those of the training alone.
        """
        return

    def recall(self, folder: Path) -> None:
        """Take what ``encode`` left in a folder."""
        return

    def leave(self, folder: Path) -> None:
        """Write beside a model what of the texts of its training it hears others by."""
        return

    def heed(self, folder: Path) -> None:
        """Give a model its texts as it was trained to hear them: take what was left beside it."""
        return


def without(cond: Condition, uniform: Uniform, share: float, name: str) -> tuple[Condition, Lacking]:
    """The condition, nothing asked for in a share of the samples."""
    lacking = uniform(DROP) < share
    return cond.where(~lacking, cond.without()), {name: lacking}
