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
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mmim_example.reading.files import Array, DataError, FileMap, chunks, map_file, read_table
from mmim_example.reading.splits import SPLITS, Dataset, Split
from mmim_example.reading.validation import assemble

TABLE, FEATURES = "utterances.csv", "features.npz"
#: Bytes up to which an array is copied if the rows of a split are not contiguous.
_COPIED = 1 << 30


def read(directory: Path, *, label_range: tuple[float, float] | None = None) -> Dataset:
    """Read and validate the data set in a directory.

    The rows of a split may be in any place, but must be contiguous in an array of more than 1 GiB, which can only be
    mapped. :func:`write` makes them contiguous.

    Raises:
        DataError: if a file cannot be read, or the data break a rule.
    """
    table = read_table(directory / TABLE, ("id", "split", "label"))
    for i, row in enumerate(table):
        if row["split"] not in SPLITS:
            raise DataError(f"{directory / TABLE}: split must be {', '.join(SPLITS)}; got {row['split']!r} in row {i}")
    arrays = read_arrays(directory / FEATURES)
    for name, array in arrays.items():
        if array.ndim < 1 or len(array) != len(table):
            raise DataError(
                f"{directory / FEATURES}: {name} must have one row for each of the {len(table)} rows of {TABLE}; "
                f"got shape {array.shape}"
            )
    split_of = np.array([row["split"] for row in table])
    splits = {}
    for name in SPLITS:
        places = np.flatnonzero(split_of == name)
        if len(places):
            splits[name] = _split([table[i] for i in places], arrays, places, directory)
    return assemble(splits, str(directory), label_range=label_range)


def _split(rows: list[dict[str, str]], arrays: dict[str, Array], places: Array, directory: Path) -> Split:
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
        tuple(row["id"] for row in rows),
        np.array([_label(row, directory / TABLE) for row in rows], np.float32),
        features,
        lengths,
        missing,
        tuple(row["text"] for row in rows) if "text" in rows[0] else None,
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


def _label(row: dict[str, str], path: Path) -> float:
    try:
        return float(row["label"])
    except ValueError:
        raise DataError(f"{path}: label must be a number; got {row['label']!r} for {row['id']!r}") from None


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an npz file: uncompressed ones are mapped, compressed ones are loaded.

    Raises:
        DataError: if the file is not an npz file of numeric arrays.
    """
    mapped = map_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename.removesuffix(".npy"): _array(archive, info, mapped) for info in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, struct.error, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} must be an npz file of arrays; got: {error}") from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, mapped: FileMap) -> Array:
    where = f"{archive.filename}: {info.filename.removesuffix('.npy')}"
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"{where} must have npy version 1.0 or 2.0; got {version}")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(member)
        start = member.tell()
        if dtype.hasobject or dtype.kind not in "fiub":
            raise DataError(f"{where} must be numeric; got {dtype}")
        count = int(np.prod(shape, dtype=object))
        if count * dtype.itemsize != info.file_size - start:
            raise DataError(f"{where} must have {count} values of shape {shape}; got {info.file_size - start} bytes")
        if info.compress_type != zipfile.ZIP_STORED or not count:
            flat = np.frombuffer(member.read(), dtype)
            return flat.reshape(shape, order="F" if fortran else "C")
    # The data follow a local header of 30 bytes, whose last four are the lengths of two further fields.
    name, extra = struct.unpack_from("<HH", mapped, info.header_offset + 26)
    start += info.header_offset + 30 + name + extra
    return np.frombuffer(mapped, dtype, count, start).reshape(shape, order="F" if fortran else "C")


def write(dataset: Dataset, directory: Path) -> None:
    """Write both files. Existing files are replaced only after both new ones are complete.

    Raises:
        DataError: for text that UTF-8 cannot encode.
    """
    directory.mkdir(parents=True, exist_ok=True)
    parts = [directory / f"{name}.part" for name in (TABLE, FEATURES)]
    try:
        _write_table(dataset, parts[0])
        with parts[1].open("wb") as file:
            _write_arrays(dataset, file)
        for part in parts:
            part.replace(part.with_suffix(""))
    except UnicodeEncodeError as error:
        raise DataError(f"{dataset.source}: ids and text must be valid UTF-8; got {error}") from None
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _write_table(dataset: Dataset, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        has_text = dataset.train.text is not None
        table.writerow(["id", "split", "label"] + ["text"] * has_text)
        for name, split in dataset.splits().items():
            labels = [str(label) for label in split.labels]
            columns: list[Any] = [split.ids, [name] * len(split), labels, *([split.text] if has_text else [])]
            table.writerows(zip(*columns, strict=True))


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
