"""A few informative columns, many copies of them, and noise."""

from __future__ import annotations

import numpy as np

from infomax.tasks.base import Array, Task, add
from infomax.tasks.normal import correlated_normal


def redundant(mi: float, *, pairs: int, columns: int, seed: int = 0) -> Task:
    """Correlated normal pairs; in equal parts, the other columns of each side copy random ones of them, or are noise.

    Copies and noise share nothing more, so that the mutual information is that of the pairs.

    Args:
        mi: mutual information, in nats. pairs: informative columns of each side.
        columns: of each side, at least ``pairs``. seed: which columns are copied.

    Raises:
        ValueError: for a negative ``mi``, or fewer ``columns`` than ``pairs``.

    Source: Gowri, Lun, Klein and Yin 2024, arXiv 2409.02732.

    >>> task = redundant(1.0, pairs=2, columns=10)
    >>> task.x_dim, task.mi
    (10, 1.0)
    """
    if columns < pairs:
        raise ValueError(f"columns must be at least pairs, {pairs}; got {columns}")
    base = correlated_normal(mi, dim=pairs)
    copied = np.random.default_rng(seed).integers(pairs, size=(2, (columns - pairs + 1) // 2))
    noise = columns - pairs - copied.shape[1]

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        sides = base.sampler(n, rng)
        x, y = (
            np.hstack([side, side[:, copies], rng.standard_normal((n, noise))])
            for side, copies in zip(sides, copied, strict=True)
        )
        return x, y

    name = f"redundant-{pairs}in{columns}-{mi:g}"
    return Task(name, mi, columns, columns, "Gowri et al. 2024, arXiv 2409.02732", sample, "redundant")


for _columns in (30, 300, 1000):
    add(redundant(0.6931, pairs=5, columns=_columns))
