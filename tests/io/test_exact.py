"""Values that float64 would make equal: integers beyond 2⁵³, extended numbers, and decimals in text."""

import sys
from collections import deque
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch

from infomax import batches, conditional, estimate, open_columns, pairwise, read_columns
from infomax.io.files import read_named
from infomax.io.samples import as_samples

feeding = sys.modules["infomax.io.batches"]  # the function of that name hides the module
N = 120
STEPS = np.arange(N)
WIDE = 2**60 + STEPS
Y = STEPS + 30 * np.random.default_rng(0).normal(size=N)


def gaussian(x):
    return estimate(x, Y, bound="gaussian").mi


def parquet(folder, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "t.parquet")
    return open_columns(folder / "t.parquet", list(columns))[0]


@pytest.mark.filterwarnings("ignore::infomax.TrainingWarning")
def test_an_offset_changes_no_estimate():
    options = {"quick": True, "progress": False}
    for bound, margins in ((["default", "gaussian", "ksg"], "normal"), (["gaussian", "ksg"], "standard")):
        wide, plain = (estimate(x, Y, bound=bound, margins=margins, **options) for x in (WIDE, STEPS))
        assert [result.mi for result in wide] == [result.mi for result in plain]
    other = np.random.default_rng(1).permutation(N)
    wide, plain = (conditional(x, Y, z, bound="gaussian") for x, z in ((WIDE, 2**55 + other), (STEPS, other)))
    assert wide.mi == plain.mi
    wide, plain = (pairwise(pd.DataFrame({"a": x, "b": Y}), progress=False) for x in (WIDE, STEPS))
    assert wide.mi[0, 1] == plain.mi[0, 1]


@pytest.mark.parametrize(
    "column",
    [
        WIDE[::-1],
        WIDE.astype(">i8"),
        WIDE.astype(np.uint64) + 2**63,
        -(2**63) + STEPS,
        WIDE.tolist(),
        np.stack([WIDE, STEPS], 1),
        np.longdouble(2**62) + STEPS,
        torch.from_numpy(WIDE),
        torch.from_numpy(WIDE).to(torch.uint64),
        pd.Series(WIDE),
        pd.Series(WIDE, dtype="Int64"),
        pd.DataFrame({"clock": WIDE, "value": 0.5 * STEPS}),
        pyarrow.array(WIDE),
        pyarrow.table({"clock": WIDE, "value": 0.5 * STEPS}),
    ],
)
def test_integers_beyond_2_to_53_are_less_their_minimum(column):
    first = as_samples(column, "x")[:, 0]
    assert np.array_equal(first if first[0] < first[-1] else first[::-1], STEPS)


def test_what_float64_represents_is_not_shifted():
    for values in ([2**53, -(2**53), 1], [1e300, 2.5], [2**53 - 1, 2**53]):
        assert as_samples(values, "x")[:, 0].tolist() == values
    far_apart = np.random.default_rng(0).integers(0, 2**64, 500, dtype=np.uint64)
    exact = far_apart.astype(object) - int(far_apart.min())
    assert as_samples(far_apart, "x")[:, 0].tolist() == [float(value) for value in exact]


@pytest.mark.parametrize(
    "column",
    [
        np.append(WIDE, 0),
        [0.5, *WIDE.tolist()],
        [0.5, *WIDE],
        [-1, *(np.uint64(2**63) + STEPS.astype(np.uint64)).tolist()],
        np.append(np.longdouble(2**63) + STEPS, 0) / 2**70,
    ],
)
def test_values_that_would_become_equal_are_refused(column):
    with pytest.raises(ValueError, match=r"must hold values that remain different in float64; got .* and .*: subtract"):
        as_samples(column, "x")


def test_numbers_and_dates_of_other_kinds_are_exact():
    for column in ([Decimal(int(value)) for value in WIDE], [2**70 + i for i in range(N)]):
        assert as_samples(column, "x")[:, 0].tolist() == STEPS.tolist()
    for column in (WIDE.view("M8[ns]"), pd.Series(WIDE.view("m8[ns]")), pyarrow.array(WIDE, pyarrow.timestamp("ns"))):
        assert as_samples(column, "x")[:, 0].tolist() == STEPS.tolist()


def test_files_and_values_that_a_user_sees(tmp_path):
    np.save(tmp_path / "t.npy", WIDE[:, None])
    np.savez(tmp_path / "t.npz", **{"0": WIDE})
    np.savetxt(tmp_path / "t.csv", WIDE, fmt="%d", header="0", comments="")
    pyarrow.parquet.write_table(pyarrow.table({"0": WIDE}), tmp_path / "t.parquet")
    for name in ("t.npy", "t.npz", "t.csv", "t.parquet"):
        (columns,) = read_named(tmp_path / name, ["0"])
        assert columns.samples[:, 0].tolist() == STEPS.tolist()
        with pytest.raises(ValueError, match=rf"{name}.* must hold values that remain different"):
            read_columns(tmp_path / name, ["0"])  # returns the values themselves, and so cannot shift them
    with pytest.raises(ValueError, match="sample 0 must hold values that remain different"):
        next(batches(WIDE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ([str(value) for value in WIDE], STEPS),
        ([f"-{2**64 - 1 - i}" for i in range(N)], STEPS),
        ([f" {2**70 + i}.0 " for i in range(N)], STEPS),
        ([f"1700000000.{i:09d}" for i in STEPS], STEPS * 1e-9),
        ([f'"1.00000000000000000{i:03d}e5"' for i in STEPS], STEPS * 1e-15),
    ],
)
def test_text_that_float64_would_make_equal(tmp_path, text, expected):
    path = tmp_path / "t.csv"
    path.write_text("u,a\n" + "".join(f"7,{cell}\n" for cell in text))
    (columns,) = read_named(path, ["a"])
    np.testing.assert_allclose(columns.samples[:, 0], expected, rtol=1e-15)


