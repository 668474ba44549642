"""Sums and differences of estimates: their kind and their uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from infomax.bounds.base import KIND_NAMES, Kind
from infomax.results.estimate import Estimate
from infomax.results.tables import data_frame, html_table, pvalue_text
from infomax.statistics.row_structure import RowStructure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


def negated_kind(kind: Kind) -> Kind:
    """The kind of ``-value``: a lower bound becomes an upper one, and the other way round.

    >>> negated_kind("lower"), negated_kind("upper"), negated_kind("estimate")
    ('upper', 'lower', 'estimate')
    """
    negated: dict[Kind, Kind] = {"lower": "upper", "upper": "lower", "estimate": "estimate"}
    return negated[kind]


def combined_kind(terms: Iterable[tuple[int, Kind]]) -> Kind:
    """The kind of a signed sum: that of its terms, each with its sign, if they agree, else "estimate".

    Bounds in expectation add up whether or not their errors correlate. A lower bound less an upper bound is a lower
    bound; a lower bound less a lower bound is neither.

    Args:
        terms: sign (1 or -1) and kind of each.

    Raises:
        ValueError: without terms.

    >>> combined_kind([(1, "lower"), (1, "lower")]), combined_kind([(1, "lower"), (-1, "upper")])
    ('lower', 'lower')
    >>> combined_kind([(1, "lower"), (-1, "lower")])
    'estimate'
    """
    kinds: set[Kind] = {kind if sign > 0 else negated_kind(kind) for sign, kind in terms}
    if not kinds:
        raise ValueError("terms must be at least one; got none")
    return kinds.pop() if len(kinds) == 1 else "estimate"


@dataclass(frozen=True)
class Term:
    """One mutual information of a sum: its sign (1 or -1), what it is (such as "I(x; z)"), and its estimate.

    Raises:
        ValueError: for another sign.

    >>> joint = Estimate(0.9, 0.02, 0.0, "estimate", "ksg", 500)
    >>> Term(1, "I(x; y, z)", joint).estimate.mi
    0.9
    >>> Term(2, "I(x; y, z)", joint)
    Traceback (most recent call last):
    ValueError: sign must be 1 or -1; got 2
    """

    sign: int
    of: str
    estimate: Estimate

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise ValueError(f"sign must be 1 or -1; got {self.sign!r}")


@dataclass(frozen=True, repr=False)
class Composition:
    """A signed sum of mutual informations that were estimated on the same rows, with its uncertainty.

    It has the interface of an :class:`Estimate` (``mi``, ``stderr``, ``kind``, ``confidence_interval``, …), with two
    differences: the gap of a subtracted term lowers the *lower* end of the interval, and the sum may be negative.

    Attributes:
        quantity: its name, such as "I(x; y | z)".
        terms: its signed estimates.
        nonnegative: whether the quantity cannot be negative; the upper end of its interval is then at least 0.
        cautions: warnings about the sum; those of its terms are added.
        tested: p-value and number of surrogates of a test that the quantity is 0, where it has one of its own.

    Raises:
        ValueError: without terms, and for terms with different numbers of rows or units.

    >>> wide = Estimate(0.9, 0.02, 0.0, "lower", "infonce", 500)
    >>> less = Estimate(0.4, 0.01, 0.0, "upper", "l1out", 500)
    >>> Composition("I(x; y | z)", (Term(1, "I(x; y, z)", wide), Term(-1, "I(x; z)", less)))
    0.5000 nats, 95 % interval [0.4412, 0.5588]
      lower bound of I(x; y | z) by infonce, l1out from 500 rows, standard error at most 0.0300
      + I(x; y, z): 0.9000, lower bound by infonce, standard error 0.0200
      - I(x; z): 0.4000, upper bound by l1out, standard error 0.0100
    """

    quantity: str
    terms: tuple[Term, ...]
    nonnegative: bool = True
    cautions: tuple[str, ...] = ()
    tested: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("terms must be at least one; got none")
        for rule, came in (
            ("of the same number of rows", [term.estimate.n for term in self.terms]),
            ("in one unit", [term.estimate.unit for term in self.terms]),
        ):
            if len(set(came)) > 1:
                raise ValueError(f"terms must be {rule}; got {', '.join(map(str, came))}")

    @property
    def mi(self) -> float:
        """The signed sum, in :attr:`unit`. Not clipped."""
        return sum(term.sign * term.estimate.mi for term in self.terms)

    @property
    def stderr(self) -> float:
        """Standard error, from the terms' values on the same rows.

        Where every term has local values (``Estimate.local``), these are added and subtracted row by row, so that
        common errors cancel; the errors of corrections add up. Otherwise it is the sum of the terms' standard errors,
        the largest possible value. :attr:`paired` says which.
        """
        if not self.paired:
            return sum(term.estimate.stderr for term in self.terms)
        shares = [term.sign * term.estimate.local for term in self.terms if term.estimate.local is not None]
        structure = self.terms[0].estimate.structure
        own = 0.0
        for term, share in zip(self.terms, shares, strict=True):
            own += math.sqrt(max(0.0, term.estimate.stderr**2 - _standard_error(share, structure) ** 2))
        return math.hypot(_standard_error(np.sum(shares, axis=0), structure), own)

    @property
    def paired(self) -> bool:
        """Whether every term has local values."""
        return all(term.estimate.local is not None for term in self.terms)

    @property
    def pvalue(self) -> float | None:
        """P-value of the test that the quantity is 0, where a valid one exists.

        That of :attr:`tested`, for information flow between time series; else of a sum of added terms with tests.
        Mutual information is never negative, so a sum is 0 only if each term is: for a total correlation, if all
        variables are independent. The smallest p-value times the number of terms (Bonferroni) is valid however the
        terms depend on each other.

        Else None with a subtracted term. Permuting rows cannot test whether ``x`` and ``y`` are independent *given*
        ``z``, since it would also break the relation with z. For continuous z, no test without assumptions has power
        above its level against any alternative (Shah and Peters 2020, arXiv 1804.07203). Use the interval.
        """
        if self.tested is not None:
            return self.tested[0]
        found = [term.estimate.pvalue for term in self.terms]
        if any(term.sign < 0 for term in self.terms):
            return None
        known = [pvalue for pvalue in found if pvalue is not None]
        return min(1.0, len(known) * min(known)) if len(known) == len(found) else None

    @property
    def least_pvalue(self) -> float:
        """The smallest p-value that the surrogates, or the permutations of the terms, allow."""
        if self.tested is not None:
            return 1 / (1 + self.tested[1])
        return len(self.terms) * min(term.estimate.least_pvalue for term in self.terms)

    @property
    def kind(self) -> Kind:
        """By :func:`combined_kind` of the terms."""
        return combined_kind((term.sign, term.estimate.kind) for term in self.terms)

    @property
    def bound(self) -> str:
        """Name of the bound, or of several with commas."""
        return ", ".join(dict.fromkeys(term.estimate.bound for term in self.terms))

    @property
    def dropped(self) -> int:
        """Rows that were left out because a value is missing."""
        return self.terms[0].estimate.dropped

    @property
    def n(self) -> int:
        """Rows."""
        return self.terms[0].estimate.n

    @property
    def seed(self) -> int:
        """The seed that was given."""
        return self.terms[0].estimate.seed

    @property
    def unit(self) -> Literal["nats", "bits"]:
        """Of the number, the standard error and the interval."""
        return self.terms[0].estimate.unit

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings; those of a term begin with its name."""
        parts = [f"{term.of}: {text}" for term in self.terms for text in term.estimate.warnings]
        return (*self.cautions, *parts)

    def confidence_interval(self, level: float = 0.95) -> tuple[float, float]:
        """``(low, high)``, in the unit of the number.

        The value ± a normal quantile times :attr:`stderr`; the gap of an added term raises the upper end, that of a
        subtracted term lowers the lower end. If a term has no local values, the ends of the terms' own intervals are
        added: the coverage is then at least nominal, however their errors correlate. The upper end of a quantity that
        cannot be negative is at least 0.

        Raises:
            ValueError: if ``level`` is not inside (0, 1).

        >>> joint, alone = (Estimate(mi, 0.02, 0.0, "estimate", "ba", 500) for mi in (0.9, 0.4))
        >>> result = Composition("I(x; y | z)", (Term(1, "I(x; y, z)", joint), Term(-1, "I(x; z)", alone)))
        >>> low, high = result.confidence_interval()
        >>> round(low, 2), round(high, 2)  # the errors of both terms add up
        (0.42, 0.58)
        """
        ends = [(term.sign, *term.estimate.confidence_interval(level)) for term in self.terms]
        if self.paired:
            half = statistics.NormalDist().inv_cdf(0.5 + level / 2) * self.stderr
            gaps = [(term.sign, max(0.0, term.estimate.gap)) for term in self.terms]
            bottom = self.mi - half - sum(gap for sign, gap in gaps if sign < 0)
            top = self.mi + half + sum(gap for sign, gap in gaps if sign > 0)
        else:
            bottom = sum(low if sign > 0 else -high for sign, low, high in ends)
            top = sum(high if sign > 0 else -low for sign, low, high in ends)
        return bottom, max(0.0, top) if self.nonnegative else top

    @property
    def bits(self) -> Composition:
        """The same in bits.

        >>> joint, alone = (Estimate(mi, 0.02, 0.0, "estimate", "ba", 500) for mi in (0.9, 0.4))
        >>> result = Composition("I(x; y | z)", (Term(1, "I(x; y, z)", joint), Term(-1, "I(x; z)", alone)))
        >>> round(result.mi, 2), round(result.bits.mi, 2)
        (0.5, 0.72)
        """
        return replace(self, terms=tuple(replace(term, estimate=term.estimate.bits) for term in self.terms))

    def to_dict(self, *, history: bool = False) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts (JSON-ready), as :meth:`Estimate.to_dict`.

        >>> joint, alone = (Estimate(mi, 0.02, 0.0, "estimate", "ba", 500) for mi in (0.9, 0.4))
        >>> result = Composition("I(x; y | z)", (Term(1, "I(x; y, z)", joint), Term(-1, "I(x; z)", alone)))
        >>> [term["of"] for term in result.to_dict()["terms"]]
        ['I(x; y, z)', 'I(x; z)']
        """
        names = ("quantity", "mi", "stderr", "kind", "bound", "n", "dropped", "seed", "unit", "nonnegative")
        return {
            "pvalue": self.pvalue,
            **{name: getattr(self, name) for name in names},
            "warnings": [*self.warnings],
            "confidence_interval_95": list(self.confidence_interval()),
            "terms": [
                {"sign": term.sign, "of": term.of, **term.estimate.to_dict(history=history)} for term in self.terms
            ],
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """A matplotlib figure: the quantity and its terms, with their 95 % intervals.

        Args:
            ax: axes to draw into; by default those of a new figure, as :meth:`Estimate.plot`.

        Raises:
            ImportError: without matplotlib; ``pip install 'infomax[plot]'``.

        >>> joint, alone = (Estimate(mi, 0.02, 0.0, "estimate", "ba", 500) for mi in (0.9, 0.4))
        >>> result = Composition("I(x; y | z)", (Term(1, "I(x; y, z)", joint), Term(-1, "I(x; z)", alone)))
        >>> figure = result.plot()
        >>> len(figure.axes)
        1
        """
        from infomax.results import plots  # noqa: PLC0415 - matplotlib is an extra

        with plots.style():
            figure, (ax,) = plots.axes_or_new(ax, plots.WIDTH, 1.3 + 0.45 * (1 + len(self.terms)))
            labels = [self.quantity, *(f"{'+' if term.sign > 0 else '−'} {term.of}" for term in self.terms)]
            title = f"{self.quantity} by {self.bound}, {self.n:,} rows: the quantity and its terms"
            plots.plot_comparison(ax, [self, *(term.estimate for term in self.terms)], title, labels=labels)
            ax.axhline(0.5, color="0.7", lw=0.8)
        return figure

    def to_frame(self) -> DataFrame:
        """A pandas data frame: a row for the quantity, then one for each term with its sign.

        Raises:
            ImportError: without pandas; ``pip install pandas``.

        >>> joint, alone = (Estimate(mi, 0.02, 0.0, "estimate", "ba", 500) for mi in (0.9, 0.4))
        >>> result = Composition("I(x; y | z)", (Term(1, "I(x; y, z)", joint), Term(-1, "I(x; z)", alone)))
        >>> result.to_frame()[["of", "sign"]].values.tolist()
        [['I(x; y | z)', 1], ['I(x; y, z)', 1], ['I(x; z)', -1]]
        """
        low, high = self.confidence_interval()
        own = {"mi": self.mi, "stderr": self.stderr, "low_95": low, "high_95": high, "pvalue": self.pvalue}
        facts = {name: getattr(self, name) for name in ("n", "dropped", "kind", "bound", "unit", "seed")}
        parts = [{"of": term.of, "sign": term.sign, **term.estimate.row()} for term in self.terms]
        return data_frame([{"of": self.quantity, "sign": 1, **own, **facts}, *parts])

    def _repr_html_(self) -> str:
        header = ["", self.unit, "95 % interval", "standard error", "kind"]
        named: list[tuple[str, Composition | Estimate]] = [(self.quantity, self)]
        named += [(f"{'+' if term.sign > 0 else '−'} {term.of}", term.estimate) for term in self.terms]
        rows = []
        for name, part in named:
            low, high = part.confidence_interval()
            numbers = [f"{part.mi:.4f}", f"{low:.4f} to {high:.4f}", f"{part.stderr:.4f}"]
            rows.append([name, *numbers, KIND_NAMES[part.kind]])
        test = "" if self.pvalue is None else f", p {pvalue_text(self.pvalue, self.least_pvalue)}"
        return html_table(f"{self.quantity} by {self.bound}, {self.n} rows{test}", header, rows, self.warnings)

    def __float__(self) -> float:
        return self.mi

    def __repr__(self) -> str:
        low, high = self.confidence_interval()
        null = "independence" if self.tested is None else "a value of 0"
        test = "" if self.pvalue is None else f", p {pvalue_text(self.pvalue, self.least_pvalue)} for {null}"
        rows = f"{self.n} rows" + (f" ({self.dropped} with missing values dropped)" if self.dropped else "")
        lines = [
            f"{self.mi:.4f} {self.unit}, 95 % interval [{low:.4f}, {high:.4f}]",
            f"  {KIND_NAMES[self.kind]} of {self.quantity} by {self.bound} from {rows}, standard error "
            f"{'' if self.paired else 'at most '}{self.stderr:.4f}{test}",
        ]
        for term in self.terms:
            sign = "+" if term.sign > 0 else "-"
            lines.append(f"  {sign} {term.of}: {summary(term.estimate)}")
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])


def _standard_error(values: NDArray[np.float64], structure: RowStructure | None) -> float:
    """Of their mean, over the groups or blocks of rows where rows depend on each other."""
    return float(values.std()) / math.sqrt(len(values)) if structure is None else structure.mean_error(values)


def summary(estimate: Estimate) -> str:
    """Value, kind, bound and standard error in one line."""
    return f"{estimate.mi:.4f}, {KIND_NAMES[estimate.kind]} by {estimate.bound}, standard error {estimate.stderr:.4f}"
