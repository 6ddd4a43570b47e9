"""The codes of a vector quantizer: which is nearest, how they move, and what becomes of those nobody chooses.

Looking up changes nothing. After a step of the optimizer a codebook is told what the global batch chose:
``Assigned`` of several ranks, or of several parts of a batch, add up to that of the whole.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from condiff.autoencoders.precision import at_least_single, without_autocast
from condiff.diffusion.randomness import Draws
from condiff.ranges import Count, Probability, checked

AT_ONCE = 2**24  # distances: memory does not grow with the batch


@dataclass(frozen=True)
class Assigned:
    """How many latents chose each code, and the sum of these latents."""

    sums: Tensor  # [K, 1 + C] float64: one tensor, so that ranks reduce it at once

    @property
    def counts(self) -> Tensor:
        """[K]"""
        return self.sums[:, 0]

    @property
    def totals(self) -> Tensor:
        """[K, C]"""
        return self.sums[:, 1:]

    def __add__(self, other: "Assigned") -> "Assigned":
        return Assigned(self.sums + other.sums)


class Codebook(nn.Module, ABC):
    """K vectors of C numbers.

    decay: of the moving average, over steps, of how many latents chose each code. It starts at 1 each.
    """

    vectors: Tensor  # [K, C]
    usage: Tensor  # [K]

    def __init__(self, num_codes: int, decay: float) -> None:
        super().__init__()
        self.num_codes, self.decay = num_codes, decay
        self.register_buffer("usage", torch.ones(num_codes))

    @abstractmethod
    def loss(self, chosen: Tensor, latents: Tensor) -> Tensor:
        """What moves the codes by gradient: of latents, [B, C, h, w], and the vectors they chose."""

    @abstractmethod
    def move(self, assigned: Assigned) -> None:
        """What moves the codes without a gradient, once ``usage`` has been updated."""

    @torch.no_grad()
    def nearest(self, latents: Tensor) -> Tensor:
        """The index, [B, h, w] int64, of the code at the least distance from each latent, [B, C, h, w]."""
        with without_autocast(latents):
            rows, vectors = at_least_single(_rows(latents)), at_least_single(self.vectors)
            centre = vectors.mean(0)  # squares of numbers far from zero would leave no digits to the distance
            rows, vectors = rows - centre, (vectors - centre).to(rows)
            squares = vectors.square().sum(1)
            parts = rows.split(max(1, AT_ONCE // self.num_codes))
            codes = torch.cat([(squares - 2 * part @ vectors.T).argmin(1) for part in parts])
        return codes.view(len(latents), *latents.shape[2:])

    def lookup(self, codes: Tensor) -> Tensor:
        """Vectors, [B, C, h, w], of codes, [B, h, w]."""
        return self.vectors[codes].movedim(-1, 1)

    @torch.no_grad()
    def assigned(self, latents: Tensor, codes: Tensor) -> Assigned:
        """Of latents, [B, C, h, w], and the codes they chose, [B, h, w]."""
        rows = _rows(latents).double()
        sums = rows.new_zeros(self.num_codes, 1 + rows.shape[1])
        return Assigned(
            sums.index_add_(0, codes.flatten(), torch.cat([torch.ones_like(rows[:, :1]), rows], 1))
        )

    @torch.no_grad()
    def absorb(self, assigned: Assigned) -> None:
        """Once a step: what the global batch chose."""
        self.usage.lerp_(assigned.counts.to(self.usage), 1 - self.decay)
        self.move(assigned)

    def dead(self, below: float) -> Tensor:
        """[K] bool: chosen less than ``below`` times as often as the mean code; the same on all ranks."""
        if not 0 < below < 1:
            raise ValueError(f"Codebook.dead below must be in (0, 1), got {below}")
        return self.usage < below * self.usage.mean()

    @torch.no_grad()
    def restart(self, dead: Tensor, offers: Tensor) -> Tensor:
        """Dead codes, [K] bool, become latents of the batch (Dhariwal 2020, Jukebox, section 3.1).

        offers: of the global batch, [n, 1 + C], as ``earliest`` gives them. Where they are fewer than the
            dead, the first are restarted. A restarted code counts as used as often as the mean one.
        The indices of the restarted.
        """
        places = dead.nonzero().flatten()[: len(offers)]
        self.vectors[places] = offers[: len(places), 1:].to(self.vectors)
        self.usage[places] = self.usage.mean()
        return places


class LearnedCodebook(Codebook):
    """Codes follow the gradient of ``|sg[z] - e|^2`` (van den Oord 2017, eq. 3), a mean per element."""

    @checked
    def __init__(self, num_codes: Count, length: Count, decay: Probability = 0.99) -> None:
        super().__init__(num_codes, decay)
        self.vectors = nn.Parameter(_first(num_codes, length))

    def loss(self, chosen: Tensor, latents: Tensor) -> Tensor:
        return mse_loss(chosen, latents.detach())

    def move(self, assigned: Assigned) -> None:
        pass


class AveragedCodebook(Codebook):
    """Codes are moving averages of the latents that chose them (van den Oord 2017, appendix A.1).

    N <- decay N + (1 - decay) n and m <- decay m + (1 - decay) sum z, with e = m / N. Written for e
    itself, so a code that nobody chooses stays where it is however small its N becomes. The paper's decay.
    """

    @checked
    def __init__(self, num_codes: Count, length: Count, decay: Probability = 0.99) -> None:
        super().__init__(num_codes, decay)
        self.register_buffer("vectors", _first(num_codes, length))

    def loss(self, chosen: Tensor, latents: Tensor) -> Tensor:
        return chosen.new_zeros(())

    def move(self, assigned: Assigned) -> None:
        share = 1 - self.decay
        away = assigned.totals - assigned.counts.unsqueeze(1) * self.vectors  # [K, C] float64
        # a code chosen in this step has N >= 1 - decay, and any other has not moved away
        self.vectors += (share * away / self.usage.clamp(min=share).unsqueeze(1)).to(self.vectors)


def offers(latents: Tensor, draws: Draws, num: int) -> Tensor:
    """Up to ``num`` latents of this part of the batch that codes may be restarted at, [n, 1 + C] float64.

    Each latent, [B, C, h, w], of the global batch draws a number, which stands before it. The codes are
    restarted at ``earliest(torch.cat(offers of all ranks), num)``: the same however a batch is shared.
    """
    drawn = draws.uniform("restart", *latents.shape[2:]).flatten()
    return earliest(torch.cat([drawn.unsqueeze(1), _rows(latents).detach().double()], 1), num)


def earliest(rows: Tensor, num: int) -> Tensor:
    """The ``num`` rows, of [n, 1 + C], with the least first numbers, in their order."""
    return rows[rows[:, 0].argsort(stable=True)[:num]]


def used(counts: Tensor) -> Tensor:
    """The share of codes, of [K] counts over the global batch, that were chosen at all."""
    return (counts > 0).double().mean()


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of the codes' frequencies: K where all are chosen alike, 1 where only one is.

    Of counts, [K], over the global batch: the perplexities of its parts have another mean.
    """
    share = counts.double() / counts.sum()
    return torch.special.entr(share).sum().exp()


def _rows(latents: Tensor) -> Tensor:
    """[B h w, C] of latents, [B, C, h, w]."""
    return latents.movedim(1, -1).flatten(0, -2)


def _first(num_codes: int, length: int) -> Tensor:
    """Uniform in [-1 / K, 1 / K], as in the code of Esser 2021."""
    return torch.empty(num_codes, length).uniform_(-1 / num_codes, 1 / num_codes)
