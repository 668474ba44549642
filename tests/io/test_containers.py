"""Tensors, tables and sequences: legal ones are read, the others are refused by the name of the argument."""

import array

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch

from infomax import ConstantColumnWarning, conditional, estimate, pairwise
from infomax.io.batches import stays
from infomax.io.samples import as_aligned, as_samples
from infomax.io.stored import columns_of

EXPECTED = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
PLAIN = torch.tensor(EXPECTED)


def lazily(data):
    """A lazy table, as polars' or dask's."""
    names = dict.fromkeys("ab")
    return type(
        "LazyFrame", (), {"dtypes": [], "columns": [*names], "collect_schema": lambda _: names, "collect": data}
    )()


#: Old versions of torch have no such type.
FOUR_BITS = (
    [(torch.zeros(3, dtype=torch.int4), TypeError, r"x must hold numbers .* got a Tensor of dtype torch\.int4")]
    if hasattr(torch, "int4")
    else []
)


@pytest.mark.parametrize(
    "data",
    [
        torch._neg_view(-PLAIN),
        torch.conj(torch.complex(PLAIN, -PLAIN)).imag,
        torch.nn.Parameter(PLAIN),
        PLAIN.to(torch.float8_e4m3fn),
        PLAIN.T.contiguous().T.to(torch.uint16),
        list(PLAIN.clone().requires_grad_()),
        [list(row) for row in PLAIN.clone().requires_grad_()],
        tuple(torch._neg_view(-PLAIN)),
        [PLAIN[0].tolist(), *PLAIN[1:].double()],
        pyarrow.table({"a": [0, 2, 4], "b": [1.0, 3.0, 5.0]}),
        pyarrow.record_batch({"a": pyarrow.array([0, 2, 4], "uint8"), "b": pyarrow.array([1, 3, 5], "float32")}),
        pd.DataFrame(EXPECTED, columns=[None, "b"]),
        pd.DataFrame(EXPECTED, columns=pd.MultiIndex.from_tuples([("u", "a"), ("u", "b")])),
        pd.DataFrame(pyarrow.table({"a": [0, 2, 4], "b": [1, 3, 5]}).to_pandas(types_mapper=pd.ArrowDtype)),
        pd.DataFrame({"a": pd.arrays.SparseArray([0, 2, 4]), "b": pd.array([1, 3, 5], "Float32")}),
    ],
)
def test_legal_containers(data):
    np.testing.assert_array_equal(as_samples(data, "x"), EXPECTED)
    np.testing.assert_array_equal(np.asarray(columns_of(data, "x")), EXPECTED)


def test_columns_of_arrow():
    for data in (pyarrow.array([True, False]), pyarrow.chunked_array([[1], [0]]), pyarrow.array(np.float16([1, 0]))):
        assert as_samples(data, "x").tolist() == [[1.0], [0.0]]


NAN = float("nan")
LOOP = [1.0]
LOOP.append(LOOP)


