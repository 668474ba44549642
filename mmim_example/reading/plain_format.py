"""The plain format: a directory with two files that any tool can write.

- ``utterances.csv``, UTF-8: ``id``, ``split`` (train, valid or test), ``label`` and, optionally, ``text``.
- ``features.npz``, rows in the order of the table. One float32 array for each modality, under its name: ``(N, D)``
  vectors, or ``(N, T, D)`` right-padded frames with ``<modality>_lengths`` ``(N,)``, the numbers of valid frames.
  Optionally ``<modality>_missing`` ``(N,)``: True where the modality is missing; and ``tokens`` ``(N, 3, T)``: ids,
  mask and type.

An uncompressed file, as ``numpy.savez`` writes it, is memory-mapped: it may be larger than the memory.
"""

from __future__ import annotations

import csv
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, BinaryIO, Literal

import numpy as np

from infomax import atomic_write
from mmim_example.reading.files import Array, Budget, DataError, FileMap, chunks, map_file, read_table
from mmim_example.reading.splits import SPLITS, WHOLE, Dataset, Split
from mmim_example.reading.validation import assemble

TABLE, FEATURES = "utterances.csv", "features.npz"
#: Bytes up to which an array is copied if the rows of a split are not contiguous.
_COPIED = 1 << 30
#: Bytes of a value as float32 or int64, of the longest header of an array, and of what is unpacked at a time; and the
#: length of a name in messages.
_CONVERTED, _HEADER, _PIECE, _SHOWN = 8, 10_000, 1 << 20, 80
#: A label. Python's ``float`` also accepts digits of other scripts, and ``1_000``.
_LABEL = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)


def read(directory: Path, *, label: str = "label", label_range: tuple[float, float] | None = None) -> Dataset:
    """Read and validate the data set in a directory.

    The rows of a split may be in any place, but must be contiguous in an array of more than 1 GiB, which can only be
    mapped. :func:`write` makes them contiguous.

    Args:
        label: the column of the table with the labels.
        label_range: smallest and largest label allowed.

    Raises:
        DataError: if a file cannot be read, or the data break a rule.
    """
    table = read_table(directory / TABLE, ("id", "split", label), ("text",))
    splits = _splits(table | {"label": table[label]}, directory)
    return assemble(splits, str(directory), label_range=label_range)


def read_unlabelled(directory: Path) -> dict[str, Split]:
    """Read the splits in a directory whose table needs no ``label`` and no ``split``; see :data:`WHOLE`.

    Raises:
        DataError: if a file cannot be read. The caller validates the splits.
    """
    return _splits(read_table(directory / TABLE, ("id",), ("split", "text")), directory)


def _splits(table: dict[str, list[str]], directory: Path) -> dict[str, Split]:
    rows = len(table["id"])
    known = SPLITS if "split" in table else (WHOLE,)
    names = table.get("split", [WHOLE] * rows)
    for i, split in enumerate(names):
        if split not in known:
            got = repr(split[:_SHOWN])
            raise DataError(f"{directory / TABLE}: split must be {', '.join(SPLITS)}; got {got} in row {i}")
    arrays = read_arrays(directory / FEATURES)
    for name, array in arrays.items():
        if array.ndim < 1 or len(array) != rows:
            raise DataError(
                f"{directory / FEATURES}: {name} must have one row for each of the {rows} rows of {TABLE}; "
                f"got shape {array.shape}"
            )
    split_of = np.array(names)
    splits = {}
    for name in known:
        places = np.flatnonzero(split_of == name)
        if len(places):
            part = {column: tuple(values[i] for i in places) for column, values in table.items()}
            splits[name] = _split(part, arrays, places, directory)
    return splits


