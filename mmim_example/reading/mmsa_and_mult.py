"""Pickles in the two published forms: that of MMSA, and that of MulT, which the paper's code uses too.

Sources: Mao et al., "M-SENA", ACL 2022 (``thuiar/MMSA``); Tsai et al., "Multimodal Transformer", ACL 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmim_example.reading.files import Array, DataError, chunks
from mmim_example.reading.pickles import read_pickle
from mmim_example.reading.splits import SPLITS, Dataset, Split
from mmim_example.reading.validation import assemble

#: Both forms use these names.
_MODALITIES = ("text", "audio", "vision")
#: The most parts of an id, and the length of a name in messages.
_PARTS, _SHOWN = 16, 40


def read(path: Path, *, label_range: tuple[float, float] | None = None) -> Dataset:
    """Read and validate the data set in a pickle of either form.

    Large arrays in MMSA's form are mapped from the file; those in MulT's are copied, because their padding is moved.

    Raises:
        DataError: if ``read_pickle`` refuses the file, a field is missing or not numeric, or the data break a rule.
    """
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} must contain a dict of splits; got {type(content).__name__}")
    splits = {}
    for name in SPLITS:
        part = content.get("dev") if name == "valid" and name not in content else content.get(name)
        if part is None:
            raise DataError(f"{path}: splits must be {', '.join(SPLITS)}; got {_names(content)}")
        if not isinstance(part, dict) or not {"regression_labels", "labels"} & set(part):
            got = _names(part) if isinstance(part, dict) else type(part).__name__
            raise DataError(f"{path}: {name} must be a dict with regression_labels (MMSA) or labels (MulT); got {got}")
        convention = _mmsa if "regression_labels" in part else _official
        splits[name] = convention(part, f"{path}: {name}")
    return assemble(splits, str(path), label_range=label_range)


def _mmsa(part: Mapping[Any, Any], where: str) -> Split:
    """A split in MMSA's form, padded on the right.

    ``<modality>_lengths`` are the numbers of valid frames. Features without lengths (text, and everything in the
    aligned files) are as long as the tokens, up to the last that is not padding; without tokens, all frames are valid.
    """
    tokens = _tokens(part, where)
    features: dict[str, Array] = {}
    lengths: dict[str, Array] = {}
    for name in _MODALITIES:
        if name not in part:
            continue
        array = features[name] = _floats(part, name, where)
        if array.ndim != 3:
            continue
        if f"{name}_lengths" in part:
            given = _numbers(part, f"{name}_lengths", where).reshape(-1)
            if not np.array_equal(given, np.rint(given)):
                raise DataError(f"{where}: {name}_lengths must be whole numbers; got {given[given % 1 != 0][0]}")
            lengths[name] = given.astype(np.int64)
        elif tokens is not None and tokens.shape[-1] == array.shape[1]:
            lengths[name] = array.shape[1] - _before(tokens[:, 1, ::-1] != 0)
        else:
            lengths[name] = np.full(len(array), array.shape[1], np.int64)
    text = _words(part, "raw_text", where) if "raw_text" in part else None
    return Split(
        _words(part, "id", where),
        _labels(part, "regression_labels", where),
        features,
        lengths,
        text=text,
        tokens=tokens,
    )


def _official(part: Mapping[Any, Any], where: str) -> Split:
    """A split in MulT's form: the padding is moved from the left to the right.

    Valid frames begin with the first that is not all zero; zeros after it are data.
    """
    features: dict[str, Array] = {}
    lengths: dict[str, Array] = {}
    for name in _MODALITIES:
        if name not in part:
            continue
        array = _numbers(part, name, where)
        if array.ndim == 3:
            features[name], lengths[name] = to_right(array)
        else:
            features[name] = _floats(part, name, where)
    return Split(_words(part, "id", where), _labels(part, "labels", where), features, lengths)


def to_right(frames: Array) -> tuple[Array, Array]:
    """Move the padding of frames from the left to the right.

    Args:
        frames: ``(N, T, D)``. Valid frames are those from the first that is not all zero to the last.

    Returns:
        The moved frames ``(N, T, D)``, float32, and the numbers of valid frames ``(N,)``.
    """
    steps = frames.shape[1]
    moved = np.zeros(frames.shape, np.float32)
    lengths = np.zeros(len(frames), np.int64)
    with np.errstate(over="ignore"):
        for place, rows in chunks(frames):
            lengths[place] = steps - _before((rows != 0).any(-1))
            for row, length, target in zip(rows, lengths[place], moved[place], strict=True):
                target[:length] = row[steps - length :]
    return moved, lengths


def _before(real: Array) -> Array:
    """The number of columns before the first True in each row; all, if there is none."""
    first: Array = np.concatenate([real, np.ones((len(real), 1), bool)], 1).argmax(1)
    return first.astype(np.int64)


def _tokens(part: Mapping[Any, Any], where: str) -> Array | None:
    if "text_bert" not in part:
        return None
    tokens = _numbers(part, "text_bert", where)
    whole = tokens.astype(np.int64) if np.isfinite(tokens).all() else None
    if whole is None or not np.array_equal(tokens, whole):
        raise DataError(f"{where}: text_bert must be integers; got other values of type {tokens.dtype}")
    if whole.ndim != 3 or whole.shape[1] != 3:
        raise DataError(f"{where}: text_bert must have shape (N, 3, T); got {whole.shape}")
    return whole


def _labels(part: Mapping[Any, Any], name: str, where: str) -> Array:
    """The first column: in MOSEI, sentiment, followed by six emotions."""
    labels = _numbers(part, name, where)
    if labels.ndim < 1 or 0 in labels.shape:
        raise DataError(f"{where}: {name} must have one value for each utterance; got shape {labels.shape}")
    return labels.reshape(len(labels), -1)[:, 0].astype(np.float32)


def _floats(part: Mapping[Any, Any], name: str, where: str) -> Array:
    with np.errstate(over="ignore"):
        return _numbers(part, name, where).astype(np.float32, copy=False)


def _numbers(part: Mapping[Any, Any], name: str, where: str) -> Array:
    if name not in part:
        raise DataError(f"{where}: {name} is required; got {_names(part)}")
    other = _not_numeric(part[name])
    if other is not None:
        raise DataError(f"{where}: {name} must be numeric; got {other}")
    try:
        array = np.asarray(part[name])
    except ValueError as error:
        raise DataError(f"{where}: {name} must be an array; got: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: {name} must be numeric; got {array.dtype}")
    return array


def _not_numeric(value: Any) -> str | None:
    """The first type in it that is no number. An array of texts is as wide as the longest, so none is made."""
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(_not_numeric, value)), None)
    if isinstance(value, np.ndarray):
        return None if value.dtype.kind in "fiub" else str(value.dtype)
    return None if isinstance(value, (int, float, np.number, np.bool_)) else type(value).__name__


def _sequence(part: Mapping[Any, Any], name: str, where: str) -> Any:
    value = part.get(name)
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim):
        raise DataError(f"{where}: {name} must be a list or an array; got {type(value).__name__}")
    return value


def _words(part: Mapping[Any, Any], name: str, where: str) -> tuple[str, ...]:
    return tuple(_word(value, f"{where}: {name}") for value in _sequence(part, name, where))


def _word(value: Any, where: str) -> str:
    """An id or a text. Bytes are UTF-8 or, if they are not valid UTF-8, Latin-1; several parts are joined by ``_``."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        if len(value) > _PARTS:
            raise DataError(f"{where} must be texts of at most {_PARTS} parts; got {len(value)}")
        return "_".join(_word(part, where) for part in value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")
    if isinstance(value, np.ndarray):
        return _word(value[()], where)
    if not isinstance(value, (str, int, float, np.generic)):
        raise DataError(f"{where} must be texts; got {type(value).__name__}")
    return str(value)


def _names(content: Mapping[Any, Any]) -> str:
    return ", ".join(str(name)[:_SHOWN] for name in list(content)[:20]) or "nothing"
