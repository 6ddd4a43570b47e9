"""A step back from t to s: what x_t and x0 say of x_s, and how wide the step may be, on any process.

The same formulas serve samplers, whose coefficients are Python floats, and losses, which have a time for
each sample.
"""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

Value = TypeVar("Value", float, Tensor)
Given_co = TypeVar("Given_co", float, Tensor, covariant=True)


class Level(Protocol[Given_co]):
    """What is known of a time: x_t = alpha x0 + sigma eps."""

    @property
    def alpha(self) -> Given_co: ...

    @property
    def sigma(self) -> Given_co: ...


@dataclass(frozen=True, slots=True)
class Transition(Generic[Value]):
    """q(x_s | x_t, x0) = N(of_x0 x0 + of_x x_t, small) (Ho 2020, eq. 7), and the bounds of p(x_s | x_t).

    With beta the variance of q(x_t | x_s), the least that x_s can vary is small = beta sigma_s^2 / sigma_t^2,
    right for data that is one point, and the most is large, right for data that is unit white noise; on a
    variance-preserving process large is beta (Ho 2020, sec. 3.2).
    """

    of_x0: Value
    of_x: Value
    small: Value
    large: Value


def transition(now: Level[Value], then: Level[Value]) -> Transition[Value]:
    """From the time ``now`` to the earlier ``then``, which may be the data: there small is 0."""
    kept, rest = now.alpha / then.alpha, (then.sigma / now.sigma) ** 2
    beta = now.sigma**2 - (kept * then.sigma) ** 2
    size = then.alpha**2 + then.sigma**2  # of x_s, for data of unit variance
    return Transition(
        of_x0=then.alpha * beta / now.sigma**2,
        of_x=kept * rest,
        small=beta * rest,
        large=beta * size / (kept**2 * size + beta),
    )


def learned_log_variance(spread: Tensor, log_small: Value, log_large: Value) -> Tensor:
    """Between the bounds in their logarithms, small at spread -1 and large at 1 (Nichol 2021, eq. 15)."""
    share = (spread + 1) / 2
    return share * log_large + (1 - share) * log_small
