"""A lower and an upper bound of one mutual information, together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from infomax.bounds.base import KIND_NAMES
from infomax.bounds.contrastive import Contrastive
from infomax.estimation.estimate import estimates
from infomax.estimators import BoundLike, Estimator, TrainedBound, chosen
from infomax.exceptions import TrainingWarning
from infomax.results.composition import summary
from infomax.results.estimate import Estimate
from infomax.results.tables import data_frame, html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Bracket:
    """A lower and an upper bound of one mutual information, from the same split of the same rows.

    Attributes:
        lower, upper: their estimates.
        assumption: under which the upper estimate is a bound; empty if it needs none.
        cautions: warnings about the two together; their own are added.

    >>> lower = Estimate(0.78, 0.02, 0.0, "lower", "infonce", 500)
    >>> upper = Estimate(0.84, 0.03, 0.0, "upper", "l1out", 500)
    >>> low, high = Bracket(lower, upper).confidence_interval()
    >>> round(low, 2), round(high, 2)
    (0.74, 0.9)
    """

    lower: Estimate
    upper: Estimate
    assumption: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Rows."""
        return self.lower.n

    @property
    def unit(self) -> Literal["nats", "bits"]:
        """Of both ends."""
        return self.lower.unit

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings; those of one estimate begin with its side."""
        sides = (("lower", self.lower), ("upper", self.upper))
        return (*self.cautions, *(f"{side}: {text}" for side, end in sides for text in end.warnings))

    def confidence_interval(self, level: float = 0.95) -> tuple[float, float]:
        """``(low, high)``: the lower end of the lower bound's interval, the upper end of the upper bound's.

        Each end errs with probability at most (1 - level) / 2, so the coverage is at least ``level`` if the bounds hold
        (see :attr:`assumption`). Where the lower end exceeds the upper one, they cannot both hold; the interval is then
        the union of both statements.

        Raises:
            ValueError: if ``level`` is not inside (0, 1).

        >>> lower = Estimate(0.78, 0.02, 0.0, "lower", "infonce", 500)
        >>> result = Bracket(lower, Estimate(0.84, 0.03, 0.0, "upper", "l1out", 500))
        >>> low, high = result.confidence_interval(0.9)
        >>> round(low, 2), round(high, 2)
        (0.75, 0.89)
        """
        below, above = self.lower.confidence_interval(level), self.upper.confidence_interval(level)
        return (below[0], above[1]) if below[0] <= above[1] else (above[0], below[1])

    @property
    def bits(self) -> Bracket:
        """The same in bits.

        >>> lower = Estimate(0.78, 0.02, 0.0, "lower", "infonce", 500)
        >>> result = Bracket(lower, Estimate(0.84, 0.03, 0.0, "upper", "l1out", 500))
        >>> round(result.bits.lower.mi, 2), result.bits.unit
        (1.13, 'bits')
        """
        return replace(self, lower=self.lower.bits, upper=self.upper.bits)

    def to_dict(self, *, history: bool = False) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts (JSON-ready), as :meth:`Estimate.to_dict`.

        >>> lower = Estimate(0.78, 0.02, 0.0, "lower", "infonce", 500)
        >>> result = Bracket(lower, Estimate(0.84, 0.03, 0.0, "upper", "l1out", 500))
        >>> result.to_dict()["lower"]["bound"]
        'infonce'
        """
        return {
            "lower": self.lower.to_dict(history=history),
            "upper": self.upper.to_dict(history=history),
            "n": self.n,
            "unit": self.unit,
            "assumption": self.assumption,
            "warnings": [*self.warnings],
            "confidence_interval_95": list(self.confidence_interval()),
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """A matplotlib figure: both bounds with their 95 % intervals, and the interval of the mutual information.

        Args:
            ax: axes to draw into; by default those of a new figure, as :meth:`Estimate.plot`.

        Raises:
            ImportError: without matplotlib; ``pip install 'infomax[plot]'``.

        >>> lower = Estimate(0.78, 0.02, 0.0, "lower", "infonce", 500)
        >>> result = Bracket(lower, Estimate(0.84, 0.03, 0.0, "upper", "l1out", 500))
        >>> figure = result.plot()
        >>> len(figure.axes)
        1
        """
        from infomax.results import plots  # noqa: PLC0415 - matplotlib is an extra

        with plots.style():
            figure, (ax,) = plots.axes_or_new(ax, plots.WIDTH, 2.5)
            ax.axvspan(*self.confidence_interval(), color="0.92", lw=0, zorder=0)
            ends = [self.lower, self.upper]
            labels = [f"{end.bound}, {side}" for end, side in zip(ends, ("lower", "upper"), strict=True)]
            title = f"two sides of the mutual information of {self.n:,} pairs (band: 95 % interval)"
            plots.plot_comparison(ax, ends, title, labels=labels)
        return figure

    def to_frame(self) -> DataFrame:
        """A pandas data frame of two rows, the lower and the upper bound.

        Raises:
            ImportError: without pandas; ``pip install pandas``.

        >>> lower = Estimate(0.78, 0.02, 0.0, "lower", "infonce", 500)
        >>> result = Bracket(lower, Estimate(0.84, 0.03, 0.0, "upper", "l1out", 500))
        >>> result.to_frame()["side"].tolist()
        ['lower', 'upper']
        """
        return data_frame([{"side": "lower", **self.lower.row()}, {"side": "upper", **self.upper.row()}])

    def _repr_html_(self) -> str:
        rows = []
        for side, end in (("lower", self.lower), ("upper", self.upper)):
            low, high = end.confidence_interval()
            rows.append([side, end.bound, f"{end.mi:.4f}", f"{low:.4f} to {high:.4f}", KIND_NAMES[end.kind]])
        low, high = self.confidence_interval()
        caption = f"Mutual information of {self.n} pairs: 95 % interval {low:.4f} to {high:.4f} {self.unit}"
        notes = [*([f"assumption: {self.assumption}"] if self.assumption else []), *self.warnings]
        return html_table(caption, ["side", "bound", self.unit, "95 % interval", "kind"], rows, notes)

    def __repr__(self) -> str:
        low, high = self.confidence_interval()
        lines = [
            f"{self.lower.mi:.4f} to {self.upper.mi:.4f} {self.unit}, 95 % interval [{low:.4f}, {high:.4f}]",
            f"  from {self.n} pairs",
            f"  lower: {summary(self.lower)}",
            f"  upper: {summary(self.upper)}",
        ]
        lines += [f"  assumption: {self.assumption}"] if self.assumption else []
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])


