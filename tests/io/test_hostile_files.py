"""Files from strangers: refused by name before they take memory; nothing in them is executed."""

import io
import re
import struct
import time
import zipfile
import zlib

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from infomax import open_columns, read_columns
from infomax.command_line.main import main
from infomax.io.limits import check_unpacked_size

PAIRS = np.random.default_rng(0).normal(size=(40, 2))


def npy(header, body=b"", version=1):
    """The bytes of an .npy file with any header."""
    text = (header if isinstance(header, bytes) else header.encode()) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + body


def described(shape, descr="'<f8'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def array_bytes(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def archive(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def refusal(path, capsys):
    """What the command prints for a file that is refused."""
    status = main(["estimate", str(path), "--x", "0", "--y", "1", "--bound", "gaussian"])
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert printed.err.startswith("infomax: error: ")
    assert printed.err.count("\n") == 1
    assert path.name in printed.err
    return printed.err


HEADERS = [
    (npy(described("(100000000000, 2)")), r"shape \(100000000000, 2\) of float64 in 0 bytes"),
    (npy(described("(-5, 2)")), r"shape \(-5, 2\) of float64"),
    (npy(described(f"({10**30}, 2)")), "in 0 bytes"),
    (npy(described("(40, True)"), bytes(320)), r"shape \(40, True\) of float64"),
    (npy(described("(40,)"), bytes(320)), r"must hold a 2-D array; got \(40,\)"),
    (npy(described("(1, 300000)", "'|b1'"), bytes(300_000)), "must have at most 262144 columns; got 300000"),
    (
        npy(described("(2, 2)", "'|O'"), b"cos\nsystem\n"),
        "must hold numbers; got pickled objects, which are not loaded",
    ),
    (npy(described("(2, 2)", "[('a', '<f8')]"), bytes(32)), "must hold numbers; got dtype"),
    (npy(described("(2, 2)", "'<U3'"), bytes(48)), "must hold numbers; got dtype <U3"),
    (npy(described("(2, 2)", "'nonsense'"), bytes(48)), "cannot be read as a numpy file"),
    (npy("{'descr': '<f8', 'fortran_order': False}", bytes(48)), "cannot be read as a numpy file"),
    (npy("(" * 9000), "cannot be read as a numpy file"),
    (npy("-" * 9000 + "1"), "cannot be read as a numpy file"),
    (npy("[" * 150 + "]" * 150), "cannot be read as a numpy file"),
    (npy("__import__('os').abort()"), "cannot be read as a numpy file"),
    (npy(" " * 60_000), "cannot be read as a numpy file"),
    (npy(described("(9" + "9" * 5000 + ", 2)")), "cannot be read as a numpy file"),
    (npy(b"\xff\x00\xfe"), "cannot be read as a numpy file"),
    (npy(described("(2, 2)"), bytes(32), version=3), "version .3, 0. is not for numbers"),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "cannot be read as a numpy file"),
    (b"\x93NUM", "cannot be read as a numpy file"),
]


@pytest.mark.parametrize(("content", "message"), HEADERS)
def test_headers_of_arrays(tmp_path, capsys, content, message):
    path = tmp_path / "t.npy"
    path.write_bytes(content)
    assert re.search(message, refusal(path, capsys))
    archive(tmp_path / "t.npz", [("0.npy", content), ("1.npy", array_bytes(PAIRS[:, 1]))])
    if "2-D" not in message:
        assert re.search(message, refusal(tmp_path / "t.npz", capsys))


def test_archives_that_unpack_far_beyond_their_size(tmp_path, capsys):
    content = npy(described("(20000000,)", "'|i1'"), bytes(20_000_000))  # of 8 bytes each as float64
    path = archive(tmp_path / "bomb.npz", [("0.npy", content), ("1.npy", array_bytes(PAIRS[:, 1]))])
    assert path.stat().st_size < 40_000
    assert "must take at most 134 MB of memory, for a file of this size; got 160 MB" in refusal(path, capsys)
    assert read_columns(path, ["1"])[0][:, 0].tolist() == PAIRS[:, 1].tolist()  # the other array can be read
    many = [(f"{i}.npy", npy(described("(4000000,)", "'|b1'"), bytes(4_000_000))) for i in range(5)]
    path = archive(tmp_path / "many.npz", many)
    with pytest.raises(ValueError, match=r"many\.npz: its contents must take at most 134 MB .* got 160 MB"):
        read_columns(path, ["[0-4]"])


