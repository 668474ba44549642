"""The protocol of candidates of the default estimator, what they are fitted on, and the registry that lists them."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.statistics.marginals import Floats, fit_margins, normal_scores

Rows = NDArray[np.int64]
C = TypeVar("C", bound="type[Candidate]")

#: A column with fewer distinct values than this is discrete.
FEWEST_DISTINCT = 20
#: A value with this share of a column's rows is an atom; with the second share it makes the column discrete.
_ATOM, _DISCRETE_ATOM = 0.02, 0.1
_MOST_ATOMS = 32
#: Of a side with more columns than this, atoms are not inputs.
WIDE = 8


@dataclass(frozen=True, eq=False)
class Side:
    """One side: its columns, standardised and as normal scores, and what is discrete about them.

    Attributes:
        values: the columns with mean 0 and variance 1, ``(N, D)``, float64.
        scores: their normal scores, ``(N, D)``, float64.
        atoms: indicators of frequent values, ``(N, A)``, float64; none for more than eight columns.
        discrete: whether a column is discrete.

    >>> side = Side.of(np.random.default_rng(0).normal(size=(100, 3)))
    >>> len(side), side.dim, bool(side.discrete)
    (100, 3, False)
    """

    values: Tensor
    scores: Tensor
    atoms: Tensor
    discrete: bool

    @staticmethod
    def of(samples: Floats) -> Side:
        """From finite samples ``(N, D)`` without constant columns."""
        n = len(samples)
        indicators, discrete = [], False
        for column in samples.T:
            values, counts = np.unique(column, return_counts=True)
            heaviest = counts.max() / n
            discrete |= len(values) < min(FEWEST_DISTINCT, n // 2) or heaviest >= _DISCRETE_ATOM
            frequent = counts >= max(_ATOM * n, 5)
            most = values[frequent][np.argsort(-counts[frequent], kind="stable")][:_MOST_ATOMS]
            indicators += [column == value for value in most]
        wide = samples.shape[1] > WIDE
        atoms = np.stack(indicators, 1) if indicators and not wide else np.zeros((n, 0))
        standard = torch.from_numpy(fit_margins(samples, "standard")(samples))
        scores = torch.from_numpy(normal_scores(samples))
        return Side(standard, scores, torch.from_numpy(atoms.astype(np.float64)), discrete)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: Rows | Tensor) -> Side:
        index = torch.as_tensor(rows)
        return Side(self.values[index], self.scores[index], self.atoms[index], self.discrete)

    @property
    def dim(self) -> int:
        """Number of columns."""
        return self.scores.shape[1]


class LogRatio(abc.ABC):
    """A fitted candidate: the log-ratio of any x and any y, in two steps, so that each row is transformed once.

    >>> from infomax.estimators.candidates import get
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> one, two = Side.of(x[:, :1]), Side.of(x[:, 1:])
    >>> ratio = get("elliptical").fit(one, two, torch.Generator().manual_seed(0))
    >>> ratio.scores(*ratio.embed(one, two)).shape
    torch.Size([200, 200])
    """

    @abc.abstractmethod
    def embed(self, x: Side, y: Side) -> tuple[Tensor, Tensor]:
        """What :meth:`scores` needs of each row of x and of each row of y: ``(N, Fx)``, ``(M, Fy)``."""

    @abc.abstractmethod
    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-ratio of every x with every y, from their embeddings: ``(N, M)``, nats."""


class Candidate(abc.ABC):
    """A model of one structure for the default estimator.

    A subclass states the facts below, implements :meth:`fit`, and is decorated with :func:`register`. The default then
    compares it with the other candidates on held-out rows, and the contract tests cover it.

    >>> from infomax.estimators.candidates import get
    >>> candidate = get("elliptical")  # one of its subclasses
    >>> candidate.name, candidate.complexity
    ('elliptical', 0)
    """

    #: Name in the registry, set by :func:`register`.
    name: str = ""
    #: The structure under which its log-ratio is exact, in a few words.
    assumes: ClassVar[str]
    #: Computational cost of N pairs.
    cost: ClassVar[str]
    #: Authors, year, arXiv identifier or DOI.
    reference: ClassVar[str]
    #: Order of comparison: simpler models come first, and win ties.
    complexity: ClassVar[int]

    def suits(self, x: Side, y: Side) -> bool:
        """Whether the candidate can be fitted to samples of this size and kind at a reasonable cost."""
        return True

    @abc.abstractmethod
    def fit(self, x: Side, y: Side, generator: torch.Generator) -> LogRatio:
        """Fit to training rows, of which row i of x is paired with row i of y.

        Args:
            x, y: training rows. generator: for random numbers, on the CPU.
        """


_REGISTRY: dict[str, type[Candidate]] = {}


def register(name: str) -> Callable[[C], C]:
    """Class decorator: list a candidate under ``name``.

    >>> @register("empty")
    ... class Empty(Candidate):
    ...     assumes, cost, reference, complexity = "nothing", "none", "none", 99
    ...     def fit(self, x, y, generator):
    ...         raise NotImplementedError
    >>> type(get("empty")).__name__
    'Empty'
    >>> del _REGISTRY["empty"]
    """

    def add(cls: C) -> C:
        if name in _REGISTRY:
            raise ValueError(f"a candidate named {name!r} is registered already")
        cls.name = name
        _REGISTRY[name] = cls
        return cls

    return add


def names() -> list[str]:
    """Names of the registered candidates, the simplest first.

    >>> import infomax.estimators.candidates
    >>> names()
    ['elliptical', 'components', 'mixture', 'pairs']
    """
    return sorted(_REGISTRY, key=lambda name: (_REGISTRY[name].complexity, name))


def get(name: str) -> Candidate:
    """The registered candidate of that name.

    Raises:
        KeyError: if there is none.

    >>> import infomax.estimators.candidates
    >>> get("mixture").assumes
    'rows fall into clusters, within each of which x and y are jointly normal'
    """
    return _REGISTRY[name]()
