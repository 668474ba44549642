"""Samples in memory: values by types by containers by layouts by faults, through every function that takes samples."""

import array
import contextlib
import decimal
import importlib.util
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import torch
from attack.outcome import Outcome, outcome

import infomax

TITLE = "Arrays, tensors and tables"
LARGE = 2400

polars = importlib.import_module("polars") if importlib.util.find_spec("polars") else None

# --- values: an array of any type, and the same as float64, up to an offset of each column ---

FLOATS = ("f8", "f8", "f4", "f2", ">f8", ">f4", "g")
INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i8", ">u2", "?")
#: From random numbers and a shape to real numbers.
REAL = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "huge": lambda rng, shape: rng.uniform(-1, 1, shape) * 1.7e308,
    "tiny": lambda rng, shape: rng.normal(size=shape) * 1e-300,
    "subnormal": lambda rng, shape: rng.integers(-50, 50, shape) * 5e-324,
    "many decades": lambda rng, shape: 10.0 ** rng.uniform(-300, 300, shape),
    "far from zero": lambda rng, shape: 1e9 + rng.normal(size=shape),
    "signed zeros": lambda rng, shape: rng.choice([-0.0, 0.0, 1.0], shape),
    "with an outlier": lambda rng, shape: np.where(np.arange(shape[0])[:, None] == 7, 1e150, rng.normal(size=shape)),
    "sorted": lambda rng, shape: np.sort(rng.normal(size=shape), 0),
}
WHOLE = {
    "ties": lambda rng, shape: rng.integers(0, 5, shape),
    "binary": lambda rng, shape: rng.integers(0, 2, shape),
    "counts": lambda rng, shape: rng.poisson(20, shape),
    "permutation": lambda rng, shape: rng.permuted(np.tile(np.arange(shape[0])[:, None], (1, shape[1])), axis=0),
    "one constant": lambda rng, shape: np.where(np.arange(shape[1]) == 0, 3, rng.integers(0, 9, shape)),
    "constant": lambda rng, shape: np.full(shape, 7),
}
#: Starts of integers beyond 2⁵³, for each type.
STARTS = {
    "i8": (2**53, 2**60, -(2**63), -(2**62) - 1, 2**63 - 10**6),
    "u8": (2**53 - 5, 2**63 - 50, 2**64 - 10**6, 2**63),
}


def _values(rng, n):
    shape = (n, int(rng.choice([1, 1, 2, 3])))
    family = rng.choice(["real", "whole", "whole", "wide"])
    if family == "real":
        name, dtype = str(rng.choice(list(REAL))), str(rng.choice(FLOATS))
        with np.errstate(over="ignore"):
            values = REAL[name](rng, shape).astype(dtype)
        if not np.isfinite(values.astype(float)).all():  # too large for the type
            values = REAL["normal"](rng, shape).astype(dtype)
        return f"{name} {dtype}", values, values.astype(np.float64)
    if family == "whole":
        name, dtype = str(rng.choice(list(WHOLE))), str(rng.choice(INTEGERS + FLOATS))
        values = WHOLE[name](rng, shape).astype(dtype)
        return f"{name} {dtype}", values, values.astype(np.float64)
    dtype = str(rng.choice(list(STARTS)))
    start = STARTS[dtype][rng.integers(len(STARTS[dtype]))]
    step = 1 if start in (2**63 - 50, 2**64 - 10**6, 2**63 - 10**6) else int(rng.choice([1, 3, 1000]))
    plain = rng.permuted(np.tile(np.arange(n)[:, None], (1, shape[1])), axis=0) * step
    wide = (plain.astype(object) + start).astype(dtype)
    return f"{start} and more {dtype} by {step}", wide, plain.astype(np.float64)


# --- layouts of arrays: the same values in other memory ---