@pytest.mark.parametrize("start", [2**60, 2**70])
def test_text_of_values_that_no_offset_tells_apart(tmp_path, start):
    path = tmp_path / "t.csv"
    path.write_text("u,a\n" + "".join(f"7,{cell}\n" for cell in [0, *range(start, start + N)]))
    with pytest.raises(ValueError, match=rf"column 'a' of .* remain different in float64; got {start} and {start + 1}"):
        read_named(path, ["a"])


@pytest.mark.parametrize("cell", ["1e-400", "-0.00001E-320", "0." + 330 * "0" + "1", "1e-99999999999999999999"])
def test_text_that_float64_would_make_zero(tmp_path, cell):
    path = tmp_path / "t.csv"
    for others in ("1", "0"):
        path.write_text(f"a\n{others}\n{cell}\n{others}\n")
        with pytest.raises(ValueError, match=r"column 'a'.* must be (0 or at least 5e-324 in magnitude|a number)"):
            read_columns(path, ["a"])
    path.write_text("a\n0e-400\n1e-320\n0\n")
    assert read_columns(path, ["a"])[0].tolist() == [[0.0], [1e-320], [0.0]]


@pytest.mark.parametrize("kind", ["array", "uint64", "map", "parquet"])
def test_samples_that_are_not_copied_have_one_offset(tmp_path, monkeypatch, kind):
    order = np.random.default_rng(1).permutation(3 * N)
    clock, y = 2**60 + order, order + 90 * np.random.default_rng(0).normal(size=3 * N)
    np.save(tmp_path / "t.npy", clock[:, None])
    sources = {
        "array": lambda: clock,
        "uint64": lambda: clock.astype(np.uint64) + 2**63,
        "map": lambda: np.load(tmp_path / "t.npy", mmap_mode="r"),
        "parquet": lambda: parquet(tmp_path, clock=clock),
    }
    monkeypatch.setattr(feeding, "MOST_CELLS", 100)
    monkeypatch.setattr("infomax.training.streaming._SCANNED", 64)  # many chunks
    assert feeding.stays((clock, y))
    wide, plain = (estimate(x, y, bound="gaussian") for x in (sources[kind](), order))
    assert wide.mi == pytest.approx(plain.mi, rel=1e-12)
    assert wide.mi > 0.4
    with pytest.raises(ValueError, match="sample 0 must hold whole numbers within"):
        next(batches(sources[kind]()))
    clock[-1] = 5
    with pytest.raises(
        ValueError, match=rf"x must hold whole numbers within 2\*\*53 of {clock[0]}, .* got 5 in row 359"
    ):
        estimate(clock, y, bound="gaussian")


def test_parquet_columns_of_different_types(tmp_path, monkeypatch):
    columns = parquet(tmp_path, clock=WIDE, value=0.5 * STEPS, flag=STEPS % 2 == 0)
    assert as_samples(columns, "x").tolist() == [[i, 0.5 * i, i % 2 == 0] for i in range(N)]
    with pytest.raises(ValueError, match=r"column 'clock' of .* must hold whole numbers of at most 2\*\*53 beside"):
        columns.read(0, 5)
    monkeypatch.setattr(feeding, "MOST_CELLS", 100)
    with pytest.raises(ValueError, match=r"column 'clock' of .* must hold whole numbers of at most 2\*\*53 beside"):
        estimate(columns, Y, bound="gaussian")


@pytest.mark.parametrize("kind", [lambda start: range(start, start + N), lambda start: deque(range(start, start + N))])
def test_sequences_of_any_kind_keep_wide_integers(kind):
    assert gaussian(kind(2**63 - 50)) == gaussian(kind(0))


@pytest.mark.parametrize("one", [int, np.int64, torch.tensor, np.array])
@pytest.mark.parametrize("kind", [list, deque])
def test_wide_integers_beside_a_fraction_are_refused(one, kind):
    message = "must hold values that remain different in float64"
    for first in (0.5, np.float64(0.5), torch.tensor(0.5)):
        with pytest.raises(ValueError, match=message):
            gaussian(kind([first, *(one(2**60 + k) for k in range(N - 1))]))
    with pytest.raises(ValueError, match=message):
        gaussian(kind([one(2**60 + k), k + 0.5] for k in range(N)))
    small = kind([one(k), k + 0.5] for k in range(N))
    assert gaussian(small) == gaussian(np.column_stack([STEPS, STEPS + 0.5]))
