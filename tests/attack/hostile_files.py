"""Hostile files: ``make(rng, folder)`` gives the case, the path, and whether the file must be refused."""

import functools
import io
import pickle
import struct
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
from attack.hostile_tables import bad_cell, bad_table, damaged_text, flipped
from attack.valid_files import ROWS, npy, npz


def raw(header, body=b"", version=1):
    """An .npy file with any header."""
    header = header if isinstance(header, bytes) else header.encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + body


def described(shape, kind="<f8", order=False):
    return f"{{'descr': {kind!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@functools.cache
def zeros(header, megabytes):
    """The bytes of an .npz archive of which ``a.npy`` has so many zeros."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(megabytes):
            member.write(bytes(10**6))
    return file.getvalue()


SHAPES = (
    "(100000000000, 2)",
    f"({10**30}, 2)",
    "(-5, 2)",
    "(40, True)",
    "(40,)",
    "()",
    "(40, 2, 1)",
    "(1, 300000)",
    "(40, 0)",
    "(2.5, 2)",
)
HEADERS = (
    *("(" * 9000, "-" * 9000 + "1", "[" * 150 + "]" * 150, "__import__('os').abort()", " " * 60_000, "None", "{}", "1"),
    *("", "{'descr': '<f8'}", b"\xff\xfe\x00", "f'{1}'", "{**{}}", "'" * 3000, "\x00" * 100),
    "{'descr': '<f8', 'fortran_order': False, 'shape': (40, 2), 'more': 1}",
    "{'descr': '<f8', 'fortran_order': 'no', 'shape': (40, 2)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': [40, 2]}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (9" + "9" * 5000 + ", 2)}",
    "{'descr': 7, 'fortran_order': False, 'shape': (40, 2)}",
)
DTYPES = (
    "|O",
    "<U3",
    "|S8",
    "<c16",
    "<M8[ns]",
    "|V8",
    "<f3",
    "<i16",
    "nonsense",
    "",
    "<f8,<f8",
    "O,O",
    "<m8[s]",
    "|S0",
    "<U0",
    "(2,)<f8",
)


def bad_array(rng):
    kind = rng.integers(6)
    body = np.zeros((ROWS, 2)).tobytes()
    if kind == 0:
        shape = str(rng.choice(SHAPES))
        return f"shape {shape}", raw(described(shape), body if shape != "(1, 300000)" else bytes(2_400_000))
    if kind == 1:
        header = HEADERS[rng.integers(len(HEADERS))]
        return f"header {header[:20]!r}", raw(header, body, version=int(rng.choice([1, 2])))
    if kind == 2:
        dtype = str(rng.choice(DTYPES))
        return f"dtype {dtype}", raw(described((ROWS, 2), dtype), body)
    if kind == 3:
        return "announced length", b"\x93NUMPY\x02\x00" + struct.pack(
            "<I", int(rng.integers(2**31, 2**32))
        ) + b"{" * 1000
    if kind == 4:
        return "version", raw(described((ROWS, 2)), body, version=int(rng.choice([0, 3, 9, 255])))
    return "cut short", npy(np.zeros((ROWS, 2)))[: int(rng.integers(1, 760))]


def bad_npy(rng, folder):
    case, content = bad_array(rng)
    path = folder / "t.npy"
    path.write_bytes(content)
    return f"npy, {case}", path, True


def damaged_npy(rng, folder):
    path = folder / "t.npy"
    path.write_bytes(flipped(rng, npy(rng.normal(size=(ROWS, 2))), 0, 140))
    return "damaged npy", path, False


FIELDS = {
    "encrypted": (8, b"\x01\x00"),
    "size": (24, b"\xff\xff\xff\x7f"),
    "offset": (42, b"\xff\xff\xff\x3f"),
    "checksum": (16, b"\0\0\0\0"),
}


def bad_npz(rng, folder):
    path = folder / "t.npz"
    good = npy(rng.normal(size=ROWS))
    kind = str(
        rng.choice(
            ["member", "bomb", "field", "method", "cut", "twice", "object", "ragged", "empty", "one array", "three"]
        )
    )
    if kind == "member":
        case, content = bad_array(rng)
        kind = f"member, {case}"
        npz(path, [("a.npy", content), ("b.npy", good)], int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
        if case in ("shape (40,)", "shape (40, 0)", "shape (1, 300000)", "shape ()"):
            return kind, path, case != "shape (40,)"
    elif kind == "bomb":
        values, dtype = [(50, "<f8"), (50, "|i1"), (200, "<f4"), (300, "<f8")][rng.integers(4)]
        header = raw(described((values * 10**6 // np.dtype(dtype).itemsize,), dtype))
        path.write_bytes(zeros(header, values))
        kind = f"bomb of {values} MB {dtype}"
        return kind, path, True
    elif kind == "three":
        npz(path, [("a.npy", npy(np.zeros((ROWS, 2, 2)))), ("b.npy", good)])
    elif kind in ("field", "method", "cut"):
        npz(path, [("a.npy", good), ("b.npy", good)], zipfile.ZIP_STORED)
        content = bytearray(path.read_bytes())
        name = str(rng.choice(list(FIELDS)))
        start, value = (
            (10, struct.pack("<H", int(rng.choice([1, 9, 12, 14, 93, 99])))) if kind == "method" else FIELDS[name]
        )
        at = content.index(b"PK\x01\x02") + start
        content[at : at + len(value)] = value
        path.write_bytes(content[: int(rng.integers(1, len(content)))] if kind == "cut" else content)
        kind = f"{kind} {name}" if kind == "field" else kind
    elif kind == "twice":
        npz(path, [("a.npy", good), (str(rng.choice(["a.npy", "a"])), good), ("b.npy", good)])
    elif kind == "object":
        np.savez(path, a=np.array([None] * ROWS, object), b=np.zeros(ROWS))
    elif kind == "ragged":
        npz(path, [("a.npy", good), ("b.npy", npy(np.zeros(ROWS - 1)))])
    elif kind == "empty":
        npz(path, [])
    else:
        path.write_bytes(good)
    return f"npz, {kind}", path, True


def damaged_npz(rng, folder):
    path = folder / "t.npz"
    good = npy(rng.normal(size=ROWS))
    npz(path, [("a.npy", good), ("b.npy", good)], int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    content = path.read_bytes()
    low = content.index(b"PK\x01\x02") if rng.random() < 0.6 else 0
    path.write_bytes(flipped(rng, content, low))
    return "damaged npz", path, False


def bad_parquet(rng, folder):
    path = folder / "t.parquet"
    a, b = rng.normal(size=(2, ROWS))
    kind = str(
        rng.choice(
            ["names", "nulls", "nan", "text", "decimal", "time", "list", "cut", "magic", "encrypted", "long", "pages"]
        )
    )
    columns = {"nulls": pyarrow.array([None, *a[1:]]), "nan": np.append(a[1:], np.nan), "text": ["u"] * ROWS}
    columns["decimal"] = pyarrow.array(a).cast(pyarrow.decimal128(20, 5), safe=False)
    columns["time"] = pyarrow.array(np.arange(ROWS), pyarrow.timestamp("ns"))
    columns["list"] = [[value] for value in a]
    if kind == "long":  # one value, millions of times, in few bytes
        many = pyarrow.array(np.zeros(9 * 10**6, np.int8))
        pyarrow.parquet.write_table(pyarrow.table({"a": many, "b": many}), path)
        return "parquet, long", path, None
    if kind == "pages":  # 72 MB in one page
        many = pyarrow.array(np.zeros(9 * 10**6))
        options = {"use_dictionary": False, "compression": "zstd", "data_page_size": 2**30, "row_group_size": 10**9}
        pyarrow.parquet.write_table(pyarrow.table({"a": many, "b": many}), path, **options)
        return "parquet, large pages", path, None
    names = ["a", "b", "b"] if kind == "names" else ["a", "b"]
    table = pyarrow.table([columns.get(kind, a), b, b][: len(names)], names=names)
    pyarrow.parquet.write_table(table, path)
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: int(rng.integers(1, len(content)))])
    elif kind == "magic":
        path.write_bytes(b"PAR1" + struct.pack("<I", int(rng.choice([0, 8, 2**31 - 1, 2**32 - 1]))) + b"PAR1")
    elif kind == "encrypted":
        path.write_bytes(b"PARE" + content[4:-4] + b"PARE")
    return f"parquet, {kind}", path, True


def damaged_parquet(rng, folder):
    path = folder / "t.parquet"
    options = {"compression": str(rng.choice(["none", "snappy", "zstd"])), "row_group_size": int(rng.choice([9, 1000]))}
    pyarrow.parquet.write_table(
        pyarrow.table(dict(zip("ab", rng.normal(size=(2, ROWS)), strict=True))), path, **options
    )
    content = path.read_bytes()
    footer = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    path.write_bytes(flipped(rng, content, footer if rng.random() < 0.7 else 0))
    return "damaged parquet", path, False


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def bad_path(rng, folder):
    """Names and contents that do not belong together, and names that are no files."""
    kind = str(
        rng.choice(["missing", "folder", "loop", "long", "ending", "empty", "device", "swapped", "pickle", "random"])
    )
    ending = str(rng.choice([".csv", ".tsv", ".npy", ".npz", ".parquet"]))
    path = folder / f"t{ending}"
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "long":
        path = folder / ("t" * 300 + ending)
    elif kind == "ending":
        path = folder / f"t{rng.choice(['.xlsx', '.csv.gz', '', '.pkl', '.h5', '.txt', '.npy ', '.NPYX'])}"
        path.write_bytes(b"a,b\n1,2\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "random":
        path.write_bytes(rng.bytes(int(rng.integers(1, 3000))))
    elif kind == "swapped":
        content = {".npz": npy(np.zeros((ROWS, 2))), ".npy": b"a,b\n1,2\n"}.get(ending, npy(np.zeros((ROWS, 2))))
        path.write_bytes(content)
    return f"{kind} {ending}", path, True


HOSTILE = (
    *(bad_cell, bad_cell, bad_table, damaged_text, bad_npy, damaged_npy),
    *(bad_npz, bad_npz, damaged_npz, bad_parquet, damaged_parquet, bad_path),
)
