"""The past and present of series, side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.estimation.dependence import check_keywords, group_labels
from infomax.estimators.problem import LEAST_ROWS
from infomax.io.columns import Columns, Nominal, as_columns
from infomax.io.samples import Floats, Missing, as_aligned, check_missing, common_length
from infomax.isolation import isolated
from infomax.seeds import seed_of
from infomax.statistics.row_structure import RowStructure

#: A number of past steps, or the steps ago.
Lags = int | Sequence[int] | NDArray[np.int64]


def embed(series: Floats, lags: Sequence[int], start: int) -> Floats:
    """Lagged values side by side: row i has those of step ``start + i`` less each lag, in this order.

    Args:
        series: ``(T, D)``. lags: 0 or more each. start: the first step that has a row, at least the largest lag.

    Returns:
        ``(T - start, D * len(lags))``.

    >>> import numpy as np
    >>> embed(np.arange(5.0)[:, None], [1, 2], start=2).tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 2.0]]
    """
    return np.hstack([series[start - lag : len(series) - lag] for lag in lags])


def histories(
    source: Any, target: Any, lags: Lags, target_lags: Lags | None, options: Mapping[str, Any], *, first: int
) -> tuple[Mapping[str, Columns], dict[str, Any]]:
    """The present of the target, and both pasts, the source from ``first`` steps ago; and the options for the terms.

    A step with a missing value is left out wherever it occurs, with ``missing="drop"``. With ``groups``, a label for
    each step, the steps are those whose history is of one group.
    """
    of_source = _steps("lags", lags, first)
    of_target = _steps("target_lags", max(1, *of_source) if target_lags is None else target_lags, 1)
    series: Mapping[str, Any] = {"source": source, "target": target}
    kinds, missing, rest = kinds_of(series, options)
    with isolated():
        if missing == "raise":
            series = as_aligned(series, least=LEAST_ROWS, nominal=kinds, stacklevel=5).columns
        else:
            check_missing(missing)
            series = {name: as_columns(data, name, nominal=kinds[name]) for name, data in series.items()}
            common_length(series)
        start, steps = max(*of_source, *of_target), len(series["source"])
        if steps < start + LEAST_ROWS:
            raise ValueError(
                f"source must have at least {start + LEAST_ROWS} rows for lags of {start} steps; got {steps}"
            )
        history = {
            "target now": _embedded(series["target"], [0], start),
            "source past": _embedded(series["source"], of_source, start),
            "target past": _embedded(series["target"], of_target, start),
        }
        if rest.get("groups") is not None:
            labels = RowStructure.of_groups(group_labels(rest["groups"], steps)).unit
            inside = np.array([(labels[row : row + start + 1] == labels[row]).all() for row in range(steps - start)])
            if inside.sum() < LEAST_ROWS:
                raise ValueError(
                    f"groups must leave at least {LEAST_ROWS} steps with the {start} steps before them in one group; "
                    f"got {inside.sum()}"
                )
            history = {name: columns.of_rows(inside) for name, columns in history.items()}
            rest["groups"] = labels[start:][inside]
        if missing == "raise":
            return history, rest
        paired = as_aligned(history, least=LEAST_ROWS, missing=missing, stacklevel=5)
    return paired.columns, {**rest, "dropped": paired.dropped, "kept": paired.rows}


def _steps(argument: str, lags: Any, first: int) -> list[int]:
    """The steps ago: from ``first`` to a number of lags, or those of a list."""
    if isinstance(lags, int | np.integer) and not isinstance(lags, bool):
        if lags < 1:
            raise ValueError(f"{argument} must be a whole number of at least 1; got {lags!r}")
        return list(range(first, int(lags) + 1))
    found = list(lags) if isinstance(lags, Sequence | np.ndarray | range) and not isinstance(lags, str) else []
    whole = all(isinstance(lag, int | np.integer) and not isinstance(lag, bool) for lag in found)
    if not (found and whole and len(set(found)) == len(found) and min(found) >= first):
        raise ValueError(
            f"{argument} must be a whole number of at least 1, or a list of different steps of at least {first}; got "
            f"{lags!r}"
        )
    return [int(lag) for lag in found]


def _embedded(series: Columns, lags: Sequence[int], start: int) -> Columns:
    """The columns of :func:`embed`."""
    return Columns((), embed(series.samples, lags, start), np.tile(series.nominal, len(lags)))


def kinds_of(
    samples: Collection[str], options: Mapping[str, Any]
) -> tuple[dict[str, Nominal], Missing, dict[str, Any]]:
    """Which columns of each sample are nominal (``nominal_x`` of x, …), ``missing``, and the rest, with one seed."""
    rest = dict(options)
    rest["seed"] = seed_of(rest.get("seed"), rest.pop("random_state", None))
    kinds = {name: rest.pop(f"nominal_{name}", "auto") for name in samples}
    missing = rest.pop("missing", "raise")
    check_keywords(rest)
    return kinds, missing, rest
