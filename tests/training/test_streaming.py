"""Estimates from data that are not copied whole."""

import json
import subprocess
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import infomax
from infomax import Schedule, SubsampleWarning, conditional, estimate
from infomax.command_line.main import main
from infomax.training import streaming
from infomax.training.streaming import Sampled, draw_rows

N = 6000
TRUTH = 0.5 * np.log(2)
pytestmark = pytest.mark.filterwarnings("ignore::infomax.SubsampleWarning")


@pytest.fixture
def large(monkeypatch):
    """Everything above 1,000 cells stays where it is, and at most 900 rows are measured."""
    monkeypatch.setattr(sys.modules["infomax.io.batches"], "MOST_CELLS", 1000)
    for name, value in {"MOST_MEASURED": 900, "_MOST_VALIDATION": 500, "_MOST_SKETCHED": 1000}.items():
        monkeypatch.setattr(streaming, name, value)
    monkeypatch.setattr("infomax.estimators.problem.MOST_MEASURED", 900)
    monkeypatch.setattr("infomax.estimation.compositions.MOST_MEASURED", 900)


@pytest.fixture
def array():
    """x, what tells nothing, and y = x + noise, in the order of x, so that neighbours are alike."""
    x, nothing, noise = np.random.default_rng(0).normal(size=(3, N))
    x.sort()
    return np.column_stack([x, nothing, x + noise])


@pytest.fixture
def path(array, tmp_path):
    np.save(tmp_path / "table.npy", array)
    return tmp_path / "table.npy"


def parquet_of(path, array):
    path = path.with_suffix(".parquet")
    table = pyarrow.table(dict(zip("xny", array.T, strict=True)))
    pyarrow.parquet.write_table(table, path, row_group_size=700)
    return path


# --- which rows ---


def test_rows_are_drawn_once_and_uniformly(monkeypatch):
    monkeypatch.setattr(streaming, "MOST_DRAWN", 64)  # 512 rows or fewer are permuted
    for n, count in ((40, 40), (512, 64), (513, 64), (10**15, 64)):
        rows = draw_rows(n, count, np.random.default_rng(0))
        assert len(set(rows.tolist())) == len(rows) == min(n, count)
        assert 0 <= rows.min() <= rows.max() < n
        np.testing.assert_array_equal(rows[:10], draw_rows(n, 10, np.random.default_rng(0)))
    for n in (500, 600):
        counts = np.zeros(n)
        for seed in range(900):
            counts[draw_rows(n, 50, np.random.default_rng(seed))] += 1
        expected = 900 * 50 / n
        assert ((counts - expected) ** 2 / expected).sum() < n + 4 * np.sqrt(2 * n)


def test_what_is_drawn_are_rows_of_the_samples(array, path):
    mapped = np.load(path, mmap_mode="r")
    sampled = Sampled.of({"x": mapped[:, :2], "y": mapped[:, 2]}, least=20, seed=1, most=1000)
    assert len(sampled.rows) == 1000
    np.testing.assert_array_equal(sampled.drawn["x"], array[sampled.rows, :2])
    np.testing.assert_array_equal(sampled.drawn["y"], array[sampled.rows, 2:])
    assert not (np.diff(sampled.rows) > 0).all()
    fewer = Sampled.of({"x": array[:, :2], "y": array[:, 2]}, least=20, seed=1, cells=300)
    np.testing.assert_array_equal(fewer.rows, sampled.rows[:100])


# --- estimates ---


@pytest.mark.parametrize("bound", ["default", "infonce", "gaussian", "ba"])
def test_a_memory_map_gives_what_the_array_gives(array, path, bound):
    """Small: as it always was."""
    mapped, array = np.load(path, mmap_mode="r")[::6], array[::6]
    options = {"bound": bound, "schedule": Schedule(steps=20), "quick": True, "progress": False}
    first = estimate(mapped[:, 0], mapped[:, 2], **options)
    assert first == estimate(array[:, 0], array[:, 2], **options)
    assert first.n == N // 6


USED = {"default": "used, drawn at random", "gaussian": None}