def _split(rows: Mapping[str, tuple[str, ...]], arrays: dict[str, Array], places: Array, directory: Path) -> Split:
    chosen = {name: _rows(array, places, f"{directory / FEATURES}: {name}") for name, array in arrays.items()}
    tokens = chosen.pop("tokens", None)
    lengths: dict[str, Array] = {}
    missing: dict[str, Array] = {}
    features: dict[str, Array] = {}
    for name, array in chosen.items():
        modality, _, what = name.rpartition("_")
        if what in ("lengths", "missing"):
            if modality not in arrays:
                raise DataError(f"{directory / FEATURES}: {name} needs an array {modality!r}; got none")
            if array.ndim != 1 or array.dtype.kind not in "iub":
                raise DataError(f"{directory / FEATURES}: {name} must be (N,) integers; got {array.dtype}{array.shape}")
            (lengths if what == "lengths" else missing)[modality] = array
        elif array.dtype.kind in "fiub":
            with np.errstate(over="ignore"):
                features[name] = array.astype(np.float32, copy=False)
        else:
            raise DataError(f"{directory / FEATURES}: {name} must be numeric; got {array.dtype}")
    missing = {name: array != 0 for name, array in missing.items()}
    for name, array in lengths.items():
        lengths[name] = np.where(missing.get(name, False), 0, array.astype(np.int64))
        missing[name] = lengths[name] == 0
    return Split(
        rows["id"],
        _labels(rows, directory / TABLE) if "label" in rows else np.full(len(rows["id"]), np.nan, np.float32),
        features,
        lengths,
        missing,
        rows.get("text"),
        tokens,
    )


def _rows(array: Array, places: Array, what: str) -> Array:
    start, end = int(places[0]), int(places[-1]) + 1
    if end - start == len(places):
        return array[start:end]
    if array.nbytes > _COPIED:
        raise DataError(
            f"{what}: the rows of a split must be contiguous in an array of more than {_COPIED >> 20} MiB; got "
            f"{array.nbytes >> 20} MiB with other rows between {start} and {end - 1}"
        )
    return array[places]


def _labels(rows: Mapping[str, tuple[str, ...]], path: Path) -> Array:
    pairs = zip(rows["id"], rows["label"], strict=True)
    labels = [number(label, f"{path}: label", f" for {name[:_SHOWN]!r}") for name, label in pairs]
    with np.errstate(over="ignore"):
        return np.array(labels, np.float64).astype(np.float32)


def number(text: str, where: str, owner: str = "") -> float:
    """A number in a table.

    Raises:
        DataError: if the text is none.
    """
    if not _LABEL.fullmatch(text):
        raise DataError(f"{where} must be a number; got {text[:_SHOWN]!r}{owner}")
    return float(text)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an npz file: uncompressed ones are mapped, compressed ones are loaded.

    Raises:
        DataError: if the file is not an npz file of numeric arrays, or they take more memory than
            :data:`mmim_example.reading.files.MEMORY` allows.
    """
    mapped = map_file(path)
    budget, arrays = Budget(len(mapped)), {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                where = f"{path}: {name[:_SHOWN]}"
                if name in arrays:
                    raise DataError(f"{where} must occur once; got several members of this name")
                arrays[name] = _array(archive, info, mapped, budget, where)
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith(str(path)) else f"{path} {text}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        OSError,
        EOFError,
        RuntimeError,
        MemoryError,
        struct.error,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} must be an npz file of arrays; got: {reason}") from None
    return arrays


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, mapped: FileMap, budget: Budget, where: str) -> Array:
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        kind = "encrypted" if info.flag_bits & 1 else f"method {info.compress_type}"
        raise DataError(f"{where} must be stored or deflated, as numpy.savez and numpy.savez_compressed do; got {kind}")
    with archive.open(info) as member:
        shape, order, dtype, start = _header(member, where)
        count = math.prod(shape)
        if count * dtype.itemsize != info.file_size - start:
            raise DataError(f"{where} must have {count} values of shape {shape}; got {info.file_size - start} bytes")
        stored = info.compress_type == zipfile.ZIP_STORED
        # Rows may be copied once for each split, and are converted to float32 or int64.
        budget.charge((0 if stored else count * dtype.itemsize) + count * (dtype.itemsize + _CONVERTED))
        if not stored or not count:
            return np.frombuffer(_exactly(member, count * dtype.itemsize, where), dtype).reshape(shape, order=order)
    # The data follow a local header of 30 bytes, whose last four are the lengths of two further fields.
    name, extra = struct.unpack_from("<HH", mapped, info.header_offset + 26)
    start += info.header_offset + 30 + name + extra
    return np.frombuffer(mapped, dtype, count, start).reshape(shape, order=order)


def _header(member: IO[bytes], where: str) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any], int]:
    """Shape, order, dtype, and where the data begin."""
    start = member.read(12)
    version, size = tuple(start[6:8]), {1: 2, 2: 4}.get(start[6] if len(start) == 12 else 0, 0)
    if start[:6] != b"\x93NUMPY" or version not in ((1, 0), (2, 0)):
        raise DataError(f"{where} must be an array in npy version 1.0 or 2.0; got {start[:8]!r}")
    length = int.from_bytes(start[8 : 8 + size], "little")
    if length > _HEADER:
        raise DataError(f"{where} must have a header of at most {_HEADER} bytes; got {length}")
    text = io.BytesIO(start[8:] + member.read(max(0, 8 + size + length - len(start))))
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = header(text)
    except (ValueError, SyntaxError, TokenError, RecursionError, MemoryError):
        raise DataError(f"{where} must have a valid npy header; got {text.getvalue()[size:][:_SHOWN]!r}") from None
    if dtype.hasobject or dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise DataError(f"{where} must be numeric; got {str(dtype)[:_SHOWN]}")
    if any(type(length) is not int or length < 0 for length in shape):
        raise DataError(f"{where} must have a shape of sizes that are not negative; got {str(shape)[:_SHOWN]}")
    return shape, "F" if fortran else "C", dtype, 8 + size + length


def _exactly(member: IO[bytes], size: int, where: str) -> bytearray:
    """So many bytes: a stream may unpack to more or to less than its header says."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        part = member.read(min(size - at, _PIECE))
        if not part:
            raise DataError(f"{where} must have {size} bytes of data; got {at}")
        view[at : at + len(part)] = part
        at += len(part)
    member.read(1)  # verifies the checksum at the end
    return data


