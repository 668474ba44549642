"""Compositions: conditional mutual information, total correlation, and information flow between time series.

Each is a signed sum of mutual informations between groups of columns. All terms are estimated by
:func:`infomax.estimate` on the same rows with the same seed, and so in the same folds.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from infomax.estimation.conditioning import Sides, Summed, Terms, condition
from infomax.estimation.estimate import estimates
from infomax.estimation.histories import Lags, histories, kinds_of
from infomax.estimators import chosen
from infomax.estimators.default.estimator import DefaultEstimator
from infomax.estimators.problem import LEAST_ROWS
from infomax.exceptions import DependenceWarning, InfomaxWarning, SaturationWarning, SubsampleWarning, TrainingWarning
from infomax.io.batches import stays
from infomax.io.columns import Columns, beside
from infomax.io.samples import as_aligned, check_indexes, check_large
from infomax.isolation import isolated
from infomax.results.composition import Composition, Term
from infomax.results.estimate import Estimate
from infomax.statistics.labels import indicators
from infomax.statistics.row_structure import RowStructure, block_length
from infomax.statistics.surrogate_test import surrogate_pvalue
from infomax.training.streaming import MOST_MEASURED, Sampled

#: Nats below zero that the errors of two terms do not explain.
_FAR_BELOW = 0.05
#: Surrogates of a source: their number, and what tells their random numbers from those of other steps.
_DRAWS, _SURROGATES = 199, (19, 99)


def conditional(x: Any, y: Any, z: Any, **options: Any) -> Composition:
    r"""Estimate the conditional mutual information of ``x`` and ``y`` given ``z``.

    :math:`I(X; Y \mid Z) = I(X; (Y, Z)) - I(X; Z)`. The difference of two lower bounds is neither a lower nor an upper
    bound: a negative bias of the first term makes it too small, one of the second too large. It fails where the first
    term is near its ceiling. Columns of X and Y that are exact functions of Z are left out, which changes nothing: if
    none remain, the value is exactly 0. Where Z explains nearly all of X, X and Y change places in the formula.
    ``bound="ksg"`` estimates it directly (Frenzel and Pompe 2007, doi:10.1103/PhysRevLett.99.204101).

    Args:
        x, y, z: samples, ``(N,)`` or ``(N, D)``, paired row by row, as for :func:`infomax.estimate`.
        options: keywords of :func:`infomax.estimate`; ``bound`` is one name. ``nominal_x``, ``nominal_y`` and
            ``nominal_z`` say which columns are nominal.

    Returns:
        a :class:`Composition`, in nats; its standard error is the largest possible, see :attr:`Composition.stderr`.

    Raises:
        ValueError: for numbers of rows that differ or are too small, missing or infinite values, an unknown bound.
        TypeError: for columns of values of several kinds, and a ``bound`` that is not one name.

    Source: the chain rule, Cover and Thomas, "Elements of Information Theory", 2006, theorem 2.5.2,
    doi:10.1002/047174882X.

    >>> import numpy as np
    >>> x, z, noise = np.random.default_rng(0).normal(size=(3, 2000))
    >>> result = conditional(x, x + z + noise, z, bound="gaussian")
    >>> low, high = result.confidence_interval()
    >>> bool(low < 0.5 * np.log(2) < high)  # the truth: given z, y is x plus noise of the same variance
    True
    """
    groups, drawn, options = _aligned({"x": x, "y": y, "z": z}, options)
    conditioned = condition(groups, "x", "y", "z")
    return _compose("I(x; y | z)", conditioned, _on_device_of(options, x, y, z), drawn=drawn)


def total_correlation(variables: Sequence[Any], **options: Any) -> Composition:
    r"""Estimate the total correlation of several variables.

    :math:`\sum_i H(X_i) - H(X_1, …, X_m) = \sum_{i \ge 2} I((X_1, …, X_{i-1}); X_i)`, a chain of mutual
    informations. A sum of lower bounds is a lower bound. The biases of the terms add up; the last terms, which have the
    most columns, have the largest.

    Args:
        variables: at least two, each ``(N,)`` or ``(N, D)``, as for :func:`infomax.estimate`.
        options: keywords of :func:`infomax.estimate`; ``bound`` is one name. The variables are called x1, x2, …
            (``nominal_x2=True``).

    Returns:
        a :class:`Composition`, in nats.

    Raises:
        ValueError: as :func:`conditional`, and for fewer than two variables.
        TypeError: as :func:`conditional`, and for ``variables`` that are not a sequence of samples.

    Source: Watanabe, "Information theoretical analysis of multivariate correlation", 1960, doi:10.1147/rd.41.0066.

    >>> import numpy as np
    >>> common, *noise = np.random.default_rng(0).normal(size=(4, 2000))
    >>> result = total_correlation([common + each for each in noise], bound="gaussian")
    >>> low, high = result.confidence_interval()
    >>> bool(low < 0.5 * np.log(2**3 / 4) < high)  # covariance: 2 on the diagonal, else 1; determinant 4
    True
    """
    if isinstance(variables, str) or not isinstance(variables, Sequence):
        raise TypeError(
            f"variables must be a list of samples, one a variable (list(a.T) for the columns of an array); "
            f"got {type(variables).__name__}"
        )
    if len(variables) < 2:
        raise ValueError(f"variables must be at least two; got {len(variables)}")
    names = [f"x{i}" for i in range(1, len(variables) + 1)]
    groups, drawn, options = _aligned(dict(zip(names, variables, strict=True)), options)
    terms: Terms = {(tuple(names[:i]), (names[i],)): 1 for i in range(1, len(names))}
    return _compose(f"TC({', '.join(names)})", Summed(terms, groups), _on_device_of(options, *variables), drawn=drawn)


def interaction_information(x: Any, y: Any, z: Any, **options: Any) -> Composition:
    r"""Estimate the interaction information of three variables: synergy less redundancy.

    :math:`I(X; Y \mid Z) - I(X; Y) = I(X; (Y, Z)) - I(X; Z) - I(X; Y)`, McGill's sign: positive for synergy
    (exclusive or: log 2), negative for redundancy (three copies of a coin: -log 2). The co-information is its negative.
    Symmetric in the three variables, up to errors of estimation. It can have either sign, and the estimate is neither a
    lower nor an upper bound.

    Args:
        x, y, z: samples, ``(N,)`` or ``(N, D)``, paired row by row, as for :func:`infomax.estimate`.
        options: as :func:`conditional`.

    Returns:
        a :class:`Composition`, in nats, that may be negative.

    Raises:
        ValueError, TypeError: as :func:`conditional`.

    Source: McGill, "Multivariate information transmission", 1954, doi:10.1007/BF02289159.

    >>> import numpy as np
    >>> common, *noise = np.random.default_rng(0).normal(size=(4, 2000))
    >>> x, y, z = (common + 0.5 * each for each in noise)
    >>> bool(interaction_information(x, y, z, bound="gaussian").confidence_interval()[1] < 0)  # redundant
    True
    """
    groups, drawn, options = _aligned({"x": x, "y": y, "z": z}, options)
    terms: Terms = {(("x",), ("y", "z")): 1, (("x",), ("z",)): -1, (("x",), ("y",)): -1}
    summed = Summed(terms, groups)
    return _compose("I(x; y; z)", summed, _on_device_of(options, x, y, z), nonnegative=False, drawn=drawn)


def transfer_entropy(
    source: Any, target: Any, *, lags: Lags = 1, target_lags: Lags | None = None, **options: Any
) -> Composition:
    r"""Estimate the transfer entropy: what the past of ``source`` adds to the prediction of ``target``.

    :math:`I(Y_t; X_{t-1 … t-l} \mid Y_{t-1 … t-k})` of a source X and a target Y, l = ``lags``, k = ``target_lags``.
    If k is too small, or a common driver is not among the columns, the effect is attributed to the source.

    The steps must be equally spaced and the process stationary. Rows overlap and are not independent: with "default",
    ``block_length="auto"`` unless it is given. The intervals of other bounds assume that rows are independent; where a
    series changes slowly, use every few steps only. The p-value, of any bound, is that of surrogates of the source, in
    which its blocks change places (:func:`infomax.statistics.surrogate_pvalue`).

    Args:
        source, target: series, ``(T,)`` or ``(T, D)``, step t of one at the time of step t of the other.
        lags: past steps of the source: l, for 1 to l steps ago, or a list, such as ``[20]``. target_lags: of the
            target, likewise; by default all up to the largest lag: what a target shares with its own skipped past
            would be attributed to the source.
        options: keywords of :func:`infomax.estimate`; ``bound`` is one name. ``nominal_source`` and
            ``nominal_target`` say which columns are nominal. ``groups``, a label for each of the T steps, is for
            several series one after the other: no history crosses from one into another.

    Returns:
        a :class:`Composition`, in nats per step, from T rows less the larger number of lags.

    Raises:
        ValueError: as :func:`conditional`, for lags below 1, and for fewer than 20 steps after them.
        TypeError: as :func:`conditional`.

    Source: Schreiber, "Measuring information transfer", 2000, doi:10.1103/PhysRevLett.85.461.

    >>> import numpy as np
    >>> source, noise = np.random.default_rng(0).normal(size=(2, 2000))
    >>> target = np.roll(source, 1) + noise
    >>> low, high = transfer_entropy(source, target, bound="gaussian").confidence_interval()
    >>> bool(low < 0.5 * np.log(2) < high)  # the truth
    True
    """
    return _flow("transfer entropy", source, target, histories(source, target, lags, target_lags, options, first=1))


def directed_information(
    source: Any, target: Any, *, lags: Lags = 1, target_lags: Lags | None = None, **options: Any
) -> Composition:
    r"""Estimate directed information: :func:`transfer_entropy` with the present value of ``source`` included.

    :math:`I(Y_t; X_{t … t-l} \mid Y_{t-1 … t-k})`: for a stationary process whose memory is no longer than the lags,
    the rate per step of Massey's directed information :math:`\sum_t I(Y_t; X_{1 … t} \mid Y_{1 … t-1})`. Dependence
    within one step counts in both directions.

    Args:
        source, target: series, ``(T,)`` or ``(T, D)``, step t of one at the time of step t of the other.
        lags: past steps of the source: l, for its present and 1 to l steps ago, or a list, in which 0 is the present.
            target_lags: of the target, without the present; by default all up to the largest lag.
        options: keywords of :func:`infomax.estimate`; ``bound`` is one name. ``nominal_source`` and
            ``nominal_target`` say which columns are nominal.

    Returns:
        a :class:`Composition`, in nats per step, from T rows less the larger number of lags.

    Raises:
        ValueError, TypeError: as :func:`transfer_entropy`.

    Source: Massey, "Causality, feedback and directed information", 1990, Proceedings of the International Symposium on
    Information Theory and its Applications.

    >>> import numpy as np
    >>> source, noise = np.random.default_rng(0).normal(size=(2, 2000))
    >>> low, high = directed_information(source, source + noise, bound="gaussian").confidence_interval()
    >>> bool(low < 0.5 * np.log(2) < high)  # the truth
    True
    """
    found = histories(source, target, lags, target_lags, options, first=0)
    return _flow("directed information per step", source, target, found)


def _flow(
    quantity: str, source: Any, target: Any, history: tuple[Mapping[str, Columns], dict[str, Any]]
) -> Composition:
    """The conditional mutual information of the target's present and the source's past, with a test."""
    groups, options = history
    conditioned = condition(groups, "target now", "source past", "target past")
    return _compose(quantity, conditioned, _on_device_of(_in_blocks(options), source, target), in_time=True)


def _in_blocks(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a time series: with blocks, unless the user or the bound does not want them."""
    blocks = options.get("bound", "default") == "default" and options.get("groups") is None
    return {"block_length": "auto", **options} if blocks else dict(options)


