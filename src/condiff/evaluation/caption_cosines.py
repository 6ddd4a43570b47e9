"""How near pictures are to their own captions, and to those of others."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from condiff.evaluation.regression import Ridge

TOP = 5  # captions that count as near
_ROWS = 1024  # of cosines at a time


class CaptionCosines:
    """Cosines of vectors that are told of pictures with those of captions.

    told, said: of N pictures, and of their captions, [N, P].
    words: [N] int64, the same number for the same caption.
    ridge: by which they were told.
    """

    def __init__(self, told: Tensor, said: Tensor, words: Tensor, ridge: Ridge) -> None:
        self.told, self.said, self.ridge = normalize(told, dim=1), normalize(said, dim=1), ridge
        self.own = (self.told * self.said).sum(1)
        distinct, self.which, self.times = words.unique(return_inverse=True, return_counts=True)
        self.num_captions = len(distinct)
        first = torch.full_like(distinct, len(words))
        first.scatter_reduce_(0, self.which, torch.arange(len(words), device=words.device), "amin")
        self.captions = self.said[first]  # [C, P]

    def over_shuffled(self) -> tuple[Tensor, Tensor]:
        """The mean of the own cosine less those with all other captions, and its first-order terms, [N]."""
        alike = self.times[self.which]
        others = len(self.own) - alike
        same = torch.zeros_like(self.captions).index_add_(0, self.which, self.told)
        by_sample = (self.told @ self.said.sum(0) - alike * self.own) / others
        by_caption = ((self.told.sum(0) - same[self.which]) * self.said).sum(1) / others
        value = self.own.mean() - by_sample.mean()
        return value, self.own - by_sample - by_caption

    def top(self, among: int) -> Tensor:
        """[N], how probably the own caption is of the nearest five among it and others that are drawn.

        With r of the C - 1 others nearer, at most four of k - 1 drawn ones are: a hypergeometric probability.
        """
        parts = zip(*(rows.split(_ROWS) for rows in (self.told, self.own, self.which)), strict=True)
        nearer = torch.cat([
            (told @ self.captions.T >= own[:, None]).scatter_(1, which[:, None], False).sum(1)
            for told, own, which in parts
        ])  # fmt: skip
        others, drawn = self.num_captions - 1, min(among, self.num_captions) - 1
        share = [_at_most(TOP - 1, rank, others, drawn) for rank in nearer.tolist()]
        return torch.tensor(share, dtype=torch.float64, device=self.own.device)


def _at_most(most: int, marked: int, total: int, drawn: int) -> float:
    """The probability that of ``drawn`` out of ``total`` at most so many are of the ``marked`` ones."""
    most = min(most, drawn)
    ways = sum(math.comb(marked, k) * math.comb(total - marked, drawn - k) for k in range(most + 1))
    return ways / math.comb(total, drawn)
