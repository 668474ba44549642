"""What :func:`infomax.estimate` returns."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from infomax.bounds.base import Kind
from infomax.training.fit import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Estimate:
    """Mutual information of two sets of columns, with its uncertainty.

    Attributes:
        mi: the estimate, the mean over rows that trained nothing of what the fitted bound says of them. Not clipped:
            values slightly below zero are what independence looks like.
        stderr: standard error of ``mi`` from the draw of the measured rows.
        gap: what ``mi`` may have missed: how much better the bound does on the rows that trained it; of "anchored" the
            half of that which is not in ``mi`` already, a share of what its network found, and ½ √((Dx + Dy) / n); of
            "ksg" what near neighbours lose, as a comparison with farther ones shows it; else 0.
        kind: "lower" (a lower bound in expectation), "upper", or "estimate" (neither).
        bound: its name. n: rows. unit: "nats" or "bits". seed: as given.
        ceiling: the largest value possible with this many rows measured at a time (those of a fold), or None.
        pvalue: of a test of independence by permutations, or None if none was made.
        permutations: how many of them; no p-value can be below 1 / (1 + permutations).
        limit: what the mutual information cannot exceed because a side is discrete: its entropy and two standard errors
            of that. None where no side can be counted.
        warnings: what a reader should know before believing the number.
        history: one record of training for each model that was fitted: one a fold, or the first of each fold and then
            the second.
        local: each row's share, ``(n,)`` in the order of the rows, in the unit; their mean is ``mi``. None where the
            value is not a mean over rows.
    """

    mi: float
    stderr: float
    gap: float
    kind: Kind
    bound: str
    n: int
    seed: int = 0
    unit: Literal["nats", "bits"] = "nats"
    ceiling: float | None = None
    pvalue: float | None = None
    permutations: int | None = None
    limit: float | None = None
    warnings: tuple[str, ...] = ()
    history: tuple[History, ...] = ()
    local: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def confidence_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval for the mutual information: ``(low, high)``, in the estimate's unit.

        ``mi`` ± a normal quantile times ``stderr``, which is the uncertainty from the measured rows. A bound that was
        fitted on few rows measures too little on others, by an amount that lies between 0 and ``gap`` when the fit
        found what there is; so the upper end is moved up by ``gap``, and never lies below 0. It does not lie above
        ``limit`` either, unless ``mi`` itself does. What no critic of this kind could find is not in the interval.

        Raises:
            ValueError: if ``level`` is not inside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie in (0, 1); got {level}")
        half = statistics.NormalDist().inv_cdf(0.5 + level / 2) * self.stderr
        high = max(0.0, self.mi + half + max(0.0, self.gap))
        return self.mi - half, high if self.limit is None else min(high, max(self.limit, self.mi))

    @property
    def near_ceiling(self) -> bool:
        """Whether the value is so close to its ceiling that it says little: half of it, less one nat.

        For Gaussian pairs the bias of InfoNCE is about -exp(2 MI) / 2N: this is where it reaches 0.07 nats.
        """
        nat = 1.0 if self.unit == "nats" else 1 / math.log(2)
        return self.ceiling is not None and self.mi > 0.5 * self.ceiling - nat

    @property
    def least_pvalue(self) -> float:
        """The smallest p-value that the permutations allow; 0 if their number is not known."""
        return 0.0 if self.permutations is None else 1 / (1 + self.permutations)

    @property
    def bits(self) -> Estimate:
        """The same estimate in bits; ``float(estimate.bits)`` is the number alone."""
        if self.unit == "bits":
            return self

        def convert(nats: float) -> float:
            return nats / math.log(2)

        return replace(
            self,
            mi=convert(self.mi),
            stderr=convert(self.stderr),
            gap=convert(self.gap),
            ceiling=None if self.ceiling is None else convert(self.ceiling),
            limit=None if self.limit is None else convert(self.limit),
            local=None if self.local is None else self.local / math.log(2),
            history=tuple(replace(fold, validation=[convert(v) for v in fold.validation]) for fold in self.history),
            unit="bits",
        )

    def to_dict(self, *, history: bool = False) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts (JSON-ready), with the 95 % interval.

        All but ``local``, and the history of the training only if wanted: it is long.
        """
        left_out = {"local"} if history else {"local", "history"}
        short = replace(self, local=None, history=self.history if history else ())
        return {
            **{name: value for name, value in asdict(short).items() if name not in left_out},
            "confidence_interval_95": list(self.confidence_interval()),
            "warnings": [*self.warnings],
        }

    def plot(self) -> Figure:
        """A matplotlib figure: the bound on validation rows while training, and the interval that came of it.

        Raises:
            ImportError: without matplotlib; ``pip install 'infomax[plot]'``.
        """
        from infomax.results.plots import plot_estimate  # noqa: PLC0415 - matplotlib is an extra

        return plot_estimate(self)

    def __float__(self) -> float:
        return self.mi

    def __repr__(self) -> str:
        low, high = self.confidence_interval()
        nature = {"lower": "lower bound", "upper": "upper bound", "estimate": "estimate"}[self.kind]
        ceiling = "" if self.ceiling is None else f", ceiling {self.ceiling:.2f}"
        gap = f", gap {self.gap:.4f}" if self.history else ""
        test = "" if self.pvalue is None else f", p {pvalue_text(self.pvalue, self.least_pvalue)} for independence"
        lines = [
            f"{self.mi:.4f} {self.unit}, 95 % interval [{low:.4f}, {high:.4f}]",
            f"  {nature} by {self.bound} from {self.n} pairs, standard error {self.stderr:.4f}{gap}{ceiling}{test}",
        ]
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])


def pvalue_text(pvalue: float, least: float) -> str:
    """The p-value behind an equals sign, or, where it is the smallest that there can be, behind a sign that says so.

    >>> pvalue_text(0.04, least=0.005), pvalue_text(0.005, least=0.005)
    ('= 0.04', '≤ 0.005')
    """
    return f"{'≤' if pvalue <= least * (1 + 1e-9) else '='} {pvalue:.3g}"
