"""Odd but valid files: ``make(rng, folder)`` gives the case, the path, the columns of each side, and their values."""

import io
import warnings
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet

ROWS = 40


def npy(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def npz(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that repeat
        for name, content in members:
            archive.writestr(name, content)


SPELLINGS = {
    "repr": repr,
    "exponent": lambda v: f"{v:.17e}",
    "capital exponent": lambda v: f"{v:.17E}",
    "sign": lambda v: f"{v:+.17g}",
    "spaces": lambda v: f"  {v!r} " if v < 0 else f" {v!r}",
    "quoted": lambda v: f'"{v!r}"',
    "thirty digits": lambda v: f"{v:.30f}",
    "zeros in front": lambda v: ("-" if v < 0 else "") + f"000{abs(v)!r}",
}


def valid_text(rng, folder):
    ending, separator = (".csv", ",") if rng.random() < 0.7 else (".TSV", "\t")
    how = str(rng.choice(list(SPELLINGS)))
    scale = float(rng.choice([1, 1, 1e-5, 1e9]))
    values = rng.normal(size=(ROWS, 2)) * scale
    cells = [[SPELLINGS[how](v) for v in row] for row in values.tolist()]
    case = f"{how}, times {scale}"
    kind = rng.random()
    if kind < 0.25:  # integers beyond 2⁵³, or decimals of 19 digits
        start, steps = int(rng.choice([2**53, 2**60, 2**62])) * int(rng.choice([-1, 1, 300])), rng.permutation(ROWS)
        values[:, 0] = steps
        cells = [[str(start + int(step)), row[1]] for step, row in zip(steps, cells, strict=True)]
        case = f"from {start} on"
    elif kind < 0.35:
        steps = rng.permutation(ROWS)
        values[:, 0] = steps * 1e-9
        cells = [[f"1700000000.{step:09d}", row[1]] for step, row in zip(steps, cells, strict=True)]
        case = "nanoseconds"
    other = rng.choice(
        ["word", "東京", '"a, b"', '"line\nbreak"', "", "NA", '"say ""hi"""', "1_000", "１２", "=1+1", "\x00"], ROWS
    )
    if separator == "\t":
        other = ["x\ty" if "," in cell else cell for cell in other]
        other = [f'"{cell}"' if "\t" in cell else cell for cell in other]
    end = str(rng.choice(["\n", "\r\n", "\r"]))
    header = [str(name) for name in rng.permutation(['"a"', "other", " b "])]
    place = {'"a"': lambda i: cells[i][0], "other": lambda i: str(other[i]), " b ": lambda i: cells[i][1]}
    lines = [separator.join(header)] + [separator.join(place[name](i) for name in header) for i in range(ROWS)]
    if rng.random() < 0.3:
        lines = [line for pair in lines for line in (pair, "")]
    text = end.join(lines) + end * int(rng.integers(0, 3))
    encoding = "utf-8-sig" if rng.random() < 0.3 else "utf-8"
    path = folder / f"t{ending}"
    path.write_bytes(text.encode(encoding))
    return f"{case}, {ending}, {end!r}, {encoding}", path, ["a"], ["b"], values


def valid_array(rng, folder):
    dtype = str(rng.choice(["<f8", ">f8", "<f4", "<f2", "<i8", ">i4", "<u8", "|i1", "|b1", "<i8 wide", "<u8 wide"]))
    values = rng.normal(size=(ROWS, 2)) * 40
    if dtype.endswith("wide"):
        plain, start = (
            rng.permuted(np.tile(np.arange(ROWS)[:, None], (1, 2)), axis=0),
            2**60 if dtype[1] == "i" else 2**63,
        )
        array, values = (plain.astype(object) + start).astype(dtype[:3]), plain.astype(float)
    else:
        values = values > 0 if dtype == "|b1" else np.abs(values) if dtype == "<u8" else values
        array = values.astype(dtype)
        values = array.astype(float)
    if rng.random() < 0.5:
        array = np.asfortranarray(array)
    if rng.random() < 0.5:
        path = folder / "t.npy"
        path.write_bytes(npy(array, (2, 0) if rng.random() < 0.3 else None))
        return f"npy {dtype}", path, ["0"], ["1"], values
    path = folder / str(rng.choice(["t.npz", "with space.npz", "ü.npz"]))
    compression = zipfile.ZIP_STORED if rng.random() < 0.5 else zipfile.ZIP_DEFLATED
    names = [("a", "b"), ("α", "a b"), ("x.y", "[1]")][rng.integers(3)]
    members = [
        (f"{names[0]}.npy", npy(array[:, 0])),
        (f"{names[1]}.npy", npy(array[:, 1:])),
        ("text.npy", npy(np.array(["u"]))),
    ]
    npz(path, [members[i] for i in rng.permutation(3)], compression)
    return f"npz {dtype} {compression} {names}", path, [names[0]], [names[1]], values


def valid_parquet(rng, folder):
    values = rng.normal(size=(ROWS, 2)) * 40
    kinds = ["double", "float", "int64", "int32", "int8", "uint16", "uint64", "bool", "halffloat", "wide"]
    columns, used = [], [str(kind) for kind in rng.choice(kinds, 2)]
    for j, kind in enumerate(used):
        if kind == "wide":
            values[:, j] = rng.permutation(ROWS)
            columns.append(pyarrow.array(2**60 + values[:, j].astype(np.int64)))
            continue
        if kind.startswith("u"):
            values[:, j] = np.abs(values[:, j])
        values[:, j] = (
            values[:, j] > 0
            if kind == "bool"
            else values[:, j].astype(np.dtype(pyarrow.type_for_alias(kind).to_pandas_dtype()))
        )
        dtype = bool if kind == "bool" else pyarrow.type_for_alias(kind).to_pandas_dtype()
        columns.append(pyarrow.array(values[:, j].astype(dtype)))
    names = [["a", "b"], ["a.b", "a"], ["é ", "b c"], ["0", "1"]][rng.integers(4)]
    table = pyarrow.table([*columns, ["u"] * ROWS, [{"b": 1}] * ROWS], names=[*names, "text", "nested"])
    options = {
        "compression": str(rng.choice(["none", "snappy", "gzip", "zstd", "brotli", "lz4"])),
        "row_group_size": int(rng.choice([1, 7, 1000])),
        "use_dictionary": bool(rng.random() < 0.5),
        "data_page_version": str(rng.choice(["1.0", "2.0"])),
        "write_statistics": bool(rng.random() < 0.5),
    }
    path = folder / "t.parquet"
    pyarrow.parquet.write_table(table, path, **options)
    return f"{used}, {options}, {names}", path, [names[0]], [names[1]], values


VALID = (valid_text, valid_text, valid_array, valid_parquet)
