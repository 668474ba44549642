"""Independent pairs: the mutual information is zero, whatever the marginals."""

from __future__ import annotations

import numpy as np

from infomax.tasks.base import Array, Task, add


def independent_cauchy(dim: int = 10) -> Task:
    """Independent standard Cauchy coordinates, which have neither mean nor variance."""

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        return rng.standard_cauchy((n, dim)), rng.standard_cauchy((n, dim))

    return Task(f"cauchy-{dim}d-0", 0.0, dim, dim, "by construction", sample, "independent")


add(independent_cauchy())
