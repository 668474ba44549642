"""What :func:`infomax.estimate` returns."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from infomax.bounds.base import KIND_NAMES, Kind
from infomax.results.tables import data_frame, html_table, pvalue_text
from infomax.statistics.row_structure import RowStructure
from infomax.training.fit import History
from infomax.training.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Estimate:
    """Mutual information of two sets of columns, with its uncertainty.

    Attributes:
        mi: the estimate: the mean over held-out rows. Not clipped: under independence it scatters around zero.
        stderr: standard error of ``mi`` from sampling of the measured rows.
        gap: how much ``mi`` may be too small. For a trained bound, the overfitting gap: its value on training rows less
            that on held-out rows. For "default", half of the overfitting gap (the other half is in ``mi``), a quarter
            of what exceeds the simplest candidate, the growth of the held-out value from fits to half of the rows to
            fits to all, and ½ √((Dx + Dy) / n). For "ksg", its bias as extrapolated from k = 3 and
            k = 12. Otherwise 0.
        kind: "lower" (a lower bound in expectation), "upper", or "estimate" (neither).
        bound: its name. n: rows. unit: "nats" or "bits". seed: as given.
        ceiling: the largest value possible with the rows measured at a time (those of a fold), or None.
        pvalue: of a permutation test of independence, or None without a test.
        permutations: their number; no p-value can be below 1 / (1 + permutations).
        dropped: input rows that were left out because a value is missing.
        limit: an upper limit of the mutual information where a side is discrete: its entropy plus two standard errors
            of that. None where no side is discrete.
        entropy: the smaller entropy of the discrete sides, bias-corrected, in the unit; None where no side is discrete.
        warnings: reasons to treat the value with caution.
        history: the training history of each model: one model for each fold, or the first model of each fold and then
            the second.
        candidates: the models that "default" compared on held-out rows, in the order of comparison: see
            :class:`infomax.Trial`. Empty for other bounds, and where the value comes from counts or labels.
        folds: the value on the held-out rows of each fold, in the unit; empty where there are no folds.
        local: each row's local value, ``(n,)`` in the order of the rows, in the unit; their mean is ``mi``. None where
            the estimate is not a mean over rows.
        structure: which rows depend on each other, as ``groups`` or ``block_length`` said; None if none do.

    >>> from infomax import estimate
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 2000))
    >>> result = estimate(x, x + noise / 2, bound="gaussian")  # log(5) / 2 = 0.80 nats
    >>> round(float(result), 1), result.kind, result.n
    (0.8, 'estimate', 2000)
    >>> result.local.shape  # the local value of each row
    (2000,)
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
    entropy: float | None = None
    dropped: int = 0
    warnings: tuple[str, ...] = ()
    history: tuple[History, ...] = ()
    candidates: tuple[Trial, ...] = ()
    folds: tuple[float, ...] = ()
    local: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    structure: RowStructure | None = field(default=None, repr=False, compare=False)

    def confidence_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval for the mutual information: ``(low, high)``, in the estimate's unit.

        ``mi`` ± a normal quantile times ``stderr``, the sampling error of the measured rows. A model that was fitted on
        few rows is biased low on held-out rows, by an amount between 0 and ``gap`` if the model is right; so the upper
        end is raised by ``gap``. It is at least 0, and at most ``limit`` unless ``mi`` itself is larger. The interval
        does not cover dependence that the model cannot express.

        Raises:
            ValueError: if ``level`` is not inside (0, 1).

        >>> result = Estimate(mi=0.5, stderr=0.1, gap=0.2, kind="estimate", bound="default", n=1000)
        >>> low, high = result.confidence_interval()
        >>> round(low, 2), round(high, 2)  # 0.5 ± 1.96 · 0.1, and 0.2 more at the upper end
        (0.3, 0.9)
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie in (0, 1); got {level}")
        half = statistics.NormalDist().inv_cdf(0.5 + level / 2) * self.stderr
        high = max(0.0, self.mi + half + max(0.0, self.gap))
        return self.mi - half, high if self.limit is None else min(high, max(self.limit, self.mi))

    @property
    def near_ceiling(self) -> bool:
        """Whether the value exceeds half of its ceiling less one nat, and so is not informative.

        For Gaussian pairs the bias of InfoNCE is about -exp(2 MI) / 2N, which reaches 0.07 nats there.

        >>> Estimate(mi=4.0, stderr=0.1, gap=0.0, kind="lower", bound="infonce", n=100, ceiling=4.6).near_ceiling
        True
        """
        nat = 1.0 if self.unit == "nats" else 1 / math.log(2)
        return self.ceiling is not None and self.mi > 0.5 * self.ceiling - nat

    @property
    def correlation(self) -> float:
        r"""The correlation of a normal pair with this mutual information, :math:`\sqrt{1 - e^{-2 I}}`; 0 below 0.

        Source: Linfoot, "An informational measure of correlation", 1957, doi:10.1016/S0019-9958(57)90116-X.

        >>> result = Estimate(mi=0.5 * math.log(2), stderr=0.02, gap=0.0, kind="estimate", bound="ksg", n=1000)
        >>> round(result.correlation, 3)  # of x and x + noise, with equal variances: sqrt(1/2)
        0.707
        """
        nats = self.mi if self.unit == "nats" else self.mi * math.log(2)
        return math.sqrt(-math.expm1(-2 * max(0.0, nats)))

    @property
    def normalized(self) -> float | None:
        """The mutual information over the smaller entropy of the discrete sides; 0 below 0, None without such a side.

        It is 1 where a discrete side is a function of the other side.

        >>> result = Estimate(mi=0.52, stderr=0.02, gap=0.0, kind="estimate", bound="default", n=1000, entropy=0.69)
        >>> round(result.normalized, 2)  # three quarters of what a fair coin has
        0.75
        """
        return max(0.0, self.mi) / self.entropy if self.entropy else None

    @property
    def least_pvalue(self) -> float:
        """The smallest p-value possible with these permutations; 0 if their number is not known.

        >>> Estimate(0.5, 0.1, 0.0, "estimate", "default", 1000, pvalue=0.005, permutations=199).least_pvalue
        0.005
        """
        return 0.0 if self.permutations is None else 1 / (1 + self.permutations)

    @property
    def bits(self) -> Estimate:
        """The same estimate in bits; ``float(estimate.bits)`` is the number alone.

        >>> result = Estimate(mi=math.log(2), stderr=0.02, gap=0.0, kind="estimate", bound="plugin", n=1000)
        >>> round(result.bits.mi, 3), result.bits.unit
        (1.0, 'bits')
        """
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
            entropy=None if self.entropy is None else convert(self.entropy),
            folds=tuple(map(convert, self.folds)),
            local=None if self.local is None else self.local / math.log(2),
            history=tuple(replace(fold, validation=[convert(v) for v in fold.validation]) for fold in self.history),
            candidates=tuple(
                replace(trial, score=convert(trial.score), stderr=convert(trial.stderr)) for trial in self.candidates
            ),
            unit="bits",
        )

    def to_dict(self, *, history: bool = False) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts (JSON-ready), with the 95 % interval.

        Without ``local``; with the training history, which is long, only on request.

        >>> import json
        >>> result = Estimate(mi=0.5, stderr=0.1, gap=0.0, kind="estimate", bound="ksg", n=1000)
        >>> [json.loads(json.dumps(result.to_dict()))[name] for name in ("mi", "stderr", "bound", "n")]
        [0.5, 0.1, 'ksg', 1000]
        """
        left_out = {"local"} if history else {"local", "history"}
        short = replace(self, local=None, structure=None, history=self.history if history else ())
        dependent = None if self.structure is None else self.structure.to_dict()
        return {
            **{name: value for name, value in asdict(short).items() if name not in left_out},
            "structure": dependent,
            "confidence_interval_95": list(self.confidence_interval()),
            "correlation": self.correlation,
            "normalized": self.normalized,
            "candidates": [asdict(trial) for trial in self.candidates],
            "warnings": [*self.warnings],
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """A matplotlib figure: the value with the parts of its interval and the folds, and below it how it was found.

        The lower half shows the candidates that "default" compared, the training of a bound, or the distribution of
        the local values.

        Args:
            ax: axes to draw the upper half into; by default a new figure with both, one of pyplot's where
                ``matplotlib.pyplot`` is loaded.

        Raises:
            ImportError: without matplotlib; ``pip install 'infomax[plot]'``.

        >>> result = Estimate(mi=0.5, stderr=0.1, gap=0.2, kind="estimate", bound="default", n=1000)
        >>> figure = result.plot()  # figure.savefig("mi.png") writes it
        >>> len(figure.axes)
        1
        """
        from infomax.results import plots  # noqa: PLC0415 - matplotlib is an extra

        details = (self.candidates, self.history, () if self.local is None else self.local)
        with plots.style():
            heights = [1.0 + 0.36 * plots.value_rows(self)]
            if ax is None and any(len(detail) for detail in details):
                heights.append(1.1 + 0.4 * len(self.candidates) if self.candidates else 2.4)
            figure, axes = plots.axes_or_new(ax, plots.WIDTH, sum(heights), heights)
            plots.plot_value(axes[0], self)
            if len(axes) > 1 and self.candidates:
                plots.plot_candidates(axes[1], self.candidates, self.unit, plots.COLOURS[self.kind])
            elif len(axes) > 1:
                (plots.plot_history if self.history else plots.plot_local)(axes[1], self)
        return figure

    def to_frame(self) -> DataFrame:
        """The numbers as a pandas data frame of one row.

        Raises:
            ImportError: without pandas; ``pip install pandas``.

        >>> result = Estimate(mi=0.5, stderr=0.1, gap=0.2, kind="estimate", bound="default", n=1000)
        >>> result.to_frame()[["mi", "stderr", "n", "bound"]].values.tolist()
        [[0.5, 0.1, 1000, 'default']]
        """
        return data_frame([self.row()])

    def row(self) -> dict[str, Any]:
        """The numbers and facts, without what is longer than one.

        >>> result = Estimate(mi=0.5, stderr=0.1, gap=0.2, kind="estimate", bound="default", n=1000)
        >>> [*result.row()][:4]
        ['mi', 'stderr', 'low_95', 'high_95']
        """
        low, high = self.confidence_interval()
        names = ("pvalue", "n", "dropped", "kind", "bound", "unit", "seed")
        numbers: dict[str, Any] = {"mi": self.mi, "stderr": self.stderr, "low_95": low, "high_95": high}
        numbers |= {"correlation": self.correlation, "normalized": self.normalized}
        return {**numbers, **{name: getattr(self, name) for name in names}}

    def _repr_html_(self) -> str:
        low, high = self.confidence_interval()
        rows = [
            ["value", f"{self.mi:.4f} {self.unit}, {KIND_NAMES[self.kind]}"],
            ["95 % interval", f"{low:.4f} to {high:.4f}"],
            ["standard error", f"{self.stderr:.4f}"],
            ["pairs", f"{self.n}" + (f" ({self.dropped} with missing values dropped)" if self.dropped else "")],
        ]
        if self.pvalue is not None:
            rows.append(["p-value of independence", pvalue_text(self.pvalue, self.least_pvalue).removeprefix("= ")])
        return html_table(f"Mutual information by {self.bound}", None, rows, self.warnings)

    def __float__(self) -> float:
        return self.mi

    def __repr__(self) -> str:
        low, high = self.confidence_interval()
        ceiling = "" if self.ceiling is None else f", ceiling {self.ceiling:.2f}"
        gap = f", gap {self.gap:.4f}" if self.history or self.candidates else ""
        test = "" if self.pvalue is None else f", p {pvalue_text(self.pvalue, self.least_pvalue)} for independence"
        pairs = f"{self.n} pairs" + (f" ({self.dropped} with missing values dropped)" if self.dropped else "")
        extra = f"{gap}{ceiling}{test}"
        lines = [
            f"{self.mi:.4f} {self.unit}, 95 % interval [{low:.4f}, {high:.4f}]",
            f"  {KIND_NAMES[self.kind]} by {self.bound} from {pairs}, standard error {self.stderr:.4f}{extra}",
        ]
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])
