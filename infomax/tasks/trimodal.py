"""Three modalities and a target, with known mutual information of any two groups of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from infomax.tasks.base import Array, Task, add, check_dim, check_mi, correlation
from infomax.tasks.transforms import rotation

#: Largest mutual information of a modality and the target, in nats.
_MOST = 8.0


@dataclass(frozen=True, eq=False)
class TriModal:
    """Text, audio and vision, each a latent normal variable with noise columns, and a normal target.

    Attributes:
        modalities: the names of the modalities, in this order everywhere.
        correlations: ``(4, 4)``, of the latent variables of text, audio and vision, and of the target.
        dims: number of columns of each modality: the latent variable and noise, rotated. seed: seed of the rotations.

    >>> study = tri_modal(text=0.5, audio=0.3, vision=0.2)
    >>> {name: rows.shape for name, rows in study.sample(10, seed=0).items()}
    {'target': (10, 1), 'text': (10, 8), 'audio': (10, 5), 'vision': (10, 6)}
    """

    modalities: ClassVar[tuple[str, str, str]] = ("text", "audio", "vision")

    correlations: Array
    dims: tuple[int, int, int] = (8, 5, 6)
    seed: int = 0

    def sample(self, n: int, seed: int) -> dict[str, Array]:
        """Arrays ``(n, dims)`` by the name of the modality, and the ``"target"``, ``(n, 1)``.

        Raises:
            ValueError: if ``n`` is less than 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1; got {n}")
        return self._draw(n, np.random.default_rng(seed))

    def mi(self, first: Sequence[str], second: Sequence[str]) -> float:
        """Mutual information of two groups of text, audio, vision and target, in nats, in closed form.

        Raises:
            ValueError: for unknown names, an empty group, or a name in both groups.

        >>> study = tri_modal(text=0.5, audio=0.3, vision=0.2)
        >>> round(study.mi(["audio"], ["target"]), 3)
        0.3
        """
        a, b = self._places(first), self._places(second)
        if not a or not b or set(a) & set(b):
            raise ValueError(f"first and second must be different names, one or more; got {first!r} and {second!r}")
        log_dets = [np.linalg.slogdet(self.correlations[np.ix_(part, part)])[1] for part in (a, b, a + b)]
        return max(0.0, 0.5 * float(log_dets[0] + log_dets[1] - log_dets[2]))

    def task(self, first: Sequence[str], second: Sequence[str], name: str = "") -> Task:
        """The task whose x are the concatenated columns of ``first``, and whose y are those of ``second``.

        Raises:
            ValueError: as :meth:`mi` does.
        """
        mi = self.mi(first, second)

        def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
            parts = self._draw(n, rng)
            return np.hstack([parts[key] for key in first]), np.hstack([parts[key] for key in second])

        x_dim, y_dim = (sum((*self.dims, 1)[place] for place in self._places(side)) for side in (first, second))
        name = name or f"trimodal-{'+'.join(first)}-{'+'.join(second)}-{mi:.4g}"
        return Task(name, mi, x_dim, y_dim, "closed form: Cover and Thomas 2006, eq. 8.56", sample, "trimodal")

    def _places(self, names: Sequence[str]) -> list[int]:
        known = (*self.modalities, "target")
        if isinstance(names, str) or any(name not in known for name in names):
            raise ValueError(f"names must be a sequence of {', '.join(known)}; got {names!r}")
        return [known.index(name) for name in names]

    def _draw(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        hidden = rng.standard_normal((n, 4)) @ np.linalg.cholesky(self.correlations).T
        parts = {"target": hidden[:, 3:]}
        for i, (name, dim) in enumerate(zip(self.modalities, self.dims, strict=True)):
            columns = np.hstack([hidden[:, [i]], rng.standard_normal((n, dim - 1))])
            parts[name] = rotation(10 * self.seed + i)(columns)
        return parts


def tri_modal(
    *,
    text: float,
    audio: float,
    vision: float,
    joint: float | None = None,
    dims: tuple[int, int, int] = (8, 5, 6),
    seed: int = 0,
) -> TriModal:
    r"""Three modalities with given mutual information with a target, each alone and all together.

    The latent variable of modality m is :math:`\rho_m T + \sqrt{1 - \rho_m^2} E_m` with normal T and E. Any two
    noises E have correlation c. One modality has :math:`-\tfrac12 \log(1 - \rho_m^2)` nats with the target. All three
    together have :math:`\tfrac12 \log(1 + a^\top R_c^{-1} a)` nats, with :math:`a_m = \rho_m / \sqrt{1 - \rho_m^2}`.
    The larger c is, the more redundant are the modalities.

    Args:
        text, audio, vision: mutual information of each with the target, in nats.
        joint: mutual information of all three with the target; by default that of independent noises.
        dims: columns of text, audio and vision. seed: seed of the rotations that hide the informative direction.

    Raises:
        ValueError: for values outside 0 to 8 nats, ``dims`` below 1, and a ``joint`` that is impossible for every
            correlation of the noises.

    >>> study = tri_modal(text=0.5, audio=0.3, vision=0.2)
    >>> round(study.mi(["text"], ["target"]), 3)
    0.5
    """
    for amount in (text, audio, vision):
        if not 0 <= amount <= _MOST:
            raise ValueError(f"text, audio and vision must be from 0 to {_MOST:g} nats; got {amount}")
    check_dim(min(dims))
    rho, noise = np.array([correlation(amount) for amount in (text, audio, vision)]).T
    c = 0.0 if joint is None else _noise_correlation(rho / noise, joint)
    among = np.outer(rho, rho) + np.outer(noise, noise) * np.where(np.eye(3, dtype=bool), 1.0, c)
    return TriModal(np.block([[among, rho[:, None]], [rho[None, :], np.ones((1, 1))]]), dims, seed)


def _noise_correlation(a: Array, joint: float) -> float:
    from scipy.optimize import brentq, minimize_scalar  # noqa: PLC0415 - slow import

    check_mi(joint)

    def together(c: float) -> float:
        power = (a @ a - c / (1 + 2 * c) * a.sum() ** 2) / (1 - c)
        return 0.5 * math.log1p(power)

    # Convex in c, as the inverse of a matrix is; values of c below the minimum give all possible values.
    lowest, highest = -0.5 + 1e-9, 1 - 1e-9
    at_least = minimize_scalar(together, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}).x
    if not together(at_least) <= joint <= together(lowest):
        raise ValueError(
            f"joint must be from {together(at_least):.6g} to {together(lowest):.4g} for these modalities; got {joint}"
        )
    return float(brentq(lambda c: together(c) - joint, lowest, at_least, xtol=1e-14))


_speech = tri_modal(text=0.5, audio=0.2, vision=0.3, joint=0.8)
for _first, _second in (
    (("text",), ("target",)),
    (("audio",), ("target",)),
    (TriModal.modalities, ("target",)),
    (("text",), ("vision",)),
    (("text",), ("audio", "vision")),
):
    add(_speech.task(_first, _second))