# --- terms ------------------------------------------------------------------------------------------------------------


def without(terms: Mapping[Sides, int], constant: Collection[str]) -> Terms:
    """The remaining terms where some variables are constant: exact, since those carry no information.

    >>> without({(("x",), ("y", "z")): 1, (("x",), ("z",)): -1}, ["z"])
    {(('x',), ('y',)): 1}
    """
    kept: Terms = {}
    for (left, right), sign in terms.items():
        sides = tuple(n for n in left if n not in constant), tuple(n for n in right if n not in constant)
        if all(sides):
            kept[sides] = kept.get(sides, 0) + sign
    return {sides: sign for sides, sign in kept.items() if sign}


def _compose(
    quantity: str,
    summed: Summed,
    options: Mapping[str, Any],
    *,
    nonnegative: bool = True,
    drawn: str = "",
    in_time: bool = False,
) -> Composition:
    """Estimate each term; warnings show the line of the caller's caller.

    Args:
        drawn: how many of the rows are used, if not all. in_time: whether rows are steps of a time series, which are
            known to depend on each other.
    """
    bound = options.get("bound", "default")
    if not isinstance(bound, str):
        raise TypeError(f"bound must be one name, as the terms differ in their dimensions; got {bound!r}")
    options = {**options, "bound": [bound]}
    groups = summed.groups
    if options.get("block_length") == "auto":  # one length for all terms
        columns = np.hstack([group.samples for group in groups.values()])
        options["block_length"] = block_length(columns)
    empty = [name for name, group in groups.items() if not group.shape[1]]
    cautions = [*summed.lost.values()]
    for text in cautions:
        warnings.warn(f"{quantity}: {text}", InfomaxWarning, stacklevel=3)
    constant = [name for name in empty if name not in summed.lost]
    cautions += [f"{name} is constant: it carries no information and was dropped" for name in constant]
    if drawn:
        cautions.insert(0, drawn)
        warnings.warn(f"{quantity}: {drawn}", SubsampleWarning, stacklevel=3)
    estimated = []
    for sign, of, sides in _parts(summed, empty, direct=chosen(bound).conditional):
        x, y, *given = (side.samples for side in sides)
        codes = tuple(side.nominal for side in sides) if any(side.nominal.any() for side in sides) else None
        ((part, remarks),) = estimates(x, y, given=given[0] if given else None, checked=True, codes=codes, **options)
        if in_time:
            remarks = [remark for remark in remarks if not isinstance(remark, DependenceWarning)]
            part = replace(part, warnings=tuple(map(str, remarks)))
        for remark in remarks:
            warnings.warn(f"{of}: {part.bound}: {remark}", type(remark), stacklevel=3)
        estimated.append(Term(sign, of, part))
        if sign < 0 and any(isinstance(remark, SaturationWarning) for remark in remarks):
            text = (
                f"{of}, which is subtracted, is saturated: the difference of two such values is not informative; use "
                f"more rows, or fewer variables on that side"
            )
            cautions.append(text)
            warnings.warn(f"{quantity}: {text}", SaturationWarning, stacklevel=3)
    if not estimated:  # exactly 0, as estimate finds for constants; it also checks the options
        nothing = np.empty((len(next(iter(groups.values()))), 0))
        ((part, _),) = estimates(nothing, nothing, checked=True, **options)
        estimated = [Term(1, quantity, replace(part, warnings=()))]
    tested = _tested(groups, estimated[0].estimate) if in_time and not empty else None
    result = Composition(quantity, tuple(estimated), nonnegative, tested=tested)
    if nonnegative and result.mi < -max(_FAR_BELOW, 3 * result.stderr):
        text = (
            "far below 0, which is impossible: the estimate from more columns is smaller than that from some of them; "
            "use more rows, or compare with other estimators"
        )
        cautions.append(text)
        warnings.warn(f"{quantity}: {text}", TrainingWarning, stacklevel=3)
    return replace(result, cautions=tuple(cautions))


