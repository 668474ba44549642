"""A permutation test of independence of a label and other columns."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from infomax.statistics.labels import Labels
from infomax.statistics.marginals import Floats, normal_scores
from infomax.statistics.permutation_test import MOST_NEAR, NEIGHBOURS, Near, in_ranges, permutation_pvalue
from infomax.statistics.row_structure import RowStructure

#: Columns and cosines of the test, and its most cells (rows by features).
_TESTED, _COSINES, _MOST_CELLS = 64, 48, 1_000_000


def labels_pvalue(
    labels: Labels, x: Floats, draws: int, rng: np.random.Generator, structure: RowStructure | None = None
) -> float:
    """P-value of independence, by permutations of the labels.

    The statistics are sums of squares between classes of three kinds of features of x: principal components of the
    normal scores, their squares, and random cosines of low, middle and high frequency; the largest such sum of the
    indicators of eight ranges of a column, of at most 64 columns, which finds one of many columns; and how many of the
    3, and of the 10, nearest neighbours of at most 2,048 rows have the row's own label (Schilling 1986,
    doi:10.1080/01621459.1986.10478337), which finds classes in many narrow ranges.
    """
    scores = torch.from_numpy(normal_scores(x))
    white = principal_directions(scores - scores.mean(0), min(_TESTED, scores.shape[1], max(1, len(x) // 4)))
    dim = white.shape[1]
    scales = 2.0 ** np.linspace(-1, 3, _COSINES) / math.sqrt(dim)
    frequencies = torch.from_numpy(rng.standard_normal((dim, _COSINES)) * scales)
    cosines = torch.cos(white @ frequencies + torch.from_numpy(rng.uniform(0, 2 * math.pi, _COSINES)))
    kinds = [white, white.square(), *cosines.chunk(3, 1)]
    columns = torch.from_numpy(rng.permutation(scores.shape[1])[:_TESTED])
    features = torch.cat(kinds, 1)
    rows = np.arange(len(x))
    most = max(2000, _MOST_CELLS // features.shape[1])
    structure = structure or RowStructure.independent(len(x))
    if not structure.is_independent:
        rows = structure.balanced(rng)
    if most < len(rows):
        rows = rows[structure.take(rows).divided(np.arange(len(rows)), most, rng)[0]]
    structure = structure.take(rows)
    features = features[torch.from_numpy(rows)]
    features = features - features.mean(0)
    features = (features / features.std(0).clamp_min(1e-9)).float()
    ranges = in_ranges(scores[torch.from_numpy(rows)][:, columns])
    features = torch.cat([features, ranges], 1)
    own = torch.from_numpy(labels.of_row[rows])
    classes = len(labels.counts)
    weights = 1 / torch.bincount(own, minlength=classes).clamp_min(1).float()
    sizes = [kind.shape[1] for kind in (*kinds, ranges)]
    some = torch.from_numpy(rng.permutation(len(rows))[:MOST_NEAR])
    near = torch.from_numpy(Near.of(scores[torch.from_numpy(rows)[some]], rng).neighbours)
    statistics = np.empty((draws + 1, len(sizes) + len(NEIGHBOURS)))
    for draw in range(draws + 1):
        permuted = own[torch.from_numpy(structure.permutation(rng))] if draw else own
        sums = torch.zeros(classes, features.shape[1]).index_add_(0, permuted, features)
        between = (sums.square() * weights[:, None]).sum(0)
        *smooth, tables = torch.split(between, sizes)
        here = permuted[some]
        same = here[near] == here[:, None]
        statistics[draw] = [
            *(float(part.sum()) for part in smooth),
            float(tables.view(len(columns), -1).sum(1).max()),
            *(float(same[:, :k].sum()) for k in NEIGHBOURS),
        ]
    return permutation_pvalue(statistics)


def principal_directions(values: Tensor, most: int) -> Tensor:
    """The ``most`` principal components of centred columns ``(N, D)``, each with deviation 1: ``(N, most)``."""
    if len(values) < values.shape[1]:
        _, left = torch.linalg.eigh(values @ values.T)
        found = left[:, -most:] * math.sqrt(len(values))
    else:
        _, axes = torch.linalg.eigh(values.T @ values)
        found = values @ axes[:, -most:]
    scaled: Tensor = found / found.std(0).clamp_min(1e-12)
    return scaled
