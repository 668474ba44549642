"""`estimate`: check the samples, let each estimator measure them, diagnose the values → :class:`Estimate`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.bounds import Bound
from infomax.distributed.ranks import check_same, rank, shared_out, world_size
from infomax.estimation.dependence import judge_rows, judge_structure, row_structure
from infomax.estimation.diagnostics import judge_result, judge_samples
from infomax.estimators import BoundLike, Estimator, Problem, chosen, get
from infomax.estimators import names as estimator_names
from infomax.exceptions import InfomaxWarning, SubsampleWarning
from infomax.io.columns import Nominal
from infomax.io.samples import Floats, Missing, check_indexes
from infomax.isolation import isolated
from infomax.progress import progress_bar
from infomax.results.estimate import Estimate
from infomax.seeds import RandomState, seed_of
from infomax.statistics.counts import entropy_limit
from infomax.statistics.labels import Booleans
from infomax.statistics.marginals import Margins, fit_margins
from infomax.training.fit import Schedule


@overload
def estimate(
    x: Any,
    y: Any,
    *,
    bound: BoundLike = ...,
    seed: int | None = ...,
    random_state: RandomState = ...,
    device: str | torch.device | None = ...,
    progress: bool = ...,
    quick: bool = ...,
    folds: int | None = ...,
    margins: Margins = ...,
    schedule: Schedule | None = ...,
    n_neighbors: int | None = ...,
    groups: Any = ...,
    block_length: int | Literal["auto"] | None = ...,
    shared: bool = ...,
    nominal_x: Nominal = ...,
    nominal_y: Nominal = ...,
    missing: Missing = ...,
) -> Estimate: ...
@overload
def estimate(
    x: Any,
    y: Any,
    *,
    bound: list[BoundLike] | list[str] | list[Bound],
    seed: int | None = ...,
    random_state: RandomState = ...,
    device: str | torch.device | None = ...,
    progress: bool = ...,
    quick: bool = ...,
    folds: int | None = ...,
    margins: Margins = ...,
    schedule: Schedule | None = ...,
    n_neighbors: int | None = ...,
    groups: Any = ...,
    block_length: int | Literal["auto"] | None = ...,
    shared: bool = ...,
    nominal_x: Nominal = ...,
    nominal_y: Nominal = ...,
    missing: Missing = ...,
) -> list[Estimate]: ...
def estimate(
    x: Any,
    y: Any,
    *,
    bound: BoundLike | Sequence[BoundLike] = "default",
    seed: int | None = None,
    random_state: RandomState = None,
    device: str | torch.device | None = None,
    progress: bool = True,
    quick: bool = False,
    folds: int | None = None,
    margins: Margins = "normal",
    schedule: Schedule | None = None,
    n_neighbors: int | None = None,
    groups: Any = None,
    block_length: int | Literal["auto"] | None = None,
    shared: bool = False,
    nominal_x: Nominal = "auto",
    nominal_y: Nominal = "auto",
    missing: Missing = "raise",
) -> Estimate | list[Estimate]:
    """Estimate the mutual information of ``x`` and ``y``, with an interval.

    The rows are split into folds (cross-fitting). For each fold an estimator is fitted on the other rows, of which at
    least a tenth are validation rows that stop training, and measured on the held-out fold. So every row is measured
    once, by a model that it did not train. By default the model is a log-ratio that stacks an elliptical copula and a
    network for its residual (:func:`infomax.estimators.default.measure`). It is an estimate, not a bound: the most
    accurate one here without tuning. It comes with a test of independence, ``pvalue``.

    Args:
        x, y: samples, ``(N,)`` or ``(N, D)``, of numbers, booleans, text, categories or dates: numpy arrays, memory
            maps, :class:`StoredColumns`, torch tensors, data frames and series (pandas, polars), Arrow tables, xarray
            objects or sequences. Row i of ``x`` is paired with row i of ``y`` by position. At least 20 rows. From a
            column of integers beyond 2⁵³, which float64 would round, an offset is subtracted without rounding; mutual
            information does not change.
        bound: "default", a name from :func:`infomax.bounds.names` or :func:`infomax.estimators.names`, a
            :class:`~infomax.Bound` of matching dimensions, or a list of these for a list of estimates. Copies of a
            module are fitted from new initial parameters (``reset_parameters`` of its parts). Parts without that
            method, and frozen ones, are used as they are, and must not have been trained on these rows. The module
            itself does not change.
        seed: decides the split, the initial parameters and the batches; the same seed gives the same number. By default
            0. random_state: instead of it, as in scikit-learn: a whole number or a generator of numpy, which draws it.
        device: where to compute; by default the device of ``x`` if that is a tensor, else the CPU.
        progress: show a bar on standard error (with tqdm installed).
        quick: two folds and short training, for a first look.
        folds: number of folds, 2 or more, at most a quarter of the rows; by default 5, or 2 if quick. "default" uses 10
            below 4,000 rows.
        margins: how the marginals are standardised, with the statistics of the training rows: "normal" (normal scores,
            see :func:`infomax.statistics.fit_margins`), "standard" or "none". "default" and "gaussian" use
            normal scores only.
        schedule: steps, batch size and learning rate.
        n_neighbors: number of nearest neighbours k of "ksg", in 1..N-1; by default 3. More have less variance and more
            bias.
        groups: a label for each row, ``(N,)``, of numbers or text: rows with equal labels, as those of one subject,
            depend on each other. Folds, permutations and standard errors go by group. With "default".
        block_length: rows are in the order of time, and depend on rows that are less than so many steps away; "auto"
            chooses the number (:func:`infomax.statistics.block_length`). Folds are consecutive rows, with a gap;
            permutations and standard errors go by block. With "default".
        shared: whether all ranks of ``torch.distributed`` call this with the same samples and share the work: the
            bounds, if there are as many as ranks, else the folds of each. Every rank returns the estimate of a single
            process, up to rounding. One rank computes "default", whose folds are one model, and estimators that do not
            train.
        nominal_x, nominal_y: which columns are names without an order: "auto" (text, and categories unless they are
            ordered), True or False for all columns, or the names or numbers of columns of codes that are nominal as
            well. What the names are does not change a bit of the result.
        missing: "raise", or "drop" to leave out rows with a missing value (None, NaN, NaT, NA), whose number is
            ``Estimate.dropped``.

    Samples of more than 2²⁴ cells in all (rows by columns of both) are not copied: memory maps (``np.load(path,
    mmap_mode="r")``) and columns of files (:func:`infomax.open_columns`) may be larger than memory. All rows are read
    and checked once, and at most 2²⁰ rows are drawn at random. A bound trains on batches of the remaining rows, and up
    to 100,000 of the drawn rows are measured, in one fold unless more are requested. Estimators that do not train use
    the drawn rows. "default" uses up to 100,000 rows of any samples. ``n`` is the number of rows that were measured; a
    :class:`~infomax.SubsampleWarning` gives the total.

    For "default", "gaussian", "ksg" and "plugin", exchanging x and y changes no bit of the result, as the sides are put
    into a canonical order. A trained bound can treat the sides differently.

    Returns:
        an :class:`Estimate`, in nats.

    Raises:
        ValueError: for numbers of rows that differ or are too small, equal labels in another order, missing or infinite
            values, different values that are equal in float64, an unknown bound, an ``n_neighbors`` that is not in
            1..N-1 or without "ksg", groups or blocks that are fewer than four, and a critic that returns a wrong shape.
        TypeError: for columns of values of several kinds, tables and tensors without values in memory, and a ``bound``
            that is neither a name nor a bound.
        infomax.RankError: if ranks share the work and another one fails or dies.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=2000)
    >>> result = estimate(x, x + rng.normal(size=2000), quick=True, progress=False)
    >>> low, high = result.confidence_interval()
    >>> bool(low < 0.5 * np.log(2) < high)  # the truth
    True
    """
    candidates = [bound] if isinstance(bound, str | Bound) else bound
    judged = estimates(
        x,
        y,
        bound=candidates,
        seed=seed,
        random_state=random_state,
        device=device,
        progress=progress,
        quick=quick,
        folds=folds,
        margins=margins,
        schedule=schedule,
        n_neighbors=n_neighbors,
        groups=groups,
        block_length=block_length,
        shared=shared,
        nominal=(nominal_x, nominal_y),
        missing=missing,
    )
    for result, cautions in judged:
        for caution in cautions:
            warnings.warn(f"{result.bound}: {caution}", type(caution), stacklevel=2)
    results = [result for result, _ in judged]
    return results[0] if isinstance(bound, str | Bound) else results


#: An estimate and its warnings, which are not issued yet.
Judged = tuple[Estimate, list[InfomaxWarning]]


def estimates(
    x: Any,
    y: Any,
    *,
    bound: Sequence[BoundLike],
    seed: int | None = None,
    random_state: RandomState = None,
    device: str | torch.device | None = None,
    progress: bool = True,
    quick: bool = False,
    folds: int | None = None,
    margins: Margins = "normal",
    schedule: Schedule | None = None,
    n_neighbors: int | None = None,
    groups: Any = None,
    block_length: int | Literal["auto"] | None = None,
    shared: bool = False,
    names: tuple[str, str] = ("x", "y"),
    checked: bool = False,
    given: Floats | None = None,
    nominal: tuple[Nominal, Nominal] = ("auto", "auto"),
    missing: Missing = "raise",
    codes: tuple[Booleans, ...] | None = None,
    dropped: int = 0,
    kept: NDArray[np.int64] | None = None,
) -> list[Judged]:
    """:func:`estimate` with several bounds, for other functions to issue the warnings.

    Args:
        names: what errors and warnings about the samples call them.
        checked: x and y are finite float64 ``(N, D)`` already, without constant columns; D may be 0.
        given: checked samples ``(N, Dz)`` that the mutual information is conditional on, for estimators that can.
        nominal: ``nominal_x`` and ``nominal_y``. codes: of checked samples, x, y and ``given``, which columns are
            nominal. dropped: rows that were left out before. kept: which of all rows these are.
    """
    seed = seed_of(seed, random_state)
    estimators = checked_options(bound=bound, folds=folds, margins=margins, schedule=schedule, n_neighbors=n_neighbors)
    held = device is None and isinstance(x, Tensor) and not x.is_meta  # the samples' check refuses meta tensors
    device = _checked_device(x.device if held else device)
    if groups is not None and not checked:
        check_indexes({"x": x, "groups": groups}, stacklevel=4)
    with isolated(device):
        problem = Problem.of(
            x,
            y,
            names=names,
            checked=checked,
            kinds=nominal,
            missing=missing,
            nominal=codes,
            dropped=dropped,
            kept=kept,
            given=given,
            most_rows=max(estimator.most_rows for estimator in estimators),
            most_cells=max(estimator.most_cells for estimator in estimators),
            seed=seed,
            device=device,
            quick=quick,
            folds=folds,
            margins=margins,
            schedule=schedule,
            n_neighbors=n_neighbors,
            shared=shared and len(estimators) < world_size(),
        )
        problem = replace(problem, structure=row_structure(problem, groups, block_length, estimators))
        problems = [problem if estimator.takes_codes else problem.expanded() for estimator in estimators]
        for estimator, own in zip(estimators, problems, strict=True):
            estimator.check(own)
        if shared:
            check_same({"x": problem.x, "y": problem.y})
        return _measured(problems, estimators, shared=shared, progress=progress)


def checked_options(
    *,
    bound: Sequence[BoundLike],
    folds: int | None,
    margins: Margins,
    schedule: Schedule | None,
    n_neighbors: int | None,
) -> list[Estimator]:
    """The estimators of these bounds, after the options have been checked.

    Raises:
        TypeError, ValueError: as :func:`estimate`.
    """
    if not isinstance(bound, Sequence) or not bound:
        raise TypeError(f"bound must be a name, a Bound, or a list of these; got {bound!r}")
    if folds is not None and (not isinstance(folds, int | np.integer) or folds < 2):
        raise ValueError(f"folds must be a whole number of at least 2; got {folds!r}")
    if schedule is not None and not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be an infomax.Schedule; got {schedule!r}")
    fit_margins(np.zeros((1, 1)), margins)
    estimators = [chosen(candidate) for candidate in bound]
    if n_neighbors is not None:
        _check_neighbors(n_neighbors, estimators)
    return estimators


def _check_neighbors(n_neighbors: Any, estimators: Sequence[Estimator]) -> None:
    """Raise unless it is a number of neighbours, and one of the estimators counts them."""
    if isinstance(n_neighbors, bool) or not isinstance(n_neighbors, int | np.integer) or n_neighbors < 1:
        raise ValueError(f"n_neighbors must be a whole number of at least 1; got {n_neighbors!r}")
    if not any(estimator.counts_neighbours for estimator in estimators):
        known = ", ".join(repr(name) for name in estimator_names() if get(name).counts_neighbours)
        came = ", ".join(repr(estimator.name) for estimator in estimators)
        raise ValueError(f"n_neighbors must be None unless the bound is {known}; got {n_neighbors} with {came}")


def _measured(
    given: Sequence[Problem], estimators: Sequence[Estimator], *, shared: bool, progress: bool
) -> list[Judged]:
    """Each estimator's estimate of its problem; the ranks share the work if ``shared``."""
    problem = given[0]
    # Estimators that do not train run first: if one refuses the samples, no work is lost.
    order = sorted(range(len(estimators)), key=lambda i: estimators[i].trains)
    mine = order[rank() :: world_size()] if shared and not problem.shared else order
    problems = [estimator.select(own) for estimator, own in zip(estimators, given, strict=True)]
    steps = sum(estimators[i].steps(problems[i]) for i in mine) // (world_size() if problem.shared else 1)
    with progress_bar(progress and steps > 0, steps) as advance:

        def judge(some: Sequence[int]) -> list[Judged]:
            return [_judged(problems[i], estimators[i], advance) for i in some]

        def shares_folds(i: int) -> bool:
            return estimators[i].shares_folds and all(problems[i].dims)

        if not shared:
            found = judge(order)
        elif not problem.shared:
            found = shared_out(order, judge)
        else:
            found = [judge([i])[0] if shares_folds(i) else shared_out([i], judge)[0] for i in order]
    judged = dict(zip(order, found, strict=True))
    return [
        (replace(result, warnings=tuple(map(str, cautions))), cautions)
        for result, cautions in (judged[i] for i in range(len(estimators)))
    ]


