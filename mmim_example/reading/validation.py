"""The rules that a data set must satisfy: shapes, types, unique ids, disjoint splits, labels in range."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from mmim_example.reading.files import Array, DataError, DataWarning, chunks
from mmim_example.reading.splits import SPLITS, Dataset, Split


def assemble(splits: Mapping[str, Split], source: str, *, label_range: tuple[float, float] | None = None) -> Dataset:
    """Make a data set of three splits: validate it, count non-finite values, and warn if splits seem swapped.

    Raises:
        DataError: as :func:`validate`, and if a split is missing.
    """
    for name in SPLITS:
        if name not in splits:
            refuse(f"{source}: splits must be {', '.join(SPLITS)}", ", ".join(map(str, splits)) or "none")
    dataset = Dataset(splits["train"], splits["valid"], splits["test"], {}, source)
    validate(dataset, label_range=label_range)
    for name in ("valid", "test"):
        if len(dataset.train) < len(splits[name]):
            warnings.warn(
                f"{source}: train has fewer utterances ({len(dataset.train)}) than {name} ({len(splits[name])}); "
                "are they swapped?",
                DataWarning,
                stacklevel=3,
            )
    bad = {name: sum(_nonfinite(split, name) for split in splits.values()) for name in dataset.dims()}
    return dataclasses.replace(dataset, nonfinite=bad)


def _nonfinite(split: Split, name: str) -> int:
    total = 0
    for place, rows in chunks(split.features[name]):
        bad = ~np.isfinite(rows)
        if bad.any():
            if name in split.lengths:
                bad &= (np.arange(rows.shape[1]) < split.lengths[name][place, None])[..., None]
            total += int(bad[~split.missing[name][place]].sum())
    return total


def validate(dataset: Dataset, *, label_range: tuple[float, float] | None = None) -> None:
    """Check everything except the values of the features.

    Args:
        label_range: smallest and largest label allowed.

    Raises:
        DataError: names the first rule that is broken.
    """
    homes: dict[str, str] = {}
    for name, split in dataset.splits().items():
        check(split, f"{dataset.source}: {name}", label_range)
        shared = [i for i in split.ids if i in homes]
        if shared:
            refuse(
                f"{dataset.source}: {name}: splits must not share ids",
                f"{len(shared)} shared ids, the first {shared[0]!r} in {homes[shared[0]]}",
            )
        homes |= dict.fromkeys(split.ids, name)
        if _fields(split) != _fields(dataset.train):
            refuse(
                f"{dataset.source}: {name}: modalities, their axes and columns, text and tokens must be as in train",
                f"{_fields(split)} and {_fields(dataset.train)}",
            )


def _fields(split: Split) -> str:
    parts = [f"{name} ({array.ndim} axes, {array.shape[-1]})" for name, array in sorted(split.features.items())]
    return ", ".join(parts + ["text"] * (split.text is not None) + ["tokens"] * (split.tokens is not None)) or "nothing"


def check(split: Split, where: str, label_range: tuple[float, float] | None = None, *, labelled: bool = True) -> None:
    """Check one split, except the values of its features.

    Args:
        where: a name for messages.
        label_range: smallest and largest label allowed.
        labelled: whether labels must be known.

    Raises:
        DataError: names the first rule that is broken.
    """
    n = len(split)
    if not n:
        refuse(f"{where}: there must be at least one utterance", "none")
    if len(set(split.ids)) < n or "" in split.ids:
        name, times = Counter(split.ids).most_common(1)[0]
        refuse(f"{where}: ids must be unique and not empty", f"{name!r} {times} times" if times > 1 else "''")
    _shape(split.labels, (n,), f"{where}: labels")
    if labelled:
        _each(split, f"{where}: labels must be finite", split.labels, np.isfinite(split.labels))
    if label_range is not None:
        low, high = label_range
        inside = (split.labels >= low) & (split.labels <= high)
        _each(split, f"{where}: labels must lie in {low:g}..{high:g}", split.labels, inside)
    if not split.features and split.tokens is None and split.text is None:
        refuse(f"{where}: there must be features of at least one modality", "none")
    for name, array in split.features.items():
        _check_modality(split, name, array, where)
    known = {*split.features, "text"}
    for name in (*split.lengths, *split.missing):
        if name not in known:
            refuse(f"{where}: lengths and missing must belong to modalities with features", repr(name))
    if split.text is not None and len(split.text) != n:
        refuse(f"{where}: text must have as many rows as ids", f"{len(split.text)} and {n}")
    if split.tokens is not None:
        _shape(split.tokens, (n, 3, None), f"{where}: tokens")
        if split.tokens.dtype.kind not in "iu" or not np.isin(split.tokens[:, 1], (0, 1)).all():
            refuse(f"{where}: tokens must be integers with a mask of 0 and 1", str(split.tokens.dtype))


def _check_modality(split: Split, name: str, array: Array, where: str) -> None:
    n = len(split)
    frames = array.ndim == 3
    _shape(array, (n, None, None) if frames else (n, None), f"{where}: {name}")
    if array.dtype != np.float32:
        refuse(f"{where}: {name} must be float32", str(array.dtype))
    if frames != (name in split.lengths):
        have = "frames without" if frames else "vectors with"
        refuse(f"{where}: {name}_lengths must be given for frames, and only for frames", f"{have} lengths")
    if frames:
        lengths = split.lengths[name]
        _shape(lengths, (n,), f"{where}: {name}_lengths")
        if lengths.dtype != np.int64:
            refuse(f"{where}: {name}_lengths must be int64", str(lengths.dtype))
        inside = (lengths >= 0) & (lengths <= array.shape[1])
        _each(split, f"{where}: {name}_lengths must lie in 0..{array.shape[1]}", lengths, inside)
    missing = split.missing[name]
    _shape(missing, (n,), f"{where}: {name}_missing")
    if missing.dtype != bool:
        refuse(f"{where}: {name}_missing must be True or False", str(missing.dtype))
    if frames:
        consistent = missing | (split.lengths[name] > 0)
        _each(split, f"{where}: {name}_missing must be True where {name}_lengths are 0", missing, consistent)


def _shape(array: Array, wanted: tuple[int | None, ...], what: str) -> None:
    fits = array.ndim == len(wanted) and all(
        size == want if want is not None else size > 0 for size, want in zip(array.shape, wanted, strict=True)
    )
    if not fits:
        shape = ", ".join("*" if want is None else str(want) for want in wanted)
        refuse(f"{what} must have shape ({shape})", str(array.shape))


def _each(split: Split, rule: str, values: Array, good: Array) -> None:
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        refuse(rule, f"{values[row]} in row {row} ({split.ids[row]!r})")


def refuse(rule: str, got: str) -> NoReturn:
    """Raise an error that names the rule and the value."""
    raise DataError(f"{rule}; got {got}")
