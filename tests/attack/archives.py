"""Hostile archives and tables in the plain format, read by ``python -m mmim_example convert``.

An archive is composed of members with a type, a shape, a compression and a header that may lie, and is then damaged; a
table, of a header, rows and fields that are odd, long or many.
"""

from __future__ import annotations

import io
import random
import shutil
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attack import commands
from attack.outcome import Outcome

TITLE = "Archives and tables, by mmim_example convert"
LARGE = 160

ROWS = 12
#: Largest size of a table, and of the contents of an archive, in large and in small attacks.
_TABLE, _CONTENTS = (9_900_000, 100_000), (400_000_000, 2_000_000)
_TYPES = ("<f4", "<f8", "<f2", ">f4", "i1", "u8", "?", "<c16", "S9", "<U3", "<M8[s]", "V5", "O")
_NAMES = (
    "text",
    "audio",
    "audio_lengths",
    "text_missing",
    "tokens",
    ".",
    "../../text",
    "x" * 300,
    "\U0001f600",
    "a_lengths",
)


def table() -> list[str]:
    """A valid table."""
    splits = ["train"] * 6 + ["valid"] * 3 + ["test"] * 3
    return ["id,split,label,text", *(f"v{i}_{i},{split},{i % 3 - 1}.5,so it is" for i, split in enumerate(splits))]


def arrays(rng: random.Random) -> dict[str, np.ndarray]:
    """Valid features."""
    draw = np.random.default_rng(rng.randrange(2**32))
    return {
        "text": draw.normal(size=(ROWS, 3)).astype("f4"),
        "audio": draw.normal(size=(ROWS, 4, 2)).astype("f4"),
        "audio_lengths": np.full(ROWS, 4),
    }