class Broken:
    def __array__(self, dtype=None, copy=None):
        raise KeyError("no such thing")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (PLAIN.to("meta"), TypeError, "x must hold numbers; got a tensor without values, on the device meta"),
        (
            torch.nested.nested_tensor([PLAIN, PLAIN], layout=torch.jagged),
            TypeError,
            "x must be a dense tensor; got a nested tensor",
        ),
        *FOUR_BITS,
        (torch.conj(torch.complex(PLAIN, PLAIN)), TypeError, "x must hold numbers, text or dates; got dtype complex64"),
        ([PLAIN[0], PLAIN[1].to_sparse()], TypeError, r"x must be a dense tensor; got layout torch\.sparse_coo"),
        (pyarrow.table({"a": [[1]]}), TypeError, "column 'a' of x must hold numbers, text or dates; got dtype list"),
        (
            pyarrow.table([[1], [2]], names=["a", "a"]),
            ValueError,
            r"x must have columns of different names; got \['a', 'a'\]",
        ),
        (
            pd.DataFrame([[1, 2]], columns=[NAN, NAN]),
            ValueError,
            r"x must have columns of different names; got \[nan, nan\]",
        ),
        (pyarrow.table({"a": [1, None]}), ValueError, "x must be finite; got 1 NaN"),
        (pyarrow.table({}), ValueError, r"x must have at least one column; got Table of shape \(0, 0\)"),
        (lazily(PLAIN), TypeError, "x must be in memory; got a lazy LazyFrame: collect or compute it first"),
        (LOOP, ValueError, "x must have rows of equal length; got a ragged list"),
        (Broken(), TypeError, "x must hold numbers; got Broken: 'no such thing'"),
        ([10**400, 1.0], ValueError, "x must hold numbers within the range of float64"),
    ],
)
def test_other_containers_are_refused_by_name(data, error, message):
    with pytest.raises(error, match=message):
        as_samples(data, "x")
    with pytest.raises(error, match=message):
        columns_of(data, "x")
    with pytest.raises(error, match=message):
        estimate(data, data)
    assert not stays([data])


def test_a_device_without_values_is_refused():
    with pytest.raises(ValueError, match="device must be one that computes; got 'meta'"):
        estimate(np.arange(30.0), np.arange(30.0) ** 2, bound="gaussian", device="meta")
    with pytest.raises(TypeError, match="z must hold numbers; got a tensor without values, on the device meta"):
        conditional(np.arange(30.0), np.arange(30.0), torch.zeros(30, device="meta"))


def test_labels_of_arrow_tables():
    table = pyarrow.table({"age": [1, 2], "unit": [7, 7]})
    with pytest.warns(ConstantColumnWarning, match="x has 1 constant of 2 columns, left out: 'unit'$"):
        as_aligned({"x": table, "y": [1, 2]}, least=2)
    values = np.random.default_rng(0).normal(size=(30, 2))
    result = pairwise(pyarrow.table({"age": values[:, 0], "income": values[:, 1]}), progress=False)
    assert list(result.names) == ["age", "income"]


def test_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [0, 2, 4], "b": [1.0, 3.0, 5.0]})
    np.testing.assert_array_equal(as_samples(frame, "x"), EXPECTED)
    assert as_samples(frame["a"] + 2**60, "x")[:, 0].tolist() == [0, 2, 4]
    with pytest.raises(TypeError, match="x must be in memory; got a lazy LazyFrame: collect or compute it first"):
        as_samples(frame.lazy(), "x")
    with pytest.raises(TypeError, match="x must hold numbers, text or dates; got dtype Int128"):
        as_samples(polars.Series([2**70, 1], dtype=polars.Int128), "x")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor|The PyTorch API of nested tensors|ComplexHalf")
def test_tensors_that_torch_warns_of():
    with pytest.raises(TypeError, match=r"x must hold numbers; got dtype torch\.qint8: call dequantize\(\) first"):
        as_samples(torch.quantize_per_tensor(PLAIN, 1.0, 0, torch.qint8), "x")
    with pytest.raises(TypeError, match=r"x must hold numbers .* got a Tensor of dtype torch\.complex32"):
        as_samples(torch.zeros(3, dtype=torch.complex32), "x")
    nested = torch.nested.nested_tensor([PLAIN, PLAIN])
    with pytest.raises(TypeError, match="x must be a dense tensor; got a nested tensor"):
        estimate(nested, nested)


def test_buffers_are_read_as_they_are():
    """A view of two dimensions is a sequence that cannot be iterated over; those of float16 have no items."""
    values = np.arange(120.0).reshape(60, 2)
    for view in (memoryview(values), memoryview(values.astype(np.float16)), memoryview(values[::-1])[::-1]):
        np.testing.assert_array_equal(as_samples(view, "x"), values)
    wide = array.array("Q", [2**63 + k for k in range(60)])
    assert as_samples(wide, "x")[:, 0].tolist() == list(range(60))
