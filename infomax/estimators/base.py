"""The protocol of estimators, and the registry that lists them."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from infomax.bounds.base import Kind
from infomax.estimators.problem import Problem
from infomax.exceptions import InfomaxWarning, TrainingWarning
from infomax.io.stored import MOST_CELLS
from infomax.progress import no_progress
from infomax.statistics.marginals import Floats
from infomax.training.fit import History
from infomax.training.streaming import MOST_DRAWN
from infomax.training.trials import Trial

E = TypeVar("E", bound="type[Estimator]")


@dataclass(frozen=True, eq=False)
class Measurement:
    """The result of an estimator, in nats.

    Attributes:
        value: the estimate. stderr: its standard error.
        gap: how much it may miss: the upper end of the interval is raised by as much.
        local: each row's share of the value, ``(N,)`` in the order of the rows; None where it is not a mean over rows.
        overfitting: how much larger the value is on training rows than on held-out rows.
        rows_at_a_time: how many rows were measured together; None: all.
        kind, ceiling, pvalue, permutations, history, candidates, folds: see :class:`infomax.Estimate`.
        remarks: what the user should know about this value; diagnostics that hold for every estimator are added.

    >>> Measurement(0.5, 0.02, gap=0.01).kind
    'estimate'
    """

    value: float
    stderr: float
    gap: float = 0.0
    local: Floats | None = None
    overfitting: float = 0.0
    rows_at_a_time: int | None = None
    kind: Kind = "estimate"
    ceiling: float | None = None
    pvalue: float | None = None
    permutations: int | None = None
    history: tuple[History, ...] = ()
    remarks: tuple[InfomaxWarning, ...] = ()
    candidates: tuple[Trial, ...] = ()
    folds: tuple[float, ...] = ()


class Estimator(abc.ABC):
    """Mutual information of the samples of a problem.

    A subclass states the facts below, implements :meth:`measure`, and is decorated with :func:`register`. It is then
    found by :func:`infomax.estimate`, the command line, the tables and the contract tests.

    >>> from infomax.estimators import get
    >>> estimator = get("ksg")  # one of its subclasses
    >>> estimator.kind, estimator.trains, estimator.counts_neighbours
    ('estimate', False, True)
    """

    #: Name in the registry, set by :func:`register`.
    name: str = ""
    #: "lower" or "upper" (a bound in expectation), or "estimate" (neither).
    kind: Kind = "estimate"
    #: The largest value possible with N pairs, as text for tables.
    ceiling_formula: str = "none"
    #: Authors, year, arXiv identifier or DOI.
    reference: ClassVar[str]
    #: Computational cost of N pairs, and when to choose this estimator, in a few words.
    cost: ClassVar[str]
    use_when: ClassVar[str]
    #: Whether x, and whether y, is described by a density, which repeated values do not have.
    densities: tuple[bool, bool] = (False, False)
    #: Whether it trains, so that estimators which do not should run first.
    trains: ClassVar[bool] = False
    #: Whether several processes can share its folds.
    shares_folds: ClassVar[bool] = False
    #: Whether exchanging x and y changes nothing; :func:`infomax.estimate` then orders them, so that no bit changes.
    symmetric: ClassVar[bool] = True
    #: Whether it takes the number of neighbours, ``Problem.n_neighbors``.
    counts_neighbours: ClassVar[bool] = False
    #: Whether it measures the conditional mutual information given ``Problem.given``, instead of a difference.
    conditional: ClassVar[bool] = False
    #: Whether it takes codes of nominal columns (``Problem.nominal``), instead of an indicator of each category.
    takes_codes: ClassVar[bool] = False
    #: Whether it takes rows that depend on each other, ``Problem.structure``.
    takes_dependent_rows: ClassVar[bool] = False
    #: How the selected rows are used where they are not all rows.
    usage: ClassVar[str] = "used, drawn at random"
    #: For samples too large to copy: the maximum number of rows and of cells (rows by columns).
    most_rows: ClassVar[int] = MOST_DRAWN
    most_cells: ClassVar[int] = MOST_CELLS

    def check(self, problem: Problem) -> None:  # noqa: B027 - most estimators take every problem
        """Raise before any work unless this estimator can take the problem.

        Raises:
            ValueError: if this estimator does not support the problem.
        """

    def select(self, problem: Problem) -> Problem:
        """The problem with no more rows than this estimator uses."""
        return problem

    def steps(self, problem: Problem) -> int:
        """How many training steps :meth:`measure` takes, for the progress bar."""
        return 0

    @abc.abstractmethod
    def measure(self, problem: Problem, tick: Callable[[int], None] = no_progress) -> Measurement:
        """Estimate the mutual information of ``problem.x`` and ``problem.y``, none of whose columns is constant.

        Args:
            problem: the selected rows. tick: called with the number of training steps done since the last call.
        """


def untrained(kept: str) -> TrainingWarning:
    """The remark that no network was trained; ``kept`` is the part that was fitted nevertheless."""
    return TrainingWarning(
        f"no network was trained: too few rows for a validation set; the value and its interval contain only {kept}"
    )


_REGISTRY: dict[str, type[Estimator]] = {}


def register(name: str) -> Callable[[E], E]:
    """Class decorator: list an estimator under ``name``.

    >>> @register("zero")
    ... class Zero(Estimator):
    ...     def measure(self, problem, tick=no_progress):
    ...         return Measurement(0.0, 0.0)
    >>> get("zero").measure(problem=None).value  # and estimate(x, y, bound="zero") uses it
    0.0
    >>> del _REGISTRY["zero"]
    """

    def add(cls: E) -> E:
        if name in _REGISTRY:
            raise ValueError(f"an estimator named {name!r} is registered already")
        cls.name = name
        _REGISTRY[name] = cls
        return cls

    return add


def names() -> list[str]:
    """Names of the registered estimators, in alphabetical order.

    >>> import infomax.estimators
    >>> names()
    ['default', 'gaussian', 'ksg', 'plugin']
    """
    return sorted(_REGISTRY)


def get(name: str) -> Estimator:
    """The registered estimator of that name.

    Raises:
        KeyError: if there is none.

    >>> import infomax.estimators
    >>> get("plugin").use_when
    'discrete columns on both sides, with many rows for each combination of values'
    """
    return _REGISTRY[name]()