def write(dataset: Dataset, directory: Path) -> None:
    """Write both files. Existing files are replaced only after both new ones are complete.

    Raises:
        DataError: for text that UTF-8 cannot encode.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(directory / TABLE) as table, atomic_write(directory / FEATURES) as features:
            table.write(_table(dataset).encode())
            table.flush()
            _write_arrays(dataset, features)
    except UnicodeEncodeError as error:
        raise DataError(f"{dataset.source}: ids and text must be valid UTF-8; got {error}") from None


def _table(dataset: Dataset) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    has_text = dataset.train.text is not None
    table.writerow(["id", "split", "label"] + ["text"] * has_text)
    for name, split in dataset.splits().items():
        labels = [str(label) for label in split.labels]
        columns: list[Any] = [split.ids, [name] * len(split), labels, *([split.text] if has_text else [])]
        table.writerows(zip(*columns, strict=True))
    return text.getvalue()


def _write_arrays(dataset: Dataset, file: BinaryIO) -> None:
    splits = list(dataset.splits().values())
    with zipfile.ZipFile(file, "w") as archive:
        for name, first in dataset.train.features.items():
            _write_array(archive, name, [split.features[name] for split in splits])
            if first.ndim == 3:
                _write_array(archive, f"{name}_lengths", [split.lengths[name] for split in splits])
            _write_array(archive, f"{name}_missing", [split.missing[name] for split in splits])
        tokens = [split.tokens for split in splits if split.tokens is not None]
        if tokens:
            _write_array(archive, "tokens", tokens)


def _write_array(archive: zipfile.ZipFile, name: str, parts: list[Array]) -> None:
    """Concatenate the parts into one member; those with fewer frames are padded."""
    time = {"tokens": 2}.get(name, 1)
    longest = list(np.max([part.shape for part in parts], axis=0))
    shape = (sum(map(len, parts)), *map(int, longest[1:]))
    dtype = parts[0].dtype.newbyteorder("<")
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        for part in parts:
            for _, rows in chunks(part):
                short = [(0, 0)] * rows.ndim
                if rows.ndim > time:
                    short[time] = (0, shape[time] - rows.shape[time])
                member.write(np.ascontiguousarray(np.pad(rows, short), dtype).data)