def _judged(problem: Problem, estimator: Estimator, advance: Callable[[int], None]) -> Judged:
    """The estimate and its warnings."""
    x, y = problem.x, problem.y
    facts: dict[str, Any] = {"bound": estimator.name, "n": len(x), "dropped": problem.dropped, "seed": problem.seed}
    if not all(problem.dims):
        side = "y" if problem.dims[0] else "x"
        caution = InfomaxWarning(f"{side} is constant: the mutual information is exactly 0")
        return Estimate(0.0, 0.0, 0.0, "estimate", **facts), [caution]
    cautions = list(judge_samples(*problem.examined(), *estimator.densities))
    if problem.structure is None:
        cautions += judge_rows(*problem.expanded().examined())
    else:
        cautions += judge_structure(problem.structure, x, y)
    if len(x) < problem.rows:
        cautions.insert(0, SubsampleWarning(f"{len(x)} of {problem.rows} rows are {estimator.usage}"))
    entropy, limit = entropy_limit(x, y, problem.flags)
    found = estimator.measure(problem.ordered() if estimator.symmetric else problem, advance)
    result = Estimate(
        found.value,
        found.stderr,
        found.gap,
        found.kind,
        **facts,
        limit=limit,
        entropy=entropy,
        ceiling=found.ceiling,
        pvalue=found.pvalue,
        permutations=found.permutations,
        history=found.history,
        candidates=found.candidates,
        folds=found.folds,
        local=found.local,
        structure=problem.structure,
    )
    diagnosed = replace(result, gap=found.overfitting)
    return result, [*cautions, *found.remarks, *judge_result(diagnosed, found.rows_at_a_time or len(x))]


def _checked_device(device: str | torch.device | None) -> torch.device:
    """The device; the CPU for None.

    Raises:
        ValueError: if torch cannot use it here.
    """
    try:
        found = torch.device("cpu" if device is None else device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device must be one that torch can use here; got {device!r} ({error})") from None
    if found.type == "meta":
        raise ValueError("device must be one that computes; got 'meta'")
    return found
