"""Fields of the dicts in pickles: numbers, words and labels, each checked before it is converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmim_example.reading.files import Array, DataError

#: The columns of labels in MOSEI, and those of IEMOCAP.
EMOTIONS = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
_IEMOCAP = (4, 2)
#: The most parts of an id, and the length of a name in messages.
_PARTS, _SHOWN = 16, 40


def numbers(part: Mapping[Any, Any], name: str, where: str) -> Array:
    """A field as an array of numbers.

    Raises:
        DataError: if it is missing, not numeric or ragged.
    """
    if name not in part:
        raise DataError(f"{where}: {name} is required; got {names(part)}")
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


def floats(part: Mapping[Any, Any], name: str, where: str) -> Array:
    """As :func:`numbers`, in float32."""
    with np.errstate(over="ignore"):
        return numbers(part, name, where).astype(np.float32, copy=False)


def _not_numeric(value: Any) -> str | None:
    """The first type in it that is no number. An array of texts is as wide as the longest, so none is made."""
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(_not_numeric, value)), None)
    if isinstance(value, np.ndarray):
        return None if value.dtype.kind in "fiub" else str(value.dtype)
    return None if isinstance(value, (int, float, np.number, np.bool_)) else type(value).__name__


def labels(part: Mapping[Any, Any], name: str, where: str, emotion: str = EMOTIONS[0]) -> Array:
    """One label for each utterance: ``(N,)`` float32.

    Args:
        emotion: the column, if there are the seven of MOSEI.

    Raises:
        DataError: if there are several columns that are not those of MOSEI, as in IEMOCAP.
    """
    found = numbers(part, name, where)
    columns = tuple(size for size in found.shape[1:] if size != 1)
    if columns == _IEMOCAP:
        raise DataError(
            f"{where}: {name} must have one value for each utterance; got shape {found.shape}, the four yes/no labels "
            "of IEMOCAP: write the class of each utterance, from 0, as label in the plain format"
        )
    if found.ndim < 1 or 0 in found.shape or columns not in ((), (len(EMOTIONS),)):
        raise DataError(f"{where}: {name} must have one value for each utterance; got shape {found.shape}")
    if columns and emotion not in EMOTIONS:
        raise DataError(f"{where}: label must be one of {', '.join(EMOTIONS)}; got {emotion!r}")
    if not columns and emotion != EMOTIONS[0]:
        raise DataError(f"{where}: label must be {name}, the only one in this file; got {emotion!r}")
    column = EMOTIONS.index(emotion) if columns else 0
    return found.reshape(len(found), -1)[:, column].astype(np.float32)


def words(part: Mapping[Any, Any], name: str, where: str) -> tuple[str, ...]:
    """A field of texts. See :func:`word`."""
    return tuple(word(value, f"{where}: {name}") for value in sequence(part, name, where))


def sequence(part: Mapping[Any, Any], name: str, where: str) -> Any:
    """A field that is a list or an array.

    Raises:
        DataError: if it is something else, or missing.
    """
    value = part.get(name)
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim):
        raise DataError(f"{where}: {name} must be a list or an array; got {type(value).__name__}")
    return value


def parts(value: Any, where: str) -> tuple[str, ...]:
    """The parts of an id, which is one text or several.

    Raises:
        DataError: if it is no text, or has too many parts.
    """
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        if len(value) > _PARTS:
            raise DataError(f"{where} must be texts of at most {_PARTS} parts; got {len(value)}")
        return tuple(word(part, where) for part in value)
    return (word(value, where),)


def word(value: Any, where: str) -> str:
    """An id or a text. Bytes are UTF-8 or, if they are not valid UTF-8, Latin-1; several parts are joined by ``_``."""
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value[()]
    if isinstance(value, (list, tuple, np.ndarray)):
        return "_".join(parts(value, where))
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")
    if not isinstance(value, (str, int, float, np.generic)):
        raise DataError(f"{where} must be texts; got {type(value).__name__}")
    return str(value)


def names(content: Mapping[Any, Any]) -> str:
    """The names of the fields, for messages."""
    return ", ".join(str(name)[:_SHOWN] for name in list(content)[:20]) or "nothing"
