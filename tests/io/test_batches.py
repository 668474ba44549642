"""Batches from memory and from disk, and columns that stay in their file."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch

import infomax
from infomax import batches, open_columns
from infomax.io.batches import Aligned, from_memory
from infomax.io.parquet import ParquetColumns
from infomax.io.stored import ArrayColumns, MappedColumns, columns_of

feeding = sys.modules["infomax.io.batches"]  # the function of that name hides the module
N = 3001


@pytest.fixture
def table(tmp_path):
    """A file of N rows and four columns, the first of which counts them."""
    array = np.random.default_rng(0).normal(size=(N, 4))
    array[:, 0] = np.arange(N)
    array[:, 3] = array[:, 0] ** 2
    np.save(tmp_path / "table.npy", array)
    return tmp_path / "table.npy"


@pytest.fixture
def parquet(table):
    """The same with row groups of different sizes, one of them larger than what is decoded at a time."""
    array = np.load(table)
    path = table.with_suffix(".parquet")
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in "abcd"])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for part in np.split(array, [7, 1500, 1600]):
            writer.write_table(pyarrow.table(dict(zip("abcd", part.T, strict=True))), row_group_size=len(part))
    return path


# --- columns of files ---


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int16", "uint8", "bool", ">f8", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_a_memory_map_are_those_of_the_array(tmp_path, dtype, order):
    array = np.asarray(np.random.default_rng(0).integers(0, 100, (57, 5)), dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    views = [
        (mapped, array),
        (mapped[:, 1:4], array[:, 1:4]),
        (mapped[:, 2], array[:, [2]]),
        (mapped[3::7, ::-2], array[3::7, ::-2]),
        (mapped[::-1], array[::-1]),
        (np.asarray(mapped)[5:], array[5:]),
        (mapped.T, array.T),
    ]
    for view, expected in views:
        columns = columns_of(view, "x")
        assert isinstance(columns, MappedColumns)
        assert columns.shape == expected.shape
        np.testing.assert_array_equal(np.asarray(columns), expected)
        np.testing.assert_array_equal(columns.read(2, 5), expected[2:5])
        assert columns.read(3, 3).shape == (0, expected.shape[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages in memory are read from /proc")
def test_pages_of_a_map_are_released_when_its_rows_are_read(table):
    def in_memory():
        maps = Path("/proc/self/smaps").read_text().split(str(table))[1:]
        return sum(int(part.split("Rss:")[1].split()[0]) for part in maps)

    mapped = np.load(table, mmap_mode="r")
    columns = columns_of(mapped, "x")
    assert mapped.sum() == pytest.approx(np.asarray(columns).sum())
    assert in_memory() == 0
    assert columns.read(5, 6)[0, 0] == mapped[5, 0] == 5
    assert in_memory() > 0  # as the test itself has read a row


def test_changes_of_a_map_are_seen_and_kept(table):
    private = np.load(table, mmap_mode="c")
    private[0] = 77  # in memory only
    columns = columns_of(private, "x")
    assert isinstance(columns, ArrayColumns)
    assert columns.read(0, 1)[0, 0] == 77
    shared = np.load(table, mmap_mode="r+")
    shared[0] = 55
    columns = columns_of(shared, "x")
    assert isinstance(columns, MappedColumns)
    assert columns.read(0, 1)[0, 0] == columns.read(0, 1)[0, 0] == shared[0, 0] == 55
    assert np.load(table)[0, 0] == 55


def test_a_map_whose_file_is_gone_or_another_is_read_from_the_map(table):
    expected = np.load(table)
    mapped = np.load(table, mmap_mode="r")
    table.unlink()
    np.testing.assert_array_equal(np.asarray(columns_of(mapped, "x")), expected)
    np.save(table, expected.astype(np.float32))
    np.testing.assert_array_equal(np.asarray(columns_of(mapped, "x")), expected)
    np.save(table, np.asfortranarray(expected))
    np.testing.assert_array_equal(np.asarray(columns_of(mapped, "x")), expected)


def test_selected_columns(table, parquet):
    array = np.load(table)
    x, y = open_columns(table, ["3", "0"], ["1"])
    assert x.shape == (N, 2)
    np.testing.assert_array_equal(np.asarray(x), array[:, [3, 0]])
    np.testing.assert_array_equal(y.read(100, 103), array[100:103, [1]])
    x, y = open_columns(parquet, ["d", "a"], ["[bc]", " b"])
    np.testing.assert_array_equal(np.asarray(x), array[:, [3, 0]])
    np.testing.assert_array_equal(np.asarray(y), array[:, [1, 2]])
    np.save(table, np.asfortranarray(array))
    (x,) = open_columns(table, ["3", "0"])
    np.testing.assert_array_equal(np.asarray(x), array[:, [3, 0]])


def test_parquet_is_read_by_row_groups_from_any_row_on(table, parquet):
    array = np.load(table)
    (columns,) = open_columns(parquet, list("abcd"))
    assert isinstance(columns, ParquetColumns)
    assert columns.edges.tolist() == [0, 7, 1500, 1600, N]
    rng = np.random.default_rng(0)
    for start in [0, 7, 2500, 1499, *rng.integers(N, size=20)]:
        stop = min(N, start + int(rng.integers(1200)))
        np.testing.assert_array_equal(columns.read(start, stop), array[start:stop])
    # Forwards within a group, in turn among groups, nothing is decoded twice.
    opened = []
    original = columns._file.iter_batches
    columns._file = type("File", (), {"iter_batches": lambda self, *a, **k: opened.append(k) or original(*a, **k)})()
    columns._open.clear()
    for start in range(0, 1400, 100):
        columns.read(7 + start, 107 + start)
        columns.read(1600 + start, 1700 + start)
    assert len(opened) == 2


def test_types_of_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"i": [1, 2], "b": [True, False], "f": np.float32([0.5, 1.5]), "s": ["u", "v"]})
    frame["m"] = pd.array([1, None], "Int64")
    frame["n"] = pd.array([True, None], "boolean")
    frame.to_parquet(path)
    (x,) = open_columns(path, ["i", "b", "f"])
    assert np.asarray(x).tolist() == [[1, 1, 0.5], [2, 0, 1.5]]
    for name in "mn":
        (x,) = open_columns(path, [name])
        np.testing.assert_array_equal(np.asarray(x), [[1], [np.nan]])
    with pytest.raises(TypeError, match=r"column 's' of .* must hold numbers; got dtype (large_)?string"):
        open_columns(path, ["s"])


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.npy", np.arange(4.0), ValueError, r"must hold a 2-D array; got \(4,\)"),
        ("a.npy", np.array([["u", "v"]]), TypeError, "must hold numbers; got dtype <U1"),
        ("a.npy", b"\x93NUMPY and no more", ValueError, "a.npy cannot be read as a numpy file"),
        ("a.npy", b"", ValueError, "a.npy is empty"),
        ("a.parquet", b"PAR1 not really PAR1", ValueError, "a.parquet cannot be read as Parquet"),
        ("a.csv", b"0,1", ValueError, r"the ending must be one of \.npy, \.parquet; got '\.csv'"),
        ("a.npy", np.zeros((5, 3)), ValueError, "column '3' is not known; known: 0, 1, 2"),
    ],
)
def test_files_that_cannot_be_opened(tmp_path, name, content, error, message):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content)
    with pytest.raises(error, match=message):
        open_columns(tmp_path / name, ["3"])


def test_files_that_are_cut_short(table, parquet):
    (columns,) = open_columns(table, ["0"])
    (groups,) = open_columns(parquet, ["a"])
    content = table.read_bytes()
    table.write_bytes(content[: len(content) // 2])
    for start in (0, 2000):
        with pytest.raises(ValueError, match=r"table\.npy: the file became shorter after it was opened"):
            columns.read(start, start + 1)
    with pytest.raises(ValueError, match=r"table\.npy cannot be read as a numpy file"):
        open_columns(table, ["0"])
    whole = parquet.read_bytes()
    parquet.write_bytes(whole[:8] + bytes(len(whole) // 2) + whole[8 + len(whole) // 2 :])
    with pytest.raises(ValueError, match=r"table\.parquet cannot be read as Parquet"):
        np.asarray(groups)


# --- batches ---


@pytest.fixture(params=["memory", "array", "map", "fortran", "parquet"])
def pair(request, table, parquet, monkeypatch):
    """x, the number of the row, and y, its square; all but the first stay where they are."""
    array = np.load(table)
    if request.param != "memory":
        monkeypatch.setattr(feeding, "MOST_CELLS", 1000)
        monkeypatch.setattr(feeding, "_STRETCH", 10)
    if request.param == "parquet":
        return open_columns(parquet, ["a"], ["d", "b"])
    if request.param == "fortran":
        np.save(table, np.asfortranarray(array))
    if request.param in ("map", "fortran"):
        array = np.load(table, mmap_mode="r")
    return array[:, 0], array[:, 3:0:-2]


@pytest.mark.parametrize("batch", [1, 64, 999, N])
def test_each_row_comes_once_an_epoch_in_pairs(pair, batch):
    drawn = list(batches(*pair, batch_size=batch, seed=3, epochs=2))
    x, y = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    assert x.shape == (2 * N, 1)
    assert y.shape == (2 * N, 2)
    assert x.dtype == y.dtype == torch.float32
    assert {len(part) for part, _ in drawn[:-1]} <= {batch}
    for epoch in x.split(N):
        np.testing.assert_array_equal(np.sort(epoch[:, 0].numpy()), np.arange(N))
    torch.testing.assert_close(y[:, 0], x[:, 0] ** 2, rtol=1e-6, atol=0)
    assert not torch.equal(*x.split(N))


def test_the_seed_decides_the_order(pair):
    first, again, other = (next(batches(*pair, seed=seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rows_of_the_whole_file_are_mixed(pair):
    """Stretches of ten rows, or row groups that are read in turn, are far apart, and shuffled."""
    x, _ = next(batches(*pair, batch_size=100))
    assert x.max() - x.min() > N / 3
    assert abs(np.corrcoef(x[:-1, 0], x[1:, 0])[0, 1]) < 0.4


def test_batches_do_not_change_when_the_pool_does(pair):
    feed = batches(*pair, batch_size=500)
    kept = [next(feed)[0] for _ in range(20)]
    copies = [part.clone() for part in kept]
    for _ in range(20):
        next(feed)
    assert all(map(torch.equal, kept, copies))


def test_rows_that_are_left_out_and_maps(table):
    array = np.load(table)
    without = np.array([0, 5, 17, 2999, 3000])
    aligned = Aligned.of({"x": array[:, [0]], "y": array[:, [3, 1]]})
    maps = {"y": lambda rows: np.sqrt(rows[:, :1])}
    feed = aligned.batches(100, np.random.default_rng(0), maps=maps, without=without)
    drawn = [next(feed) for _ in range(30)]
    x, y = (torch.cat(parts)[: N - 5] for parts in zip(*drawn, strict=True))
    np.testing.assert_array_equal(np.sort(x[:, 0].numpy()), np.delete(np.arange(N), without))
    torch.testing.assert_close(y, x)


def test_batches_from_memory_are_those_of_one_permutation_after_another():
    x = torch.arange(10.0)
    feed = from_memory([x, -x], 4, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    order = torch.cat([torch.randperm(10, generator=generator) for _ in range(20)])
    for expected in order.split(4):
        rows, negative = next(feed)
        assert torch.equal(rows, expected.float())
        assert torch.equal(negative, -rows)


def test_tensors_and_frames():
    frame = pd.DataFrame({"a": np.arange(50), "b": np.arange(50) % 2 == 0})
    tensor = torch.arange(50, dtype=torch.bfloat16, requires_grad=True)
    for x, y in batches(frame, tensor, batch_size=16, epochs=1):
        assert torch.equal(x[:, 0], y[:, 0])
        assert torch.equal(x[:, 1] == 1, y[:, 0] % 2 == 0)
        assert not y.requires_grad


@pytest.fixture(params=[False, True])
def stays(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(feeding, "MOST_CELLS", 1)
    return request.param


@pytest.mark.parametrize(
    ("samples", "options", "error", "message"),
    [
        ((), {}, ValueError, "samples must be at least one; got none"),
        ((np.arange(9.0),), {"batch_size": 10}, ValueError, "batch_size must be at most the number of rows, 9; got 10"),
        ((np.arange(9.0),), {"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1; got 0"),
        ((np.arange(9.0),), {"epochs": 1.5}, ValueError, "epochs must be a whole number of at least 1; got 1.5"),
        ((np.arange(9.0), np.arange(8.0)), {}, ValueError, "sample 1 must have as many rows as sample 0; got 8 and 9"),
        ((np.array(["a"] * 9),), {}, TypeError, "sample 0 must hold numbers"),
        ((np.zeros((9, 2, 2)),), {}, ValueError, "sample 0 must be 1-D"),
        ((np.array([0.0, 1.0, np.inf]),), {"batch_size": 2}, ValueError, "sample 0 must be finite.*; got .*inf"),
        (
            (np.array([0.0, 1.0, -1e39]),),
            {"batch_size": 2},
            ValueError,
            r"must be finite as float32; got -1e\+39 in row 2",
        ),
    ],
)
def test_bad_samples(stays, samples, options, error, message):
    with pytest.raises(error, match=message):
        next(batches(*samples, **options))


def test_a_bound_trains_on_batches(table):
    """As a user does it."""
    mapped = np.load(table, mmap_mode="r")
    cpc = infomax.CPC(1, 1)
    for x, y in batches(mapped[:, 1], mapped[:, 2], epochs=1):
        cpc.loss(x, y).backward()
    assert all(parameter.grad is not None for parameter in cpc.parameters())


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_seeds_that_are_none(seed):
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\*\*63 - 1; got"):
        batches(np.arange(9.0), batch_size=3, seed=seed)


@pytest.mark.parametrize("cells", [10**9, 10])
def test_numpy_may_be_told_to_raise(cells, monkeypatch):
    monkeypatch.setattr(sys.modules["infomax.io.batches"], "MOST_CELLS", cells)
    with np.errstate(all="raise"):
        assert float(next(batches(np.arange(60.0) * 1e-320, batch_size=60))[0].max()) == 0.0
