"""Ridge regression out of moments, in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

_SHARES = tuple(10 ** (power / 4) for power in range(-20, 9))  # 1e-5 to 1e2


@dataclass(frozen=True)
class Ridge:
    """y = mean_y + (x - mean_x) W, W = (S_xx + r 1)^-1 S_xy (Hoerl & Kennard 1970, eq. 2.1, from memory)."""

    mean_x: Tensor  # [D] float64
    mean_y: Tensor  # [P]
    weight: Tensor  # [D, P]
    share: float  # r in units of the mean variance of x
    count: int  # of pairs that it was fitted on

    def __call__(self, x: Tensor) -> Tensor:
        """Of x, [N, D], the vectors less ``mean_y``, [N, P] float64."""
        return (x.double() - self.mean_x) @ self.weight


def fitted(mean: Tensor, cov: Tensor, dim: int, count: int, share: float | None = None) -> Ridge:
    """The regression of what follows the first ``dim`` of some numbers on these, from their moments.

    mean, cov: of all of them, [D + P] and [D + P, D + P] in float64, the covariance unbiased.
    share: the ridge in units of the mean variance; None is the one of 1e-5 to 1e2, in quarters of a decade,
    with the least error in generalised cross-validation.
    """
    s_xx, s_xy, s_yy = cov[:dim, :dim], cov[:dim, dim:], cov[dim:, dim:].trace()
    values, vectors = torch.linalg.eigh(s_xx)
    values, turned = values.clamp(min=0), vectors.T @ s_xy
    unit = values.mean().clamp(min=torch.finfo(values.dtype).tiny)
    if share is None:
        errors = [cross_validation(values, turned, s_yy, some * unit, count) for some in _SHARES]
        share = _SHARES[int(torch.stack(errors).argmin())]
    weight = vectors @ (turned / (values + share * unit)[:, None])
    return Ridge(mean[:dim], mean[dim:], weight, share, count)


def cross_validation(values: Tensor, turned: Tensor, s_yy: Tensor, ridge: Tensor, count: int) -> Tensor:
    """What leaving out each pair would cost, to a constant factor: RSS / (1 - df / n)^2.

    That is generalised cross-validation (Golub, Heath & Wahba 1979, eq. 1.4, from memory).

    values, turned: eigenvalues [D] of S_xx, and S_xy in its eigenvectors [D, P]. With l the eigenvalues RSS
    is tr S_yy - sum c^2 (l + 2 r) / (l + r)^2, and df is 1, for the mean, and the sum of l / (l + r).
    """
    kept = values + ridge
    told = (turned.square().sum(1) * (kept + ridge) / kept.square()).sum()
    freedom = 1 - (1 + (values / kept).sum()) / count
    return torch.where(freedom > 0, (s_yy - told) / freedom.square(), torch.inf)