LAYOUTS = {
    "as it is": lambda a: a,
    "fortran": np.asfortranarray,
    "backwards": lambda a: a[::-1].copy()[::-1],
    "every third": lambda a: np.repeat(a, 3, axis=0)[::3],
    "columns backwards": lambda a: a[:, ::-1].copy()[:, ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "unaligned": lambda a: np.frombuffer(b"." + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "field": lambda a: np.rec.fromarrays([a, a], names="u,v")["u"],
    "one dimension": lambda a: a[:, 0] if a.shape[1] == 1 else a,
}


# --- containers; each raises Unfit for values that it cannot hold ---


class Unfit(Exception):  # noqa: N818 - no error
    """The container cannot hold the values."""


def _native(a):
    if a.dtype.itemsize > 8:
        raise Unfit
    return np.array(a, a.dtype.newbyteorder("="))


def _tensor(a):
    return torch.from_numpy(_native(a).copy())


def _real(a):
    if a.dtype.kind != "f" or a.dtype.itemsize < 4:
        raise Unfit
    return _tensor(a)


def _small(a, dtype):
    if np.abs(a.astype(float)).max() > 8 or (a.astype(float) % 1).any():
        raise Unfit
    return _tensor(a.astype("f4")).to(dtype)


def _frame(a, **options):
    a = _native(a)[:, None] if a.ndim == 1 else _native(a)
    return pd.DataFrame({f"c{j}": a[:, j] for j in range(a.shape[1])}, **options)


def _nullable(a, suffix=""):
    if a.dtype.itemsize == 2 and a.dtype.kind == "f":
        raise Unfit
    return _frame(a).convert_dtypes(dtype_backend="pyarrow" if suffix else "numpy_nullable", convert_integer=False)


def _arrow(a):
    return pyarrow.table(_frame(a).to_dict("series"))


def _polars(a):
    if polars is None or a.dtype == np.float16:
        raise Unfit
    return polars.DataFrame({name: column.to_numpy() for name, column in _frame(a).items()})


def _one(a):
    if a.ndim == 2 and a.shape[1] > 1:
        raise Unfit
    return _native(a).reshape(-1)


def _buffer(a):
    a = _one(a)
    if a.dtype.kind not in "fiu" or a.dtype == np.float16:
        raise Unfit
    return array.array(a.dtype.char, a.tobytes())


def _stored(a, folder, ending):
    a = _native(a)[:, None] if a.ndim == 1 else _native(a)
    path = folder / f"t{ending}"
    if ending == ".npy":
        np.save(path, a)
    else:
        pyarrow.parquet.write_table(pyarrow.table({str(j): column for j, column in enumerate(a.T)}), path)
    return infomax.open_columns(path, [str(j) for j in range(a.shape[1])])[0]


def _mapped(a, folder):
    np.save(folder / "m.npy", a)
    return np.load(folder / "m.npy", mmap_mode="r")


CONTAINERS = {
    "array": lambda a, _: a,
    "list": lambda a, _: a.tolist() if a.dtype.itemsize <= 8 else list(a),
    "tuple of arrays": lambda a, _: tuple(a),
    "list of numbers": lambda a, _: [list(row) for row in a] if a.ndim == 2 else list(a),
    "matrix": lambda a, _: np.asmatrix(a if a.ndim == 2 else a[:, None]),
    "masked array": lambda a, _: np.ma.masked_array(a, mask=False),
    "memory map": _mapped,
    "buffer": lambda a, _: _buffer(a),
    "memoryview": lambda a, _: memoryview(_native(a)),
    "tensor": lambda a, _: _tensor(a),
    "tensor of columns": lambda a, _: _tensor(a).T.contiguous().T if a.ndim == 2 else _tensor(a),
    "strided tensor": lambda a, _: torch.repeat_interleave(_tensor(a), 2, 0)[::2],
    "negative view": lambda a, _: torch._neg_view(-_real(a)),
    "imaginary part": lambda a, _: torch.conj(torch.complex(_real(a), -_real(a))).imag,
    "parameter": lambda a, _: torch.nn.Parameter(_real(a)),
    "inside a graph": lambda a, _: _real(a).requires_grad_() * 1,
    "list of tensors": lambda a, _: list(_real(a).requires_grad_()),
    "lists of tensors": lambda a, _: [list(row) for row in _real(a if a.ndim == 2 else a[:, None]).requires_grad_()],
    "bfloat16": lambda a, _: _small(a, torch.bfloat16),
    "float8": lambda a, _: _small(a, torch.float8_e4m3fn),
    "frame": lambda a, _: _frame(a),
    "frame of other labels": lambda a, _: _frame(a, index=pd.RangeIndex(len(a))).set_axis(
        ["é", None, 5][: a[:1].size], axis=1
    ),
    "series": lambda a, _: pd.Series(_one(a), name="c"),
    "index": lambda a, _: pd.Index(_one(a).astype("f8") if a.dtype == np.float16 else _one(a)),
    "nullable frame": lambda a, _: _nullable(a),
    "frame of Arrow types": lambda a, _: _nullable(a, "arrow"),
    "Arrow table": lambda a, _: _arrow(a),
    "Arrow batch": lambda a, _: _arrow(a).to_batches()[0],
    "Arrow array": lambda a, _: pyarrow.array(_one(a)),
    "Arrow chunks": lambda a, _: pyarrow.chunked_array([_one(a)[:9], _one(a)[9:]]),
    "polars frame": lambda a, _: _polars(a),
    "polars series": lambda a, _: _polars(_one(a))["c0"],
    "columns of npy": lambda a, folder: _stored(a, folder, ".npy"),
    "columns of Parquet": lambda a, folder: _stored(a, folder, ".parquet"),
}


# --- faults: what they make of a good array cannot be answered ---


def _put(a, value):
    a = np.array(a, np.float64)
    a.flat[a.size // 2] = value
    return a


def _broken(a):
    class Broken:
        shape = a.shape

        def __array__(self, *_, **__):
            raise KeyError("nothing")

    return Broken()


def _loop(n):
    rows = [[1.0] for _ in range(n)]
    rows[0] = rows
    return rows


def _lazy(a):
    if polars is not None:
        return polars.DataFrame({"a": a[:, 0]}).lazy()
    return type("LazyFrame", (), {"dtypes": [], "columns": ["a"], "collect": None})()


FAULTS = {
    "nan": lambda a: _put(a, np.nan),
    "infinite": lambda a: _put(a, -np.inf),
    "nan tensor": lambda a: torch.from_numpy(_put(a, np.nan)),
    "nan frame": lambda a: pd.DataFrame(_put(a, np.nan)),
    "None": lambda a: [None, *a.tolist()[1:]],
    "nothing": lambda _: None,
    "text": lambda a: a.astype(str),
    "bytes": lambda a: bytes(len(a)),
    "one word": lambda _: "temperature",
    "text frame": lambda a: pd.DataFrame(a.astype(str)),
    "complex": lambda a: a.astype(complex),
    "complex tensor": lambda a: torch.from_numpy(a.astype(complex)).conj(),
    "object": lambda a: a.astype(object),
    "decimals": lambda a: [decimal.Decimal(int(v)) for v in a[:, 0]],
    "integers of 70 bits": lambda a: [2**70 + i for i in range(len(a))],
    "integers and fractions": lambda a: [0.5, *range(2**60, 2**60 + len(a) - 1)],
    "signed and unsigned": lambda a: [-1, *range(2**63, 2**63 + len(a) - 1)],
    "span beyond 2^53": lambda a: np.append(2**60 + np.arange(len(a) - 1), 0),
    "unsigned span": lambda a: np.append(np.uint64(2**64 - 1) - np.arange(len(a) - 1, dtype=np.uint64), np.uint64(0)),
    "Arrow span": lambda a: pyarrow.array(np.append(2**60 + np.arange(len(a) - 1), 0)),
    "dates": lambda a: np.arange(len(a)).astype("M8[ns]"),
    "durations": lambda a: pd.Series(np.arange(len(a)).astype("m8[s]")),
    "Arrow dates": lambda a: pyarrow.array(np.arange(len(a)), pyarrow.timestamp("ns")),
    "Arrow decimals": lambda a: pyarrow.array([decimal.Decimal(1)] * len(a)),
    "Arrow nulls": lambda a: pyarrow.array([None, *range(len(a) - 1)]),
    "Arrow lists": lambda a: pyarrow.array([[1.0]] * len(a)),
    "Arrow names twice": lambda a: pyarrow.table([a[:, 0], a[:, 0]], names=["a", "a"]),
    "Arrow of no columns": lambda _: pyarrow.table({}),
    "names twice": lambda a: pd.DataFrame(np.repeat(a[:, :1], 2, 1), columns=["a", "a"]),
    "missing names twice": lambda a: pd.DataFrame(np.repeat(a[:, :1], 2, 1), columns=[np.nan, np.nan]),
    "missing entry": lambda a: pd.Series([None, *range(len(a) - 1)], dtype="Int64"),
    "category": lambda a: pd.Series(["u", "v"] * (len(a) // 2)).astype("category"),
    "ragged": lambda a: [[1.0], *a.repeat(2, 1).tolist()[1:]],
    "loop": lambda a: _loop(len(a)),
    "three dimensions": lambda a: a[:, :, None].repeat(2, 2),
    "no dimension": lambda _: np.float64(3),
    "a number": lambda _: 7,
    "no columns": lambda a: a[:, :0],
    "no rows": lambda a: a[:0],
    "few rows": lambda a: a[:5],
    "a row less": lambda a: a[1:],
    "a row more": lambda a: np.vstack([a, a[:1]]),
    "masked": lambda a: np.ma.masked_less(a, np.median(a) + 0.5),
    "structured": lambda a: np.rec.fromarrays([a[:, 0]], names="u"),
    "sparse tensor": lambda a: torch.from_numpy(a.astype(float)).to_sparse(),
    "sparse rows": lambda a: torch.from_numpy(a.astype(float)).to_sparse_csr(),
    "meta tensor": lambda a: torch.from_numpy(a.astype(float)).to("meta"),
    "huge meta tensor": lambda _: torch.empty(10**12, 3, device="meta"),
    "nested tensor": lambda a: torch.nested.nested_tensor([torch.from_numpy(a.astype(float))] * 2),
    "jagged tensor": lambda a: torch.nested.nested_tensor([torch.from_numpy(a.astype(float))] * 2, layout=torch.jagged),
    "quantised tensor": lambda a: torch.quantize_per_tensor(torch.from_numpy(a.astype("f4")), 1.0, 0, torch.qint8),
    "tensor of 4 bits": lambda a: torch.zeros(len(a), dtype=torch.int4),
    "half complex": lambda a: torch.zeros(len(a), dtype=torch.complex32),
    "masked tensor": lambda a: torch.masked.masked_tensor(torch.from_numpy(a.astype(float)), torch.from_numpy(a > 0)),
    "list with a sparse tensor": lambda a: [torch.from_numpy(row.astype(float)).to_sparse() for row in a],
    "lazy frame": _lazy,
    "dictionary": lambda a: {"a": a},
    "set": lambda a: set(a[:, 0].tolist()),
    "generator": lambda a: (value for value in a[:, 0]),
    "function": lambda _: np.sin,
    "broken": _broken,
    "integer beyond float64": lambda a: [1 << 1100, *range(len(a) - 1)],
    "extended infinity": lambda a: np.append(np.longdouble(10) ** 400, np.arange(len(a) - 1)),
    "void": lambda a: np.zeros(len(a), "V4"),
    "characters": lambda a: np.array(["a"] * len(a), dtype="S1"),
}


# --- functions that take samples: from one attacked sample and others to numbers ---


def _numbers(result):
    return [result.mi, result.stderr, result.pvalue or 0.0]


FUNCTIONS = {
    "gaussian x": ("x", lambda a, y, _: _numbers(infomax.estimate(a, y, bound="gaussian"))),
    "gaussian y": ("y", lambda a, y, _: _numbers(infomax.estimate(y, a, bound="gaussian"))),
    "ksg x": ("x", lambda a, y, _: _numbers(infomax.estimate(a, y, bound="ksg"))),
    "ksg, standardised": ("y", lambda a, y, _: _numbers(infomax.estimate(y, a, bound="ksg", margins="standard"))),
    "plugin": ("x", lambda a, y, _: _numbers(infomax.estimate(a, y > 0, bound="plugin"))),
    "several bounds": ("x", lambda a, y, _: [r.mi for r in infomax.estimate(a, y, bound=["gaussian", "ksg"])]),
    "itself": ("x", lambda a, *_: _numbers(infomax.estimate(a, a, bound="gaussian"))),
    "pairwise": ("x", lambda a, *_: infomax.pairwise(a, progress=False).mi.ravel()),
    "pairwise with y": ("y", lambda a, y, _: infomax.pairwise(y, a, progress=False).pvalue.ravel()),
    "conditional z": ("z", lambda a, y, z: _numbers(infomax.conditional(y, z, a, bound="gaussian"))),
    "interaction": ("x", lambda a, y, z: [infomax.interaction_information(a, y, z, bound="gaussian").mi]),
    "transfer": ("source", lambda a, y, _: [infomax.transfer_entropy(a, y, bound="gaussian").mi]),
    "directed": ("target", lambda a, y, _: [infomax.directed_information(y, a, bound="gaussian").mi]),
    "total correlation": ("x2", lambda a, y, _: [infomax.total_correlation([y, a], bound="gaussian").mi]),
    "batches": (
        "sample 0",
        lambda a, y, _: np.concatenate([p.ravel() for p in next(infomax.batches(a, y, batch_size=9))]),
    ),
}
#: The default estimator takes a second, and is called rarely.
DEFAULT = ("x", lambda a, y, _: _numbers(infomax.estimate(a, y, quick=True, progress=False)))


def attack(count, seed=0):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = 0
        while made < count:
            with contextlib.suppress(Unfit):
                yield _one_case(rng, Path(folder), slow=made % 60 == 59)
                made += 1


def _one_case(rng, folder, *, slow):
    n = int(rng.integers(40, 90)) // 2 * 2
    kind, native, plain = _values(rng, n)
    z = rng.normal(size=(n, 1))
    y = np.argsort(np.argsort(plain[:, [-1]], 0), 0) / n + z * rng.choice([0.1, 1.0])
    function = "default" if slow else str(rng.choice(list(FUNCTIONS)))
    argument, call = DEFAULT if slow else FUNCTIONS[function]
    if rng.random() < 0.3:
        fault = str(rng.choice(list(FAULTS)))
        if function in ("itself", "pairwise") and fault in ("a row less", "a row more"):
            raise Unfit
        if fault == "nothing" and function == "pairwise with y":
            raise Unfit  # stands for x
        bad = FAULTS[fault](rng.normal(size=(n, 2)).round(3))
        case = f"{fault} in {function}"
        found = outcome(
            case, lambda: f"answered {call(bad, y, z)}", names=(f"{argument} ", f"of {argument} ", "as many rows")
        )
        if found.kind == "wrong" and function == "batches" and fault in ("few rows", "no rows"):
            raise Unfit  # no batch is possible, or a small one
        return found
    layout, container = str(rng.choice(list(LAYOUTS))), str(rng.choice(list(CONTAINERS)))
    if function == "pairwise" and plain.shape[1] == 1:
        raise Unfit  # has no pair
    data = CONTAINERS[container](LAYOUTS[layout](native), folder)
    case = f"{kind}, {layout}, {container}, n={n}, {native.shape[1]} columns, {function}"

    def judge():
        state = torch.get_rng_state()
        found = np.asarray(call(data, y, z), float)
        if not torch.equal(state, torch.get_rng_state()):
            return "the global generator changed"
        expected = np.asarray(call(native.astype(np.float64) if function == "batches" else plain, y, z), float)
        if not np.isfinite(found).all() and function not in ("pairwise", "pairwise with y"):
            return f"not finite: {found}"
        return (
            None if np.allclose(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True) else f"{found}, not {expected}"
        )

    found = outcome(case, judge)
    largest = np.abs(native.astype(np.float64)).max()
    beyond = function == "batches" and (" and more " in kind or largest > np.finfo(np.float32).max)
    if found.kind == "refused" and not beyond:
        return Outcome(case, "wrong", f"refused legal samples: {found.detail}")
    return found
