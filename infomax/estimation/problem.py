"""What :func:`infomax.estimate` is to do: checked samples, and how each bound has them split and standardised."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax import bounds
from infomax.bounds import Bound
from infomax.critics.networks import reset
from infomax.estimators import classical
from infomax.estimators.default import estimator as anchored
from infomax.io.batches import stays
from infomax.io.naming import unknown
from infomax.io.samples import Floats, as_pair
from infomax.io.stored import MOST_CELLS
from infomax.statistics.marginals import Margins, fit_margins
from infomax.training.fit import Schedule, seeded
from infomax.training.streaming import MOST_DRAWN, MOST_MEASURED, MOST_TRAINED, Sampled, draw_rows

#: Fewest rows that can be split, fitted, validated and measured.
LEAST_ROWS = 20
#: Cells that "anchored", which holds each several times, takes at most of samples that are not copied whole.
MOST_ANCHORED = 6 * 2**20

BoundLike = str | Bound
#: What :func:`estimate` uses unless another bound is wanted.
DEFAULT = anchored.ESTIMATOR.name


@dataclass(frozen=True, eq=False)
class Problem:
    """Checked samples, and how to split, standardise and fit them; of larger ones, rows drawn from them."""

    x: Floats
    y: Floats
    _: KW_ONLY
    rows: int  # of the samples as they came
    sampled: Sampled | None
    seed: int
    device: torch.device
    quick: bool
    folds: int | None
    margins: Margins
    schedule: Schedule | None
    shared: bool  # whether the folds of a bound are shared out

    @staticmethod
    def of(x: Any, y: Any, candidates: Sequence[BoundLike], *, seed: int, **options: Any) -> Problem:
        """Of samples as a user passes them, whole or, where they stay where they are, drawn for these bounds."""
        if not stays((x, y)):
            x, y = as_pair(x, y, least=LEAST_ROWS, stacklevel=6)
            return Problem(x, y, rows=len(x), sampled=None, seed=seed, **options)
        most, cells = MOST_DRAWN if any(map(is_classical, candidates)) else MOST_TRAINED, MOST_CELLS
        if all(candidate == DEFAULT for candidate in candidates):
            most, cells = MOST_MEASURED, MOST_ANCHORED
        sampled = Sampled.of({"x": x, "y": y}, least=LEAST_ROWS, seed=seed, most=most, cells=cells, stacklevel=5)
        return Problem(
            sampled.drawn["x"], sampled.drawn["y"], rows=len(sampled.aligned), sampled=sampled, seed=seed, **options
        )

    def looked_at(self) -> tuple[Floats, Floats]:
        """Rows that are judged before anything is computed."""
        some = slice(None) if self.sampled is None else slice(MOST_MEASURED)
        return self.x[some], self.y[some]

    def for_bound(self, bound: BoundLike) -> Problem:
        """With no more rows than this bound takes."""
        if bound == DEFAULT:
            cells = MOST_ANCHORED // max(1, self.x.shape[1] + self.y.shape[1])
            most = MOST_MEASURED if self.sampled is None else min(MOST_MEASURED, max(LEAST_ROWS, cells))
        elif self.sampled is None or is_classical(bound):
            most = len(self.x)
        else:
            most = self.sampled.measured
            return replace(self, x=self.x[:most], y=self.y[:most])
        if len(self.x) <= most:
            return self
        rng = np.random.default_rng(self.seed)
        kept = np.sort(draw_rows(len(self.x), most, rng)) if self.sampled is None else np.arange(most)
        sides = (side[kept] for side in (self.x, self.y))
        # A column of one value among so many rows tells next to nothing, and no method could use it.
        x, y = (side[:, (side != side[0]).any(0)] for side in sides)
        return replace(self, x=x, y=y)

    def folds_of(self, bound: BoundLike) -> int:
        """How many folds the rows are split into for this bound."""
        if self.sampled is not None and bound != DEFAULT:
            return min(self.folds or 1, len(self.x) // 4)
        usual = anchored.default_folds(len(self.x), quick=self.quick) if bound == DEFAULT else 2 if self.quick else 5
        return min(self.folds or usual, len(self.x) // 4)

    def schedule_of(self, bound: BoundLike) -> Schedule:
        """How this bound is trained."""
        if self.schedule is not None:
            return self.schedule
        if bound == DEFAULT:
            return anchored.default_schedule(len(self.x), quick=self.quick)
        return Schedule(steps=200) if self.quick else Schedule()

    def steps_of(self, bound: BoundLike) -> int:
        """How many steps it is trained in all; the folds of "anchored" are trained together."""
        if is_classical(bound):
            return 0
        return self.schedule_of(bound).steps * (1 if bound == DEFAULT else self.folds_of(bound))

    def trains(self, bound: BoundLike) -> bool:
        """Whether the bound is fitted to each fold's rows."""
        return bound != DEFAULT and not is_classical(bound) and bool(self.x.shape[1] and self.y.shape[1])

    @torch.no_grad()
    def check(self, bound: BoundLike) -> None:
        """Raise unless a bound that was passed as a module fits these samples; tried on four of them."""
        if bound == DEFAULT and self.margins != "normal":
            raise ValueError(f"margins must be 'normal' for {DEFAULT!r}; got {self.margins!r}")
        dims = self.x.shape[1], self.y.shape[1]
        if not isinstance(bound, Bound) or not all(dims):
            return
        if (bound.x_dim, bound.y_dim) != dims:
            came = (bound.x_dim, bound.y_dim)
            raise ValueError(
                f"bound must have dimensions {dims}, those of x and y without constant columns; got {came}"
            )
        if bound.fixed_units() and self.margins != "none":
            raise ValueError(f"margins must be 'none' for a bound with a known entropy of y; got {self.margins!r}")
        with seeded(0, self.device):
            copy.deepcopy(bound).float().to(self.device).eval()(*self._tensors(self.x[:4], self.y[:4]))

    def build(self, bound: BoundLike, n: int) -> Bound:
        """A fresh bound for one fold: from its name, or a copy that has forgotten what it learned."""
        if isinstance(bound, Bound):
            again = copy.deepcopy(bound)
            reset(again)
        else:
            again = bounds.get(bound).for_estimation(self.x.shape[1], self.y.shape[1], n)
        return again.float().to(self.device)

    def prepare(self, parts: Sequence[NDArray[np.int64]]) -> list[tuple[Tensor, Tensor]]:
        """Each part of the rows as tensors, standardised with the statistics of the first (the training rows)."""
        maps = [fit_margins(values[parts[0]], self.margins) for values in (self.x, self.y)]
        return [self._tensors(maps[0](self.x[rows]), maps[1](self.y[rows])) for rows in parts]

    def _tensors(self, x: Floats, y: Floats) -> tuple[Tensor, Tensor]:
        narrow = [torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)) for values in (x, y)]
        return narrow[0].to(self.device), narrow[1].to(self.device)


def check_device(device: str | torch.device | None) -> torch.device:
    """The device, the CPU for none.

    Raises:
        ValueError: if torch cannot use it here.
    """
    try:
        found = torch.device("cpu" if device is None else device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device must be one that torch can use here; got {device!r} ({error})") from None
    return found


def is_classical(bound: BoundLike) -> bool:
    """Whether it is an estimator that trains nothing."""
    return isinstance(bound, str) and bound in classical.ESTIMATORS


def check_bound(bound: object) -> None:
    """Raise unless :func:`estimate` knows this bound: ValueError for a name, TypeError for what is none."""
    if isinstance(bound, str) and bound != DEFAULT and not is_classical(bound):
        try:
            bounds.get(bound)
        except ValueError:
            known = [DEFAULT, *bounds.names(), *classical.ESTIMATORS]
            raise ValueError(unknown("bound", bound, known)) from None
    elif not isinstance(bound, str | Bound):
        came = f"the class {bound.__name__}" if isinstance(bound, type) else type(bound).__name__
        raise TypeError(f"bound must be a name or an infomax.Bound; got {came}")