@pytest.mark.parametrize(
    "bound",
    ["infonce", "ba", "gaussian", *(pytest.param(bound, marks=pytest.mark.slow) for bound in ("default", "nwj"))],
)
def test_larger_data_give_the_same_wherever_they_lie(large, array, path, bound):
    mapped = np.load(path, mmap_mode="r")
    used = USED.get(bound, "measured, drawn at random; the others are used for training")
    options = {"bound": bound, "schedule": Schedule(steps=100), "quick": True, "progress": False}
    result = estimate(mapped[:, :2], mapped[:, 2], **options)
    low, high = result.confidence_interval(0.999)
    assert low < TRUTH < high
    assert result.stderr < 0.05
    assert result.n == (900 if used else N)
    assert [one for one in result.warnings if "rows are" in one] == [f"900 of 6000 rows are {used}"] * bool(used)
    in_memory = estimate(array[:, :2], array[:, 2], **options)
    assert in_memory == result
    x, y = infomax.open_columns(path, ["0", "1"], ["2"])
    assert estimate(x, y, **options) == result
    if bound != "infonce":
        return
    x, y = infomax.open_columns(parquet_of(path, array), ["x", "n"], ["y"])
    other = estimate(x, y, **options)  # the same rows are measured, others come in another order
    assert other.mi == pytest.approx(result.mi, abs=0.05)
    assert other == estimate(x, y, **options)


def test_the_warning_is_shown_at_the_users_line(large, array):
    with pytest.warns(SubsampleWarning, match="^ba: 900 of 6000 rows are measured") as caught:
        estimate(array[:, 0], array[:, 2], bound="ba", quick=True, progress=False)
    assert caught[0].filename == __file__


def test_the_default_never_takes_more_rows(array, monkeypatch):
    monkeypatch.setattr("infomax.estimators.problem.MOST_MEASURED", 500)
    rare = np.where(np.arange(N) < 30, np.arange(N), -1)  # constant in most rows
    x = np.column_stack([array[:, 0], rare])
    result, gaussian = estimate(x, array[:, 2], bound=["default", "gaussian"], quick=True, progress=False)
    assert (result.n, gaussian.n) == (500, N)
    assert len(result.local) == 500
    assert result.warnings[0] == "500 of 6000 rows are used, drawn at random"


def test_several_bounds_and_folds(large, array):
    x, y = array[:, 0], array[:, 2]
    options = {"schedule": Schedule(steps=20), "quick": True, "progress": False}
    alone = [estimate(x, y, bound=bound, **options) for bound in ("default", "ba", "gaussian")]
    assert estimate(x, y, bound=["default", "ba", "gaussian"], **options) == alone
    folds = estimate(x, y, bound="infonce", folds=3, **options)
    assert len(folds.history) == 3
    assert folds.n == 900
    assert len(alone[1].history) == 1


def test_rows_that_are_measured_or_validated_never_train(large, array, monkeypatch):
    """Spoil all rows that were drawn for that, in the stream alone: nothing may change."""
    drawn = Sampled.of({"x": array[:, 0], "y": array[:, 2]}, least=20, seed=0).rows[:1400]

    def spoiled(self, start, stop):
        rows = array[start:stop, : self.shape[1]].copy()
        rows[np.isin(np.arange(start, stop), drawn)] = np.nan
        return rows

    options = {"bound": "infonce", "schedule": Schedule(steps=50, check_every=10), "progress": False}
    original = Sampled.fit

    def fit(self, *arguments, **keywords):
        with monkeypatch.context() as patch:
            patch.setattr("infomax.io.stored.ArrayColumns.read", spoiled)
            return original(self, *arguments, **keywords)

    monkeypatch.setattr(Sampled, "fit", fit)
    result = estimate(array[:, 0], array[:, 1], **options)
    assert np.isfinite(result.mi)
    assert not result.history[0].diverged


