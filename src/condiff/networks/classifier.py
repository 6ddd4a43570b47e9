"""What every classifier of noisy images is to those that train it and those that are guided by it."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal


class ImageClassifier(nn.Module, ABC):
    """Logits of p(label | x_t)."""

    @abstractmethod
    def forward(self, x_t: Tensor, m: Marginal) -> Tensor:
        """[B, num_classes] of x_t, [B, C, H, W]."""

    def log_probability(self, x_t: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """log p(label | x_t), [B], in float32 whatever the network works in."""
        if cond.label is None:
            raise ValueError("a classifier of noisy images needs labels; use conditioner=label")
        return self(x_t, m).float().log_softmax(1).gather(1, cond.label[:, None]).squeeze(1)