def member(rng: random.Random, most: int) -> tuple[str, bytes]:
    """The bytes of an array, or of something like one, with a header that may lie."""
    kind = rng.choice(_TYPES)
    rows = rng.choice([ROWS, ROWS, 0, 1, most // 100])
    shape = rng.choice(
        [(rows,), (rows, 2), (rows, 4, 2), (rows, 0, 10**9), (ROWS, most // 200), (), (ROWS, most // 800, 2)]
    )
    claimed = rng.choice([shape] * 4 + [(10**11,), (-1, -ROWS), (2**62, 2**62), (True, ROWS), ("a",), (ROWS, 10**6)])
    itemsize = 8 if kind == "O" else np.dtype(kind).itemsize
    size = min(most, int(np.prod(shape, dtype=object)) * itemsize)
    header = f"{{'descr': {kind!r}, 'fortran_order': {rng.choice([True, False])}, 'shape': {claimed!r}}}"
    if rng.random() < 0.15:
        header = rng.choice(
            ["(" * 5000, "{'descr': 1", "", "\n\n", "{}", "[" * 9000 + "]" * 9000, header * 2, " " * 70_000]
        )
    text = header.encode() + b"\n"
    version, length = rng.choice([(b"\x01\x00", "<H"), (b"\x02\x00", "<I"), (b"\x03\x00", "<I"), (b"\x09\x01", "<H")])
    lies = rng.choice([0, 0, 0, 0, 100, -5])
    head = b"\x93NUMPY" + version + struct.pack(length, max(0, len(text) + lies) % 65_536) + text
    return f"{kind} {claimed}", rng.choice([head, head, head, b"", head[:9]]) + bytes([rng.choice([0, 1])]) * size


def archive(rng: random.Random, most: int) -> tuple[str, bytes]:
    """An archive of valid and of odd members, the bytes of which may be damaged."""
    file, said = io.BytesIO(), []
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compresslevel=1) as made:
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, array in arrays(rng).items():
            content = io.BytesIO()
            np.save(content, array)
            made.writestr(f"{name}.npy", content.getvalue())
        for _ in range(rng.choice([0, 1, 1, 2, 30])):
            what, content = member(rng, most if not said else most // 40)
            method = rng.choice([zipfile.ZIP_DEFLATED] * 4 + [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
            if method != zipfile.ZIP_DEFLATED:
                content = content[:1_000_000]
            name = rng.choice(_NAMES) + rng.choice([".npy", ".npy", ""])
            made.writestr(name, content, method)
            said.append(f"{name[:9]} {what} {len(content)} bytes, method {method}")
    data = bytearray(file.getvalue())
    damage = rng.choice(["none", "none", "encrypted", "sizes", "offset", "cut", "flips", "comment"])
    start = data.rindex(b"PK\x01\x02")
    if damage == "encrypted":
        data[start + 8] |= 1
    elif damage == "sizes":
        data[start + rng.choice([20, 24]) : start + 28] = struct.pack("<I", rng.choice([0, 1, 10**6, 2**31, 2**32 - 1]))
    elif damage == "offset":
        data[start + 42 : start + 46] = struct.pack("<I", rng.choice([0, 1, len(data) - 4, 2**31]))
    elif damage == "cut":
        del data[rng.randrange(len(data)) :]
    elif damage == "flips":
        for _ in range(rng.randint(1, 40)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif damage == "comment":
        data[:0] = bytes(rng.randrange(1, 1000))
    return f"archive: {damage}; {'; '.join(said[:3])}", bytes(data)[:9_900_000]


def odd_table(rng: random.Random, most: int) -> tuple[str, bytes]:
    """A table with odd fields, or very many."""
    lines = table()
    how = rng.choice(
        ["label", "split", "id", "fields", "header", "bytes", "commas", "columns", "rows", "long", "quote"]
    )
    i = rng.randrange(1, len(lines))
    fields = lines[i].split(",")
    odd = rng.choice(
        ["", "nan", "inf", "1_0", "\uff11", "1e999", "1e-400", "0x1", "1 2", "9" * 5000, "\x00", "-", "\u0661"]
    )
    if how == "label":
        fields[2] = odd
        lines[i] = ",".join(fields)
    elif how in ("split", "id"):
        fields[how == "split"] = rng.choice(["", "x" * 100_000, "v0_0", "Train", '"a\nb"', "\U0001f600", odd])
        lines[i] = ",".join(fields)
    elif how == "fields":
        lines[i] = rng.choice(["", ",", lines[i] + ",1", fields[0], "," * 5000])
    elif how == "header":
        lines[0] = rng.choice(
            ["", "id", "id,id,split,label", "ID,SPLIT,LABEL,text", "\ufeffid,split,label,text", "\x00"]
        )
    elif how == "columns":
        more = "," * (most // (len(lines) + 1) // 2)
        lines = [lines[0] + "".join(f",c{j}" for j in range(len(more))), *(line + more for line in lines[1:])]
    elif how == "commas":
        lines = [rng.choice([",", "\n", '"",', "a,train,1\n"]) * (most // 9)]
    elif how == "rows":
        row = rng.choice(["{0},train,1,", "{0},test,0,x", ",,,", "{0},train,1.5,\U0001f600", "1,valid,1,"])
        lines = [lines[0], *(row.format(j) for j in range(most // (len(row) + 5)))]
    elif how == "long":
        lines[i] = ",".join([*fields[:3], "a" * rng.choice([131_000, 132_000, most])])
    elif how == "quote":
        lines[i] = ",".join([*fields[:3], rng.choice(['"', '"a"b', '"' * 9999, '"a\n' * 1000])])
    content = "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"
    if how == "bytes":
        content = rng.choice([b"\xff\xfe", b"\x00" * 100, bytes(range(256)), b""]) + content
    return f"table: {how}", content[:9_900_000]


def attack(count: int, seed: int) -> Iterator[Outcome]:
    """Convert ``count`` data sets in the plain format, in each of which one file is hostile; one in twenty is valid."""
    rng, large = random.Random(seed), count >= LARGE // 2
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "data", Path(name) / "out"
        folder.mkdir()
        for i in range(count):
            (folder / "utterances.csv").write_text("\n".join(table()) + "\n", encoding="utf-8")
            rng.choice([np.savez, np.savez_compressed])(folder / "features.npz", **arrays(rng))
            case = "valid"
            if i % 20:
                made = rng.choice([archive, archive, odd_table])
                case, content = made(rng, (_CONTENTS if made is archive else _TABLE)[not large])
                (folder / ("features.npz" if made is archive else "utterances.csv")).write_bytes(content)
            done = commands.run("convert", out, "--data", folder)
            found = done.outcome(f"{i} {case}", str(folder))
            if case == "valid" and done.status:
                found = Outcome(case, "wrong", f"a valid data set was refused: {done.stderr}")
            yield found
            shutil.rmtree(out, ignore_errors=True)
