"""Arrays in numpy's files: the header of one array, and archives of several (``.npz``)."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from infomax.io.columns import Columns
from infomax.io.limits import check_number_of_columns, check_unpacked_size
from infomax.io.naming import select_columns
from infomax.io.samples import as_samples


def read_header(file: IO[bytes], name: str, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of the array of numbers that a file begins with; its values come next.

    Args:
        file: at its beginning. name: what error messages call it. size: its length in bytes.

    Raises:
        ValueError: for a damaged header, pickled objects, and more values than the file has bytes for.
        TypeError: for an array that is not numeric.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file)
    except KeyError:
        raise ValueError(f"{name} cannot be read as a numpy file: version {version} is not for numbers") from None
    except Exception as error:  # the header is Python text from a stranger
        raise ValueError(f"{name} cannot be read as a numpy file: {error}") from None
    if dtype.hasobject:
        raise ValueError(f"{name} must hold numbers; got pickled objects, which are not loaded")
    if dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers; got dtype {dtype}")
    left = size - file.tell()
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * dtype.itemsize > left:
        raise ValueError(f"{name} cannot be read as a numpy file: shape {shape} of {dtype} in {left} bytes")
    return shape, fortran, dtype


def read_archive(path: Path, selections: Sequence[Sequence[str]], *, shift: bool) -> list[Columns]:
    """Arrays of an ``.npz`` file; those of a selection side by side.

    Args:
        path, selections, shift: as :func:`infomax.io.read_named`.

    Raises:
        ValueError: for a file that is damaged or encrypted, arrays of one name, arrays that take too much memory, and
            values that are not finite. TypeError: for arrays that are not numeric.
    """
    with path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"{path} must hold arrays by name; got one array: let its name end in .npy")
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # the directory of the archive is from a stranger
        raise ValueError(f"{path} cannot be read as a numpy file: {error}") from None
    with archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise ValueError(f"{path} must hold arrays of different names; got a name more than once")
        selected = select_columns(path, list(members), selections)
        shapes = {name: _shape(archive, members[name], path) for names in selected for name in names}
        check_unpacked_size(path, 8 * sum(map(math.prod, shapes.values())))
        return [_side_by_side(archive, {name: members[name] for name in names}, path, shift) for names in selected]


def _shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> tuple[int, ...]:
    """The shape of an array, of which no more than the header is unpacked."""
    where = f"array {info.filename.removesuffix('.npy')!r} of {path}"
    if info.flag_bits & 1:
        raise ValueError(f"{where} must not be encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{where} must be stored or deflated, as numpy does; got method {info.compress_type}")
    check_unpacked_size(path, info.file_size, where)  # no more than this is unpacked
    try:
        member = archive.open(info)
    except Exception as error:
        raise ValueError(f"{where} cannot be read as a numpy file: {error}") from None
    with member:
        shape, *_ = read_header(member, where, info.file_size)
    if len(shape) > 1:
        check_number_of_columns(path, shape[1])
    return shape


def _side_by_side(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], path: Path, shift: bool) -> Columns:
    """The columns of these arrays."""
    parts = {}
    for name, info in members.items():
        where = f"array {name!r} of {path}"
        try:
            with archive.open(info) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
        except Exception as error:  # damaged data raise many kinds
            raise ValueError(f"{where} cannot be read as a numpy file: {error}") from None
        parts[name] = as_samples(array, where, shift=shift)
    lengths = sorted({len(part) for part in parts.values()})
    if len(lengths) > 1:
        raise ValueError(f"{path}: arrays of one side must have equally many rows; got {lengths}")
    labels = [
        name if part.shape[1] == 1 else f"{name}[{j}]" for name, part in parts.items() for j in range(part.shape[1])
    ]
    arrays = list(parts.values())
    return Columns(tuple(labels), arrays[0] if len(arrays) == 1 else np.hstack(arrays))