def test_constant_columns_are_left_out(large, array):
    x = np.column_stack([np.ones(N), array[:, 0], np.ones(N)])
    with pytest.warns(infomax.ConstantColumnWarning, match="x has 2 constant of 3 columns, left out: 0, 2") as caught:
        result = estimate(x, array[:, 2], bound="infonce", schedule=Schedule(steps=10), progress=False)
    assert caught[0].filename == __file__
    assert result == estimate(x[:, 1], array[:, 2], bound="infonce", schedule=Schedule(steps=10), progress=False)
    with pytest.warns(infomax.InfomaxWarning, match="constant"):
        nothing = estimate(x[:, 0], array[:, 2], progress=False)
    assert nothing.mi == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_other_types(large, array, tmp_path, dtype):
    rounded = np.asfortranarray((100 * array).round().astype(dtype))
    np.save(tmp_path / "a.npy", rounded)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    options = {"bound": "infonce", "schedule": Schedule(steps=100), "quick": True, "progress": False}
    result = estimate(mapped[:, 0], mapped[:, 2], **options)
    assert result.mi == pytest.approx(TRUTH, abs=0.06)
    assert result == estimate(rounded[:, 0].astype(np.float64), rounded[:, 2].astype(np.float64), **options)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_what_is_not_finite_is_named_with_its_row(large, array, path, value, monkeypatch):
    monkeypatch.setattr(streaming, "_SCANNED", 3 * 500)
    array[4321, 2] = value
    np.save(path, array)
    parquet = infomax.open_columns(parquet_of(path, array), ["x"], ["n", "y"])
    mapped = np.load(path, mmap_mode="r")
    for x, y in ((mapped[:, 0], mapped[:, 1:]), parquet):
        with pytest.raises(ValueError, match=f"y must be finite; got {value} in row 4321, column 1"):
            estimate(x, y, progress=False)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((600, 2)), np.zeros(599), ValueError, "y must have as many rows as x; got 599 and 600"),
        (np.zeros((10, 200)), np.zeros(10), ValueError, "x must have at least 20 rows; got 10"),
        (
            np.zeros((600, 2)),
            np.array([1j] * 600),
            TypeError,
            "y must hold numbers, text or dates; got dtype complex128",
        ),
        (np.zeros((600, 2, 2)), np.zeros(600), ValueError, r"x must be 1-D \(N,\) or 2-D \(N, D\); got 3-D"),
    ],
)
def test_bad_samples(large, x, y, error, message):
    with pytest.raises(error, match=message):
        estimate(x, y, progress=False)


def test_compositions_take_rows_that_are_drawn(large, array, path):
    x, z, y = np.load(path, mmap_mode="r").T
    with pytest.warns(SubsampleWarning, match=r"^I\(x; y \| z\): 900 of 6000 rows are used, drawn at random") as caught:
        result = conditional(x, y, z, bound="gaussian")
    assert caught[0].filename == __file__
    assert result.n == 900
    assert result.warnings[0] == "900 of 6000 rows are used, drawn at random"
    rows = draw_rows(N, 900, np.random.default_rng(0))
    assert result.mi == pytest.approx(conditional(*(part[rows] for part in (x, y, z)), bound="gaussian").mi, rel=1e-12)


@pytest.mark.parametrize("ending", [".npy", ".parquet"])
def test_the_command_line_opens_files_without_reading_them_whole(large, array, path, ending, capsys):
    names, file = ("0,1", "2"), path
    if ending == ".parquet":
        names, file = ("x,n", "y"), parquet_of(path, array)
    command = ["estimate", str(file), "--x", names[0], "--y", names[1], "--quick", "--no-progress"]
    assert main([*command, "--bound", "ba,gaussian", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    x, y = infomax.open_columns(file, names[0].split(","), names[1].split(","))
    expected = estimate(x, y, bound=["ba", "gaussian"], quick=True, progress=False)
    assert [one["mi"] for one in printed] == [result.mi for result in expected]
    assert main(command) == 0
    assert "900 of 6000 rows are used, drawn at random" in capsys.readouterr().out


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from infomax import Schedule, batches, estimate
from infomax.estimators import problem
from infomax.training import streaming

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

sys.modules["infomax.io.batches"].MOST_CELLS = 1000
problem.MOST_MEASURED = streaming.MOST_MEASURED = streaming._MOST_SKETCHED = streaming._MOST_VALIDATION = 2000
mapped = np.load(sys.argv[1], mmap_mode="r")
x, y = mapped[:, :8], mapped[:, 8:]
options = {"bound": "infonce", "schedule": Schedule(steps=5), "progress": False}
estimate(x[:20_000], y[:20_000], **options)  # loads what training needs
before = peak()
rows = sum(len(part) for part, _ in batches(x, y, epochs=1, batch_size=2048))
fed = peak()
result = estimate(x, y, **options)
print(rows, fed - before, peak() - fed, result.n)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_memory_stays_far_below_the_size_of_the_file(tmp_path):
    """A file of 160 MB, which is read several times, and of which 2,000 rows are measured."""
    rows = np.random.default_rng(0).standard_normal((50_000, 16), dtype=np.float32)
    path = tmp_path / "large.npy"
    large = np.lib.format.open_memmap(path, "w+", np.float32, (50 * len(rows), 16))
    for start in range(0, len(large), len(rows)):
        large[start : start + len(rows)] = rows + start
    large.flush()
    del large
    size = path.stat().st_size
    command = [sys.executable, "-W", "ignore", "-c", MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    path.unlink()
    assert not done.returncode, done.stderr
    counted, fed, estimated, n = map(int, done.stdout.split())
    assert counted == 2_500_000
    assert n == 2000
    assert fed < 0.5 * size
    assert estimated < 0.6 * size
