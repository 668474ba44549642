"""Kinds of networks for the residual: what they see of each side, and their critic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.estimators.candidates.base import WIDE, Rows, Side
from infomax.estimators.candidates.copulas import fit_normal, principal_axes, significant_rank
from infomax.estimators.default.residual import BatchedCritic

#: Of a side with many columns, the directions that a network sees, at most.
_MOST_DIRECTIONS, _MOST_AXES = 16, 4
#: Each of one or two columns is also an input in this many steps of its ranks.
_RANK_STEPS = 16
#: Columns of a side, at most, for a network of all columns, and for one that is additive.
_MOST_COLUMNS, _MOST_ADDITIVE = 256, 64


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes:
        name: for the list of candidates. assumes: the structure that it learns best.
        inputs: the inputs of x and of y, ``(N, F)`` each, for the rows that a network may learn from.
        critic: ``(models, Fx, Fy, generator) -> critic``.
        suits: whether it is worth its cost on samples of this kind.
    """

    name: str
    assumes: str
    inputs: Callable[[Side, Side, Rows], tuple[Tensor, Tensor]]
    critic: Callable[[int, int, int, torch.Generator], BatchedCritic]
    suits: Callable[[Side, Side], bool]


def _all_columns(x: Side, y: Side, _: Rows) -> tuple[Tensor, Tensor]:
    """The scores, atoms, ranks of one or two columns in steps, and the norm of several."""
    return _narrow(x), _narrow(y)


def _narrow(side: Side) -> Tensor:
    seen, scores, dim = [side.scores, side.atoms], side.scores, side.dim
    if dim <= 2:
        ranks = torch.special.ndtr(scores) * _RANK_STEPS
        seen += [2 * (ranks[:, [j]] - torch.arange(_RANK_STEPS)).clamp(0, 1) - 1 for j in range(dim)]
    return torch.cat([*seen, *_norm(side)], 1)


def _norm(side: Side) -> list[Tensor]:
    if side.dim == 1:
        return []
    return [(side.scores.square().sum(1, keepdim=True) - side.dim) / math.sqrt(2 * side.dim)]


def _directions(x: Side, y: Side, rows: Rows) -> tuple[Tensor, Tensor]:
    """Of a wide side its canonical and principal directions; of a narrow side all columns."""
    index = torch.from_numpy(rows)
    u, v = x.scores[index], y.scores[index]
    kept = min(significant_rank(u, v) + 2, _MOST_DIRECTIONS)
    coupling, found = fit_normal(u, v).coupling, []
    for side, seen, directions in ((x, u, coupling.directions_x), (y, v, coupling.directions_y)):
        if side.dim <= WIDE:
            found.append(_narrow(side))
            continue
        views = [side.scores @ directions[:, :kept], side.scores @ principal_axes(seen)[:, -_MOST_AXES:]]
        scaled = [view / view[index].std(0).clamp_min(1e-12) for view in views]
        found.append(torch.cat([*scaled, *_norm(side)], 1))
    return found[0], found[1]


def _single_columns(x: Side, y: Side, _: Rows) -> tuple[Tensor, Tensor]:
    return x.scores, y.scores


KINDS = (
    Kind(
        "directions",
        "few directions of many columns are related",
        _directions,
        BatchedCritic.dense,
        lambda x, y: max(x.dim, y.dim) > WIDE,
    ),
    Kind(
        "network",
        "columns of a side act together",
        _all_columns,
        BatchedCritic.dense,
        lambda x, y: max(x.dim, y.dim) <= _MOST_COLUMNS,
    ),
    Kind(
        "additive",
        "single columns of x and of y are related, in any way",
        _single_columns,
        BatchedCritic.additive,
        lambda x, y: max(x.dim, y.dim) <= _MOST_ADDITIVE and x.dim + y.dim > 2,
    ),
)


def even(each: list[Tensor]) -> Tensor:
    """Inputs ``(N, F)``, padded with zeros to the same number of columns, in float32: ``(networks, N, F)``."""
    most = max(one.shape[1] for one in each)
    return torch.stack([F.pad(one.float(), (0, most - one.shape[1])) for one in each])