@isolated()
def _tested(groups: Mapping[str, Columns], estimated: Estimate) -> tuple[float, int]:
    """The p-value of surrogates of the source, and their number."""
    x, y, past = (
        indicators(groups[name].samples, groups[name].nominal) for name in ("source past", "target now", "target past")
    )
    structure = estimated.structure or RowStructure.of_blocks(len(x), block_length(np.hstack([x, y])))
    rng = np.random.default_rng([estimated.seed, *_SURROGATES])
    return surrogate_pvalue(x, y, past, draws=_DRAWS, rng=rng, structure=structure), _DRAWS


def _parts(summed: Summed, empty: Collection[str], *, direct: bool) -> Iterator[tuple[int, str, Sequence[Columns]]]:
    """Sign, name and samples of each term: x, y, and z where it is conditional.

    Args:
        empty: variables without columns. direct: whether a conditional term is estimated as such.
    """
    if direct and summed.sides is not None and not empty:
        left, right, given = summed.sides
        yield 1, f"I({left}; {right} | {given})", [summed.groups[name] for name in summed.sides]
        return
    for names, sign in without(summed.terms, empty).items():
        sides = [beside([summed.groups[name] for name in side]) for side in names]
        yield sign, f"I({'; '.join(', '.join(side) for side in names)})", sides


