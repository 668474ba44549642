"""Class probabilities by kernel ridge regression, each row left out in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: Widths of the Gaussian kernel, in median distances of rows, and ridge penalties, in rows.
_WIDTHS, _PENALTIES = (0.15, 0.35, 0.8), (0.03, 0.3, 3.0)
#: Most rows that functions are centred on, where there are few rows and where there are many; what is many;
#: and rows on which widths and penalties are then compared.
_CENTRES, _FEWER_CENTRES, _MANY_ROWS, _COMPARED = 500, 250, 4_000, 2_000
#: Smallest probability of a class.
_LEAST = 0.01


def by_kernels(x: Tensor, labels: Tensor, classes: int, rng: np.random.Generator) -> Tensor:
    r"""Log-probabilities of the classes of each row from the other rows, ``(N, K)``.

    Indicators of the classes are regressed on :math:`\exp(-|x - c|^2 / 2 s^2)`, with rows c as centres (Williams and
    Seeger, "Using the Nyström method to speed up kernel machines", 2001). The prediction of a row from the others is
    :math:`y_i - (y_i - \hat y_i) / (1 - h_{ii})`, with the leverages h. Width and penalty have the least squared error
    of these predictions.

    Args:
        x: ``(N, D)``. labels: ``(N,)``. rng: draws the centres.
    """
    order = torch.from_numpy(rng.permutation(len(x)))
    centres = x[order[: _FEWER_CENTRES if len(x) > _MANY_ROWS else _CENTRES]]
    own = F.one_hot(labels, classes).double()
    some = order[: len(x) if len(x) <= _MANY_ROWS else _COMPARED]
    options = {width: _left_one_out(x[some], centres, own[some], width, _PENALTIES) for width in _WIDTHS}
    width = min(_WIDTHS, key=lambda one: options[one][0])
    _, penalty, errors = options[width]
    if len(some) < len(x):
        _, _, errors = _left_one_out(x, centres, own, width, (penalty,))
        return (own - errors).clamp(_LEAST / classes, 1.0).log()
    found = torch.empty_like(own)
    found[order] = own[order] - errors
    return found.clamp(_LEAST / classes, 1.0).log()


def _left_one_out(
    x: Tensor, centres: Tensor, own: Tensor, width: float, penalties: Sequence[float]
) -> tuple[float, float, Tensor]:
    """The least mean squared error, the penalty that has it, and the errors ``(N, K)``."""
    squares, between, share = _squares(x, centres), _squares(centres, centres), own.mean(0)
    scale = -0.5 / max(width**2 * float(squares.median()), 1e-300)
    jitter = 1e-6 * torch.eye(len(centres), dtype=x.dtype)
    factor = torch.linalg.cholesky(torch.exp(scale * between) + jitter)
    features = torch.linalg.solve_triangular(factor, torch.exp(scale * squares).T, upper=False).T
    values, axes = torch.linalg.eigh(features.T @ features)
    rotated = features @ axes
    products = rotated.T @ (own - share)
    found = []
    for penalty in penalties:
        weights = 1 / (values.clamp_min(0) + penalty)
        leverage = (rotated.square() @ weights).clamp_max(1 - 1e-6)
        errors = (own - share - rotated @ (weights[:, None] * products)) / (1 - leverage)[:, None]
        found.append((float(errors.square().mean()), penalty, errors))
    return min(found, key=lambda one: one[0])


def _squares(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances ``(N, M)``."""
    found: Tensor = x.square().sum(1, keepdim=True) - 2 * x @ centres.T + centres.square().sum(1)
    return found.clamp_min(0)
