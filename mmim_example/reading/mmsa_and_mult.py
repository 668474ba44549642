"""Pickles in the two published forms: that of MMSA, and that of MulT, which the paper's code uses too.

Sources: Mao et al., "M-SENA", ACL 2022 (``thuiar/MMSA``); Tsai et al., "Multimodal Transformer", ACL 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmim_example.reading import fields
from mmim_example.reading.files import Array, DataError
from mmim_example.reading.padding import count_before, to_right, to_start
from mmim_example.reading.pickles import read_pickle
from mmim_example.reading.splits import MODALITIES, SPLITS, WHOLE, Dataset, Split
from mmim_example.reading.validation import assemble

_MMSA_LABELS, _MULT_LABELS = "regression_labels", "labels"
#: Parts of an id in MulT's form.
_VIDEO_START_END = 3


def read(path: Path, *, label: str | None = None, label_range: tuple[float, float] | None = None) -> Dataset:
    """Read and validate the data set in a pickle of either form.

    Large arrays in MMSA's form are mapped from the file; those in MulT's are copied, because their padding is moved.

    Args:
        label: the field with the labels in MMSA's form, or the column of MOSEI's seven labels in MulT's.
        label_range: smallest and largest label allowed.

    Raises:
        DataError: if ``read_pickle`` refuses the file, a field is missing or not numeric, or the data break a rule.
    """
    content = _content(path)
    given: dict[str, Mapping[Any, Any]] = {}
    for name in SPLITS:
        part = content.get(name)
        if part is None:
            raise DataError(f"{path}: splits must be {', '.join(SPLITS)}; got {fields.names(content)}")
        if not isinstance(part, dict) or not {_MMSA_LABELS, _MULT_LABELS, label} & set(part):
            got = fields.names(part) if isinstance(part, dict) else type(part).__name__
            raise DataError(f"{path}: {name} must be a dict with regression_labels (MMSA) or labels (MulT); got {got}")
        given[name] = part
    ids = _ids({name: _id_parts(part, f"{path}: {name}") for name, part in given.items()})
    splits = {name: _split(part, ids[name], f"{path}: {name}", label) for name, part in given.items()}
    return assemble(splits, str(path), label_range=label_range)


def read_unlabelled(path: Path) -> dict[str, Split]:
    """Read the splits in a pickle without labels, in MMSA's form; a dict with ``id`` is one split.

    Raises:
        DataError: as :func:`read`. The caller validates the splits.
    """
    content = _content(path)
    given = {WHOLE: content} if "id" in content else {name: content[name] for name in SPLITS if name in content}
    splits = {}
    for name, part in given.items():
        if not isinstance(part, dict):
            raise DataError(f"{path}: {name} must be a dict; got {type(part).__name__}")
        (ids,) = _ids({name: _id_parts(part, f"{path}: {name}")}).values()
        unknown = np.full(len(ids), np.nan, np.float32)
        form = _mult if _is_mult(part) else _mmsa
        splits[name] = form(part, ids, unknown, f"{path}: {name}")
    return splits


def _content(path: Path) -> dict[Any, Any]:
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} must contain a dict of splits; got {type(content).__name__}")
    return ({"valid": content["dev"]} if "dev" in content else {}) | content


def _is_mult(part: Mapping[Any, Any]) -> bool:
    return _MULT_LABELS in part and _MMSA_LABELS not in part


def _split(part: Mapping[Any, Any], ids: tuple[str, ...], where: str, label: str | None) -> Split:
    if _is_mult(part):
        labels = fields.labels(part, _MULT_LABELS, where, label or fields.EMOTIONS[0])
        return _mult(part, ids, labels, where)
    if label and label not in part:
        raise DataError(f"{where}: label must be a field of the file; got {label!r} and {fields.names(part)}")
    return _mmsa(part, ids, fields.labels(part, label or _MMSA_LABELS, where), where)


def _id_parts(part: Mapping[Any, Any], where: str) -> list[tuple[str, ...]]:
    return [fields.parts(value, f"{where}: id") for value in fields.sequence(part, "id", where)]


def _ids(rows: Mapping[str, list[tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """One text for each id. In MulT's form an id has three parts, of which the first is ``video_clip`` in MOSI.

    In MOSEI it is only the video, which occurs several times; then ids are ``video[start,end]``.
    """
    each = [row for split in rows.values() for row in split]
    if any(len(row) != _VIDEO_START_END for row in each):
        return {name: tuple("_".join(row) for row in split) for name, split in rows.items()}
    if len({row[0] for row in each}) == len(each):
        return {name: tuple(row[0] for row in split) for name, split in rows.items()}
    return {name: tuple(f"{video}[{start},{end}]" for video, start, end in split) for name, split in rows.items()}


def _mmsa(part: Mapping[Any, Any], ids: tuple[str, ...], labels: Array, where: str) -> Split:
    """A split in MMSA's form, padded on the right; features that MMSA-FET padded at the start are moved.

    ``<modality>_lengths`` are the numbers of valid frames. Features without lengths (text, and everything in the
    aligned files) are as long as the tokens, up to the last that is not padding; without tokens, all frames are valid.
    """
    tokens = _tokens(part, where)
    features: dict[str, Array] = {}
    lengths: dict[str, Array] = {}
    for name in MODALITIES:
        if name not in part:
            continue
        array = features[name] = fields.floats(part, name, where)
        if array.ndim != 3:
            continue
        if f"{name}_lengths" in part:
            given = fields.numbers(part, f"{name}_lengths", where).reshape(-1)
            if not np.array_equal(given, np.rint(given)):
                raise DataError(f"{where}: {name}_lengths must be whole numbers; got {given[given % 1 != 0][0]}")
            lengths[name] = given.astype(np.int64)
            features[name] = to_start(array, lengths[name], f"{where}: {name}")
        elif tokens is not None and tokens.shape[-1] == array.shape[1]:
            lengths[name] = array.shape[1] - count_before(tokens[:, 1, ::-1] != 0)
        else:
            lengths[name] = np.full(len(array), array.shape[1], np.int64)
    text = fields.words(part, "raw_text", where) if "raw_text" in part else None
    return Split(ids, labels, features, lengths, text=text, tokens=tokens)


def _mult(part: Mapping[Any, Any], ids: tuple[str, ...], labels: Array, where: str) -> Split:
    """A split in MulT's form: the padding is moved from the left to the right.

    Valid frames begin with the first that is not all zero; zeros after it are data.
    """
    features: dict[str, Array] = {}
    lengths: dict[str, Array] = {}
    for name in MODALITIES:
        if name not in part:
            continue
        array = fields.numbers(part, name, where)
        if array.ndim == 3:
            features[name], lengths[name] = to_right(array)
        else:
            features[name] = fields.floats(part, name, where)
    return Split(ids, labels, features, lengths)


def _tokens(part: Mapping[Any, Any], where: str) -> Array | None:
    if "text_bert" not in part:
        return None
    tokens = fields.numbers(part, "text_bert", where)
    whole = tokens.astype(np.int64) if np.isfinite(tokens).all() else None
    if whole is None or not np.array_equal(tokens, whole):
        raise DataError(f"{where}: text_bert must be integers; got other values of type {tokens.dtype}")
    if whole.ndim != 3 or whole.shape[1] != 3:
        raise DataError(f"{where}: text_bert must have shape (N, 3, T); got {whole.shape}")
    return whole