def test_every_uncompressed_file_is_below_the_limit(tmp_path):
    path = tmp_path / "t.npy"
    np.save(path, np.zeros((2**22, 8), bool))
    check_unpacked_size(path, 8 * 2**25)  # as float64
    with pytest.raises(ValueError, match=r"t\.npy: the table must take at most 402 MB .*; got 800 MB"):
        check_unpacked_size(path, 800 * 10**6, "the table")


def test_archives_that_lie(tmp_path, capsys):
    good = array_bytes(PAIRS[:, 0])
    plain = archive(tmp_path / "t.npz", [("0.npy", good), ("1.npy", good)], zipfile.ZIP_STORED)
    content = plain.read_bytes()
    path = tmp_path / "changed.npz"
    central = content.index(b"PK\x01\x02")
    for name, start, value, message in [
        ("encrypted", 8, struct.pack("<H", 1), "array '0' of .* must not be encrypted"),
        ("method", 10, struct.pack("<H", 14), "must be stored or deflated, as numpy does; got method 14"),
        ("size", 24, struct.pack("<I", 2**31), "must take at most 134 MB of memory"),
        ("shorter", 24, struct.pack("<I", 200), "array '0' of .* cannot be read as a numpy file: Bad CRC"),
        ("offset", 42, struct.pack("<I", 2**30), "array '0' of .* cannot be read as a numpy file"),
        ("checksum", 16, struct.pack("<I", zlib.crc32(b"")), "array '0' of .* cannot be read as a numpy file"),
        ("name", 46, b"2", r"column '0' is not known"),
    ]:
        at = central + start
        path.write_bytes(content[:at] + value + content[at + len(value) :])
        assert re.search(message, refusal(path, capsys)), name
    for cut in (10, 200, len(content) - 30):
        path.write_bytes(content[:cut])
        assert "cannot be read as a numpy file" in refusal(path, capsys)
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive(path, [("0.npy", good), ("0.npy", good), ("1.npy", good)])
    assert "must hold arrays of different names" in refusal(path, capsys)
    archive(path, [("0", good), ("0.npy", good)])
    assert "must hold arrays of different names" in refusal(path, capsys)
    archive(path, [("0.npy", good), ("1.txt", b"hello")])
    assert "column '1' is not known; known: 0, 1.txt" in refusal(path, capsys)


def test_wide_headers_take_linear_time(tmp_path):
    """Ten times as many columns take ten times as long; quadratic time would be a hundred times."""
    path = tmp_path / "t.csv"

    def seconds(count):
        names = [f"c{i}" for i in range(count)]
        path.write_text(",".join(names) + "\n" + ",".join(["1"] * count) + "\n" + ",".join(["2"] * count) + "\n")
        begin = time.process_time()
        x, y = read_columns(path, names[::2], names[1::2])
        end = time.process_time()
        assert x.shape == y.shape == (2, count // 2)
        return end - begin

    seconds(300)
    assert seconds(30_000) < 40 * min(seconds(3_000) for _ in range(3))
    path.write_text("," * 300_000 + "\n1\n")
    with pytest.raises(ValueError, match=r"t\.csv must have at most 262144 columns; got 300001"):
        read_columns(path, ["*"])


def test_parquet_names_and_damage(tmp_path, capsys):
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table([PAIRS[:, 0], PAIRS[:, 1], PAIRS[:, 1]], names=["0", "1", "1"]), path)
    assert "column names must differ; got 1 more than once" in refusal(path, capsys)
    pyarrow.parquet.write_table(pyarrow.table([PAIRS[:, 0], PAIRS[:, 1]], names=["0", ""]), path)
    assert "column '1' is not known" in refusal(path, capsys)
    assert read_columns(path, ["*"])[0].tolist() == PAIRS.tolist()
    pyarrow.parquet.write_table(pyarrow.table([PAIRS[:, 0], PAIRS[:, 1]], names=["0", "1"]), path)
    content = path.read_bytes()
    footer = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    rng = np.random.default_rng(0)
    for _ in range(40):
        changed = bytearray(content)
        for at in rng.integers(footer, len(content) - 4, size=3):
            changed[at] = rng.integers(256)
        path.write_bytes(changed)
        try:
            (x,) = open_columns(path, ["0"])
            np.asarray(x)
        except (ValueError, TypeError) as error:
            assert "t.parquet" in str(error)  # noqa: PT017 - some changes do no harm
