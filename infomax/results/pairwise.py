"""What :func:`infomax.pairwise` returns."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from infomax.bounds.base import Kind
from infomax.results.tables import data_frame, html_table
from infomax.statistics.rank_tests import Correction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False, eq=False)
class Pairwise:
    """Mutual information of each of some columns with each of some columns.

    For one set of columns the matrices are symmetric and their diagonals NaN: the mutual information of a column with
    itself is its entropy, which is infinite for a continuous column. Of values alone (``values_only``), ``stderr``,
    ``gap``, ``pvalue`` and ``qvalue`` are NaN.

    Attributes:
        mi: the estimates, ``(D, E)``. Not clipped: under independence they scatter around zero.
        stderr: standard errors of ``mi``, ``(D, E)``.
        gap: by how much the upper end of an interval is raised, for the bias of the estimate, ``(D, E)``.
        pvalue: of a test of independence of each pair, ``(D, E)``.
        qvalue: the false discovery rate at which a pair is reported (:func:`infomax.statistics.qvalues`), ``(D, E)``;
            each pair counts as one test.
        names: of the rows, D. columns: names of the columns, E; the same if one set was given.
        symmetric: whether one set was given.
        bound: the name of the estimator. kind: "lower", "upper" or "estimate", as of :class:`Estimate`. n: rows of
            the samples, with those that lack values. seed: as given. correction: how q-values were computed.
        unit: "nats" or "bits".
        rows: of each pair, those in which neither column lacks a value, ``(D, E)``.
        entropy: of each pair, the smaller entropy of its discrete columns; NaN where neither is discrete, ``(D, E)``.
        warnings: reasons to treat the value with caution.
        structure: which rows depend on each other, as was said: ``{"groups": their number}``, ``{"block_length":
            as given}``, or None.

    >>> from infomax import pairwise
    >>> table = np.random.default_rng(0).normal(size=(500, 3))
    >>> table[:, 2] += 2 * table[:, 0]
    >>> result = pairwise(table, progress=False)
    >>> result.mi.shape, [(pair["x"], pair["y"]) for pair in result.pairs if pair["qvalue"] <= 0.05]
    ((3, 3), [('0', '2')])
    """

    mi: Floats
    stderr: Floats
    gap: Floats
    pvalue: Floats
    qvalue: Floats
    names: tuple[str, ...]
    columns: tuple[str, ...]
    symmetric: bool
    bound: str
    kind: Kind
    n: int
    seed: int
    correction: Correction
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    entropy: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    unit: Literal["nats", "bits"] = "nats"
    warnings: tuple[str, ...] = ()
    structure: dict[str, int | str] | None = None

    def confidence_interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Pointwise intervals, ``(low, high)``, each ``(D, E)``; they are not simultaneous over all pairs.

        ``mi`` ± a normal quantile times ``stderr``; the upper end is raised by ``gap``, and is at least 0.

        Raises:
            ValueError: if ``level`` is not inside (0, 1).

        >>> from infomax import pairwise
        >>> table = np.random.default_rng(0).normal(size=(100, 3))
        >>> low, high = pairwise(table, progress=False).confidence_interval(0.9)
        >>> low.shape, bool(low[0, 1] < high[0, 1])
        ((3, 3), True)
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie in (0, 1); got {level}")
        half = statistics.NormalDist().inv_cdf(0.5 + level / 2) * self.stderr
        return self.mi - half, np.maximum(self.mi + half + np.maximum(self.gap, 0.0), 0.0)

    @property
    def values_only(self) -> bool:
        """Whether there are neither intervals nor tests."""
        return bool(np.isnan(self.pvalue).all())

    @property
    def correlation(self) -> Floats:
        """Of each pair, as :attr:`Estimate.correlation`, ``(D, E)``."""
        nats = self.mi if self.unit == "nats" else self.mi * math.log(2)
        return np.asarray(np.sqrt(-np.expm1(-2 * np.maximum(nats, 0.0))))

    @property
    def normalized(self) -> Floats:
        """Of each pair, as :attr:`Estimate.normalized`, ``(D, E)``; NaN where neither column is discrete."""
        entropy = np.where(self.entropy > 0, self.entropy, np.nan)
        return np.asarray(np.maximum(self.mi, 0.0) / entropy)

    @property
    def bits(self) -> Pairwise:
        """The same in bits.

        >>> from infomax import pairwise
        >>> table = np.random.default_rng(0).normal(size=(100, 3))
        >>> result = pairwise(table, values_only=True, progress=False)
        >>> bool(np.isclose(result.bits.mi[0, 1], result.mi[0, 1] / np.log(2)))
        True
        """
        if self.unit == "bits":
            return self
        in_bits = {name: getattr(self, name) / math.log(2) for name in ("mi", "stderr", "gap", "entropy")}
        return replace(self, **in_bits, unit="bits")

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """Each pair once, the largest value first: names, value, standard error, interval, p- and q-value, and rows.

        >>> from infomax import pairwise
        >>> table = np.random.default_rng(0).normal(size=(100, 3))
        >>> [[*pair][:3] for pair in pairwise(table, values_only=True, progress=False).pairs[:1]]
        [['x', 'y', 'mi']]
        """
        (low, high), correlation = self.confidence_interval(), self.correlation
        places = np.triu_indices(len(self.names), 1) if self.symmetric else np.indices(self.mi.shape).reshape(2, -1)
        order = np.argsort(-self.mi[tuple(places)], kind="stable")
        return [
            {
                "x": self.names[i],
                "y": self.columns[j],
                "mi": float(self.mi[i, j]),
                "stderr": float(self.stderr[i, j]),
                "low": float(low[i, j]),
                "high": float(high[i, j]),
                "pvalue": float(self.pvalue[i, j]),
                "qvalue": float(self.qvalue[i, j]),
                "correlation": float(correlation[i, j]),
                "n": int(self.rows[i, j]) if self.rows.size else self.n,
            }
            for i, j in zip(places[0][order], places[1][order], strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings, lists and dicts (JSON-ready); NaN in the matrices becomes None.

        >>> from infomax import pairwise
        >>> table = np.random.default_rng(0).normal(size=(100, 3))
        >>> import json
        >>> text = json.dumps(pairwise(table, values_only=True, progress=False).to_dict())
        >>> json.loads(text)["mi"][0][0] is None  # the diagonal
        True
        """
        low, high = self.confidence_interval()
        matrices = {name: getattr(self, name) for name in ("mi", "stderr", "gap", "pvalue", "qvalue")}
        matrices |= {"low_95": low, "high_95": high, "entropy": self.entropy, "rows": self.rows}
        matrices |= {"correlation": self.correlation, "normalized": self.normalized}
        facts = ("symmetric", "bound", "kind", "n", "seed", "correction", "unit", "structure")
        return {
            "names": [*self.names],
            "columns": [*self.columns],
            **{
                name: [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]
                for name, matrix in matrices.items()
            },
            **{name: getattr(self, name) for name in facts},
            "warnings": [*self.warnings],
        }

    def to_frame(self) -> DataFrame:
        """:attr:`pairs` as a pandas data frame.

        Raises:
            ImportError: without pandas; ``pip install pandas``.

        >>> from infomax import pairwise
        >>> table = np.random.default_rng(0).normal(size=(100, 3))
        >>> frame = pairwise(table, values_only=True, progress=False).to_frame()
        >>> len(frame), [*frame.columns[:3]]
        (3, ['x', 'y', 'mi'])
        """
        return data_frame(self.pairs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        level: float = 0.05,
        value: Literal["mi", "correlation", "normalized"] = "mi",
    ) -> Figure:
        """A matplotlib figure: the matrix in colours, with a dot for pairs whose q-value is at most ``level``.

        Args:
            ax: axes to draw into; by default those of a new figure, as :meth:`Estimate.plot`.
            value: what the colours show: the mutual information, or a coefficient from 0 to 1.

        Raises:
            ValueError: for another value.
            ImportError: without matplotlib; ``pip install 'infomax[plot]'``.

        >>> from infomax import pairwise
        >>> table = np.random.default_rng(0).normal(size=(100, 3))
        >>> figure = pairwise(table, values_only=True, progress=False).plot(value="correlation")
        >>> figure.axes[-1].get_ylabel()  # of the colours
        'correlation'
        """
        from infomax.results.plots import axes_or_new, style  # noqa: PLC0415 - matplotlib is an extra

        names = {
            "mi": f"mutual information, {self.unit}",
            "correlation": "correlation",
            "normalized": "share of entropy",
        }
        if value not in names:
            raise ValueError(f"value must be one of {', '.join(names)}; got {value!r}")
        matrix = getattr(self, value)
        rows, columns = matrix.shape
        with style():
            side = 0.55 if max(rows, columns) <= 12 else 0.25 if max(rows, columns) <= 60 else 0.12
            figure, (ax,) = axes_or_new(ax, min(2.7 + side * columns, 24), min(1.7 + side * rows, 24))
            image = ax.imshow(matrix.clip(0.0), cmap="viridis", vmin=0.0, aspect="auto")
            ax.set_facecolor("0.85")  # of the diagonal
            i, j = (self.qvalue <= level).nonzero()
            numbers = max(rows, columns) <= 12
            ax.plot(j, i + (0.3 if numbers else 0.0), "o", color="w", mec="0.2", mew=0.5, ms=4 if numbers else 3)
            for (row, column), number in np.ndenumerate(matrix) if numbers else ():
                if not math.isnan(number):
                    colour = "k" if number > 0.6 * image.get_clim()[1] else "w"
                    ax.annotate(
                        f"{number:.2f}".replace("-0.00", "0.00"),
                        (column, row),
                        ha="center",
                        va="center",
                        size=9,
                        color=colour,
                    )
            if max(rows, columns) <= 60:
                ax.set_xticks(range(columns), self.columns, rotation=90)
                ax.set_yticks(range(rows), self.names)
            figure.colorbar(image, ax=ax, label=names[value])
            dots = "" if self.values_only else f"\n(dots: q ≤ {level:g})"
            ax.set_title(f"pairs of columns, {self.n:,} rows{dots}")
        return figure

    def _repr_html_(self) -> str:
        pairs, tested = self.pairs, not self.values_only
        header = ["columns", self.unit, *(["95 % interval", "q-value"] if tested else []), "correlation", "rows"]
        rows = [
            [
                f"{pair['x']}, {pair['y']}",
                f"{pair['mi']:.4f}",
                *([f"{pair['low']:.4f} to {pair['high']:.4f}", f"{pair['qvalue']:.3g}"] if tested else []),
                f"{pair['correlation']:.2f}",
                f"{pair['n']}",
            ]
            for pair in pairs[:10]
        ]
        more = f"; the {len(rows)} largest" if len(pairs) > len(rows) else ""
        caption = f"Mutual information of {len(pairs)} pairs of columns by {self.bound}, {self.n} rows{more}"
        return html_table(caption, header, rows, self.warnings)

    def __repr__(self) -> str:
        pairs = self.pairs
        found = sum(pair["qvalue"] <= 0.05 for pair in pairs)
        size = f"{len(self.names)} columns" if self.symmetric else f"{len(self.names)} × {len(self.columns)} columns"
        tested = not self.values_only
        lines = [
            f"{len(pairs)} pairs of {size}, {self.n} rows, by {self.bound}: "
            + (f"{found} with q ≤ 0.05 ({self.correction})" if tested else "values alone"),
            *(
                f"  {pair['x']}, {pair['y']}: {pair['mi']:.4f} {self.unit}"
                + (f" [{pair['low']:.4f}, {pair['high']:.4f}], q = {pair['qvalue']:.3g}" if tested else "")
                for pair in pairs[:5]
            ),
        ]
        lines += [f"  … and {len(pairs) - 5} more in .pairs"] if len(pairs) > 5 else []
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])
