"""Sums and differences of estimates: what kind of number they are, and how far they may be off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from infomax.bounds.base import Kind
from infomax.result import Estimate


def negated_kind(kind: Kind) -> Kind:
    """The kind of ``-value``: a lower bound becomes an upper one, and the other way round.

    >>> negated_kind("lower"), negated_kind("upper"), negated_kind("estimate")
    ('upper', 'lower', 'estimate')
    """
    negated: dict[Kind, Kind] = {"lower": "upper", "upper": "lower", "estimate": "estimate"}
    return negated[kind]


def combined_kind(terms: Iterable[tuple[int, Kind]]) -> Kind:
    """The kind of a signed sum: that of its terms, each with its sign, if they agree, else "estimate".

    Bounds in expectation add up whether or not their errors correlate. A lower bound less an upper one is lower; less
    another lower one it is neither.

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

    It reads as an :class:`Estimate` does (``mi``, ``stderr``, ``kind``, ``confidence_interval``, …). An Estimate could
    not say two things: that what training missed in a subtracted term moves the *lower* end of the interval, and that
    the sum may be negative.

    Attributes:
        quantity: what it is, such as "I(x; y | z)".
        terms: the estimates that it is made of.
        nonnegative: whether the quantity is never below 0, so that neither is the upper end of its interval.
        cautions: what a reader should know before believing the number, beyond what the terms say of themselves.

    Raises:
        ValueError: without terms, and for terms of different rows or units.

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
        """The largest standard error that those of the terms allow: their sum.

        The terms are measured on the same rows, so their errors correlate; by how much, the estimates do not know. Of a
        sum or difference of two, the standard error lies between the difference and the sum of theirs. Where terms of
        about the same size are subtracted it is far below the sum (for normal pairs with nothing left given z, at 1,000
        rows: 0.001 where this says 0.045), and small differences are not told from 0 as they could be.
        """
        return sum(term.estimate.stderr for term in self.terms)

    @property
    def kind(self) -> Kind:
        """By :func:`combined_kind` of the terms."""
        return combined_kind((term.sign, term.estimate.kind) for term in self.terms)

    @property
    def bound(self) -> str:
        """Name of the bound, or of several with commas."""
        return ", ".join(dict.fromkeys(term.estimate.bound for term in self.terms))

    @property
    def n(self) -> int:
        """Rows."""
        return self.terms[0].estimate.n

    @property
    def seed(self) -> int:
        """As given."""
        return self.terms[0].estimate.seed

    @property
    def unit(self) -> Literal["nats", "bits"]:
        """Of the number, the standard error and the interval."""
        return self.terms[0].estimate.unit

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before believing the number; of a term, with that term in front."""
        parts = [f"{term.of}: {text}" for term in self.terms for text in term.estimate.warnings]
        return (*self.cautions, *parts)

    def confidence_interval(self, level: float = 0.95) -> tuple[float, float]:
        """``(low, high)``, in the unit of the number: the sums of the ends that the terms' own intervals have.

        An added term brings its lower end to the lower end, a subtracted one its upper end. The half widths add up, as
        :attr:`stderr` does, so the interval covers at least as often as those of the terms, however their errors
        correlate. The upper end of what cannot be negative never lies below 0.

        Raises:
            ValueError: if ``level`` is not inside (0, 1).
        """
        ends = [(term.sign, *term.estimate.confidence_interval(level)) for term in self.terms]
        bottom = sum(low if sign > 0 else -high for sign, low, high in ends)
        top = sum(high if sign > 0 else -low for sign, low, high in ends)
        return bottom, max(0.0, top) if self.nonnegative else top

    @property
    def bits(self) -> Composition:
        """The same in bits."""
        return replace(self, terms=tuple(replace(term, estimate=term.estimate.bits) for term in self.terms))

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers, strings, lists and dicts (JSON-ready), with the 95 % interval."""
        names = ("quantity", "mi", "stderr", "kind", "bound", "n", "seed", "unit", "nonnegative")
        return {
            **{name: getattr(self, name) for name in names},
            "warnings": [*self.warnings],
            "confidence_interval_95": list(self.confidence_interval()),
            "terms": [{"sign": term.sign, "of": term.of, **term.estimate.to_dict()} for term in self.terms],
        }

    def __float__(self) -> float:
        return self.mi

    def __repr__(self) -> str:
        low, high = self.confidence_interval()
        lines = [
            f"{self.mi:.4f} {self.unit}, 95 % interval [{low:.4f}, {high:.4f}]",
            f"  {NATURES[self.kind]} of {self.quantity} by {self.bound} from {self.n} rows, standard error at most "
            f"{self.stderr:.4f}",
        ]
        for term in self.terms:
            sign = "+" if term.sign > 0 else "-"
            lines.append(f"  {sign} {term.of}: {summary(term.estimate)}")
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])


#: What a kind is called.
NATURES: dict[Kind, str] = {"lower": "lower bound", "upper": "upper bound", "estimate": "estimate"}


def summary(estimate: Estimate) -> str:
    """Value, kind, bound and standard error, on one line."""
    return f"{estimate.mi:.4f}, {NATURES[estimate.kind]} by {estimate.bound}, standard error {estimate.stderr:.4f}"
