"""Archives that are damaged, or whose headers lie, are refused by name, and never take more memory than they may."""

import io
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from mmim_example.reading import DataError, files
from mmim_example.reading.plain_format import read_arrays


def npy(array, header=None):
    """An array as a file; ``header`` replaces the text of its header."""
    file = io.BytesIO()
    np.save(file, array)
    if header is None:
        return file.getvalue()
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + array.tobytes()


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as file:
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, content in members:
            file.writestr(name, content)
    return path


def patched(path, at, content, *, local=None):
    """Change bytes of the last central header, and of the local header if ``local`` is their place there."""
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\x01\x02") + at
    data[start : start + len(content)] = content
    if local is not None:
        data[local : local + len(content)] = content
    path.write_bytes(data)


SMALL = npy(np.arange(6.0))


def encrypted(path):
    archive(path, [("text.npy", SMALL)])
    patched(path, 8, b"\x01\x00", local=6)


def larger_than_said(path):
    archive(path, [("text.npy", SMALL + bytes(100_000))])
    patched(path, 24, struct.pack("<I", len(SMALL)), local=22)


def smaller_than_said(path):
    claimed = npy(np.zeros(0), "{'descr': '<f8', 'fortran_order': False, 'shape': (100000,)}")
    archive(path, [("text.npy", claimed)])
    patched(path, 24, struct.pack("<I", len(claimed) + 800_000), local=22)


def same_place(path):
    """Several members that share their bytes."""
    archive(path, [("a.npy", SMALL), ("b.npy", SMALL)], zipfile.ZIP_STORED)
    patched(path, 42, struct.pack("<I", 0))


def headed(header):
    return lambda path: archive(path, [("text.npy", npy(np.arange(6.0), header))])


FAULTS = {
    "encrypted": (encrypted, r": text must be stored or deflated, .*; got encrypted"),
    "another method": (
        lambda path: archive(path, [("text.npy", SMALL)], zipfile.ZIP_LZMA),
        r": text must be stored or deflated, .*; got method 14",
    ),
    "twice": (lambda path: archive(path, [("a.npy", SMALL)] * 2), r": a must occur once; got several members"),
    "twice, once without ending": (
        lambda path: archive(path, [("a.npy", SMALL), ("a", SMALL)]),
        r": a must occur once; got several members",
    ),
    "larger than said": (larger_than_said, r"must be an npz file of arrays; got: Bad CRC-32"),
    "smaller than said": (smaller_than_said, r"must .* got"),
    "members in one place": (same_place, r"must be an npz file of arrays; got: "),
    "cut": (
        lambda path: path.write_bytes(archive(path, [("a.npy", SMALL)]).read_bytes()[:-60]),
        r"got: File is not a zip",
    ),
    "no array": (lambda path: archive(path, [("a.npy", b"id,split")]), r": a must be an array in npy version 1.0 or"),
    "empty": (lambda path: archive(path, [("a.npy", b"")]), r": a must be an array in npy version 1.0 or 2.0; got b''"),
    "a long header": (headed(" " * 20_000), r"must have a header of at most 10000 bytes; got 20001"),
    "a deep header": (headed("(" * 9_000), r"must have a valid npy header; got b'\(\("),
    "no header": (headed("{'descr': 1"), r"text must have a valid npy header; got b.\{'descr': 1"),
    "a negative shape": (
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -3)}"),
        r"must have a shape of sizes that are not negative; got \(-2, -3\)",
    ),
    "a large shape": (
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,)}"),
        r"must have 100000000000 values of shape \(100000000000,\); got 48 bytes",
    ),
    "objects": (headed("{'descr': '|O', 'fortran_order': False, 'shape': (6,)}"), r"text must be numeric; got object"),
    "records": (
        headed("{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (6,)}"),
        r"text must be numeric; got \[\('a'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_archives_that_lie_are_refused_by_name(tmp_path, fault):
    write, message = FAULTS[fault]
    path = tmp_path / "features.npz"
    write(path)
    with pytest.raises(DataError, match=message) as caught:
        read_arrays(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("members", [1, 40])
def test_an_archive_that_expands_is_refused_before_it_does(tmp_path, monkeypatch, members):
    """40 MB of zeros, in one array or in many, from 40 kB: over the limit here of 4 MB."""
    path = archive(
        tmp_path / "features.npz", [(f"a{i}.npy", npy(np.zeros(5_000_000 // members))) for i in range(members)]
    )
    monkeypatch.setattr(files, "MEMORY", 4 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"features.npz.* must not expand far beyond its size: at most 4 MiB"):
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()


def test_an_uncompressed_archive_of_any_size_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MEMORY", 1 << 20)
    np.savez(tmp_path / "features.npz", a=np.zeros(1_000_000, np.float32))
    assert len(read_arrays(tmp_path / "features.npz")["a"]) == 1_000_000