def _aligned(
    samples: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Mapping[str, Columns], str, dict[str, Any]]:
    """All by :func:`as_aligned`; or rows drawn from samples too large to be copied, with the remark that says so.

    Returns:
        the samples, the remark, and the options for the terms, with the number of rows that were dropped.
    """
    kinds, missing, rest = kinds_of(samples, options)
    if rest.get("groups") is not None:
        check_indexes({"x": next(iter(samples.values())), "groups": rest["groups"]}, stacklevel=4)
    with isolated():
        if not stays(samples.values(), kinds.values(), missing):
            paired = as_aligned(samples, least=LEAST_ROWS, nominal=kinds, missing=missing, stacklevel=5)
            return paired.columns, "", {**rest, "dropped": paired.dropped, "kept": paired.rows}
        check_large(kinds, missing)
        size = {"most": MOST_MEASURED, "cells": DefaultEstimator.most_cells}
        sampled = Sampled.of(samples, least=LEAST_ROWS, seed=rest["seed"], stacklevel=5, **size)
    drawn = {name: Columns((), rows) for name, rows in sampled.drawn.items()}
    return drawn, f"{len(sampled.rows)} of {len(sampled.aligned)} rows are used, drawn at random", rest


def _on_device_of(options: Mapping[str, Any], *samples: Any) -> dict[str, Any]:
    """The options, with the device of the first tensor unless they name one."""
    tensors = [data for data in samples if isinstance(data, torch.Tensor) and not data.is_meta]
    return {**({"device": tensors[0].device} if tensors else {}), **options}