def bracket(x: Any, y: Any, *, lower: BoundLike = "infonce", upper: BoundLike = "club", **options: Any) -> Bracket:
    r"""Estimate a lower and an upper bound of the mutual information of ``x`` and ``y``.

    Both are estimated on the same split. No upper bound holds without assumptions. An upper bound from a learned
    density q(y | x) holds if that is the true conditional; the result says so unless the bound's kind is "upper".

    Args:
        x, y: samples, as for :func:`infomax.estimate`.
        lower: a bound of kind "lower".
        upper: one of kind "upper", or an estimate by a density q(y | x). CLUB is far above the truth, for most
            approximate q as well; "l1out" is tight if q is right, and too small if it is not.
        options: other keywords of :func:`infomax.estimate`.

    Returns:
        a :class:`Bracket`, in nats.

    Raises:
        ValueError, TypeError: as :func:`infomax.estimate`, and for bounds of another kind.

    Source: Poole et al., "On Variational Bounds of Mutual Information", 2019, arXiv 1905.06922; for the upper
    bound, Cheng et al., "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", 2020, arXiv 2006.12013.

    >>> import numpy as np
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 1000))
    >>> result = bracket(x, x + noise, upper="ba", quick=True, progress=False)
    >>> low, high = result.confidence_interval()
    >>> bool(low < 0.5 * np.log(2) < high)  # the truth
    True
    >>> result.assumption
    'the upper end is a bound only if q(y | x) of ba is the true conditional density'
    """
    if "bound" in options:
        raise TypeError(f"a bracket has two bounds, lower and upper; got bound={options['bound']!r}")
    low_facts, high_facts = _estimator(lower, "lower"), _estimator(upper, "upper")
    if low_facts.kind != "lower":
        raise ValueError(f"lower must be a bound of kind 'lower'; got {low_facts.name!r}, of kind {low_facts.kind!r}")
    if high_facts.kind != "upper" and not _has_conditional(high_facts):
        raise ValueError(
            f"upper must be a bound of kind 'upper', or an estimate by a density q(y | x); got {high_facts.name!r}, of "
            f"kind {high_facts.kind!r}"
        )
    nominal = options.pop("nominal_x", "auto"), options.pop("nominal_y", "auto")
    judged = estimates(x, y, bound=[lower, upper], nominal=nominal, **options)
    for result, remarks in judged:
        for remark in remarks:
            warnings.warn(f"bracket: {result.bound}: {remark}", type(remark), stacklevel=2)
    (low, _), (high, _) = judged
    proven = high.kind == "upper" or high.stderr == 0  # an exact 0
    assumption = (
        "" if proven else f"the upper end is a bound only if q(y | x) of {high.bound} is the true conditional density"
    )
    cautions = []
    if low.mi - high.mi > 2 * (low.stderr + high.stderr):
        text = (
            f"the lower bound exceeds the upper bound: q(y | x) of {high.bound} is not the true conditional, or one of "
            "the two failed to train"
        )
        cautions.append(text)
        warnings.warn(f"bracket: {text}", TrainingWarning, stacklevel=2)
    return Bracket(low, high, assumption, tuple(cautions))


def _estimator(bound: BoundLike, argument: str) -> Estimator:
    """The estimator, which states the kind and the name of a bound."""
    try:
        return chosen(bound)
    except TypeError:
        raise TypeError(f"{argument} must be a name or an infomax.Bound; got {bound!r}") from None
    except ValueError as error:
        raise ValueError(f"{argument} must be a known bound: {error}") from None


def _has_conditional(estimator: Estimator) -> bool:
    """Whether it is an estimate by a density q(y | x): a trained bound that scores no pairs."""
    if not isinstance(estimator, TrainedBound):
        return False
    return estimator.kind == "estimate" and not issubclass(estimator.family, Contrastive)
