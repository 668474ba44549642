"""`pairwise` in several processes, and from a file after an interruption: the same bits."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import joblib
import numpy as np
import pytest

import infomax
from infomax import pairwise
from infomax.estimation import workers
from infomax.estimation.pair_blocks import Table, blocks_of
from infomax.estimation.pair_tiles import Work, tiles_of

FIELDS = ("mi", "stderr", "gap", "pvalue", "qvalue", "entropy", "rows")


def table(n=120, columns=12, seed=0):
    """Numbers, whole numbers, two nominal columns, a constant one, and gaps in two."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    x[:, 1] = x[:, 0] ** 2 + 0.3 * x[:, 1]
    x[:, 2] = np.round(2 * x[:, 2])
    x[:, 3] = rng.integers(3, size=n)
    x[:, 4] = rng.integers(9, size=n)
    x[:, 5] = 7.0
    x[3:8, 6] = x[5:9, 7] = np.nan
    return x


OPTIONS = {"nominal": (3, 4), "missing": "drop", "permutations": 199, "progress": False}
pytestmark = pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")


@pytest.fixture(scope="module")
def expected():
    return pairwise(table(), **OPTIONS)


def assert_same(found, expected):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field), err_msg=field)
    assert found.warnings == expected.warnings
    assert repr(found) == repr(expected)


def test_processes_and_threads_change_no_bit(expected):
    assert_same(pairwise(table(), n_jobs=2, **OPTIONS), expected)
    with joblib.parallel_config(backend="threading", n_jobs=3):
        assert_same(pairwise(table(), **OPTIONS), expected)


def test_a_backend_that_returns_results_in_rounds(expected, monkeypatch):
    monkeypatch.setattr(joblib._parallel_backends.ThreadingBackend, "supports_return_generator", False)  # as Ray's
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert_same(pairwise(table(), **OPTIONS), expected)


def test_any_bound_and_large_tables_that_are_mapped(monkeypatch):
    x = table()[:, :4]
    with joblib.parallel_config(backend="threading", n_jobs=2):
        found = pairwise(x, bound="gaussian", progress=False)
        assert_same(found, pairwise(x, bound="gaussian", n_jobs=1, progress=False))
        monkeypatch.setattr("infomax.estimation.pair_tiles._MAPPED", 0)
        wide = np.random.default_rng(0).normal(size=(60, 9))
        found = pairwise(wide, permutations=99, n_jobs=2, progress=False)
    assert_same(found, pairwise(wide, permutations=99, progress=False))


@pytest.mark.slow
def test_a_dask_cluster(expected, tmp_path):
    """Two processes of a local cluster; the file is written by this one."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster), joblib.parallel_config(backend="dask"):
        assert_same(pairwise(table(), checkpoint=tmp_path / "pairs.jsonl", **OPTIONS), expected)
        with pytest.raises(ValueError, match=r"columns '0' and '[12]': n_neighbors must lie in 1..39"):
            pairwise(table(40)[:, :3], bound="ksg", n_neighbors=50, progress=False)
    assert_same(pairwise(table(), checkpoint=tmp_path / "pairs.jsonl", **OPTIONS), expected)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_names_its_pair(n_jobs):
    with (
        joblib.parallel_config(backend="threading"),
        pytest.raises(ValueError, match=r"columns '0' and '[12]': n_n"),
    ):
        pairwise(table(40)[:, :3], bound="ksg", n_neighbors=50, n_jobs=n_jobs, progress=False)


@pytest.mark.parametrize("returns_generators", [True, False])
def test_after_an_error_what_was_begun_is_finished_and_kept(tmp_path, monkeypatch, returns_generators):
    """joblib is never stopped at work, which can hang with Dask; nothing that was measured is lost."""
    threads = joblib._parallel_backends.ThreadingBackend
    monkeypatch.setattr(threads, "supports_return_generator", returns_generators)
    monkeypatch.setattr(threads, "abort_everything", lambda *a, **k: pytest.fail("stopped at work"))
    begun, real = [], workers.measure

    def measure(task):
        begun.append(task.number)
        if task.number == 1:
            raise ValueError("a bad tile")
        return real(task)

    monkeypatch.setattr(workers, "measure", measure)
    path = tmp_path / "pairs.jsonl"
    with (
        joblib.parallel_config(backend="threading", n_jobs=2),
        pytest.raises(ValueError, match=r"^a bad tile$") as caught,
    ):
        pairwise(table(), checkpoint=path, **OPTIONS)
    assert "in measure" in str(caught.value.__cause__)
    held = [json.loads(line)["tile"] for line in path.read_bytes().splitlines()[1:]]
    assert sorted(held) == sorted(set(begun) - {1})
    assert len(begun) < 13


def test_every_pair_is_counted_once(tmp_path):
    """Also those of a file, and each has one tile."""
    x = Table.of(table(), "x", "auto", "drop")
    tiles = tiles_of(blocks_of(x, x), bound=False)
    assert sum(tile.pairs for tile in tiles) == 66
    work = Work(x, x, None, {}, 19, 0)
    steps = []
    run = {"n_jobs": 1, "checkpoint": tmp_path / "pairs.jsonl"}
    for _, found in zip(range(3), workers.finished(work, tiles, steps.append, **run), strict=False):
        assert found.number < len(tiles)
    again = []
    assert len(list(workers.finished(work, tiles, again.append, **run))) == len(tiles)
    assert sum(again) == 66
    with joblib.parallel_config(backend="threading"):
        list(workers.finished(work, tiles, steps.append, n_jobs=2, checkpoint=None))


def test_a_killed_run_goes_on(expected, tmp_path, monkeypatch):
    """The process kills itself in its fourth tile; a torn line is removed, and three tiles are not measured again."""
    path = tmp_path / "pairs.jsonl"
    program = f"""
        import os, signal
        from infomax.estimation import workers
        from tests.estimation.test_pairs_in_parallel import OPTIONS, table
        real = workers.measure
        def measure(task, advance):
            if task.number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(task, advance)
        workers.measure = measure
        from infomax import pairwise
        pairwise(table(), checkpoint={str(path)!r}, **OPTIONS)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, timeout=600)
    assert done.returncode == -signal.SIGKILL
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    path.write_bytes(b"".join(lines) + lines[-1][:100])
    measured, real = [], workers.measure

    def measure(task, advance):
        measured.append(task.number)
        return real(task, advance)

    monkeypatch.setattr(workers, "measure", measure)
    assert_same(pairwise(table(), checkpoint=path, **OPTIONS), expected)
    assert measured
    assert min(measured) == 3
    measured.clear()
    assert_same(pairwise(table(), checkpoint=path, **OPTIONS), expected)
    assert not measured


@pytest.mark.slow
def test_an_interrupt_ends_the_processes_cleanly(tmp_path):
    """The command ends with status 130, its workers end too, and the file has whole tiles."""
    x, path = np.random.default_rng(0).normal(size=(5000, 40)), tmp_path / "pairs.jsonl"
    np.save(tmp_path / "x.npy", x)
    program = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('infomax', run_name='__main__')"
    )
    words = ["pairwise", str(tmp_path / "x.npy"), "--jobs", "2", "--checkpoint", str(path), "--no-progress"]
    with subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 600
        while not (path.exists() and path.read_bytes().count(b"\n") > 2) and time.monotonic() < deadline:
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=600)[1]
    assert process.returncode == 130
    assert errors == b"infomax: interrupted\n"
    assert len(children) >= 2
    deadline = time.monotonic() + 60
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(child) for child in children)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    assert_same(pairwise(x, checkpoint=path, progress=False), pairwise(x, progress=False))


def loky_workers():
    """The worker processes that this process has started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == os.getpid() and "loky" in command and "resource_tracker" not in command:
                found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_death_of_a_worker_is_an_error_after_which_the_file_resumes(tmp_path):
    x = Table.of(np.random.default_rng(0).normal(size=(3000, 24)), "x", "auto", "raise")
    tiles, work = tiles_of(blocks_of(x, x), bound=False), Work(x, x, None, {}, 19, 0)
    run = {"n_jobs": 2, "checkpoint": tmp_path / "pairs.jsonl"}
    found = workers.finished(work, tiles, lambda pairs: None, **run)
    next(found)
    os.kill(loky_workers()[0], signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="a worker process died, perhaps for lack of memory; with a checkpoint"):
        list(found)
    assert {one.number for one in workers.finished(work, tiles, lambda pairs: None, **run)} == set(range(len(tiles)))


def is_running(child):
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("kept", [0, 10, 300, 2000, 5000, -1])
def test_a_file_that_ends_anywhere(expected, tmp_path, kept):
    path = tmp_path / "pairs.jsonl"
    pairwise(table(), checkpoint=path, **OPTIONS)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept] + b"\0" * (kept > 1000))  # zeros, as after a loss of power
    assert_same(pairwise(table(), checkpoint=path, **OPTIONS), expected)
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_file_of_something_else_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "pairs.jsonl"
    x = table()[:, :3]
    options = {"permutations": 19, "progress": False, "checkpoint": path}
    pairwise(x, **options)
    held = path.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint .*pairs.jsonl was written for other data; name another file"):
        pairwise(x + 1, **options)
    with pytest.raises(ValueError, match="was written for other data"):
        pairwise(x, x[:, :1], **options)
    with pytest.raises(ValueError, match=r"pairs.jsonl was written with seed = 0; got 1: name another file, or remove"):
        pairwise(x, seed=1, **options)
    with pytest.raises(ValueError, match="was written with permutations = 19; got None"):
        pairwise(x, values_only=True, **options)
    with pytest.raises(ValueError, match="was written with bound = None; got 'ksg'"):
        pairwise(x, bound="ksg", **options)
    with pytest.raises(TypeError, match="with a checkpoint, bound must be a name; got CPC"):
        pairwise(x, bound=infomax.CPC(1, 1), **options)
    with monkeypatch.context() as patch:
        patch.setattr(infomax, "__version__", "9.9")
        with pytest.raises(ValueError, match=r"was written with version = 0\.\S+; got 9.9"):
            pairwise(x, **options)
    assert path.read_bytes() == held
    for content in (b"a,b\n1,2\n", b"a", b"[1]\n", json.dumps({"file": "another"}).encode() + b"\n"):
        other = tmp_path / "mine.csv"
        other.write_bytes(content)
        with pytest.raises(ValueError, match=r"must be a new file or one of infomax.pairwise; .*mine.csv is"):
            pairwise(x, **{**options, "checkpoint": other})
        assert other.read_bytes() == content
    with pytest.raises(ValueError, match="cannot be written: it is a folder"):
        pairwise(x, **{**options, "checkpoint": tmp_path})


def test_groups_that_are_renamed_resume_and_are_counted(tmp_path):
    x, path = table()[:, :2], tmp_path / "pairs.jsonl"
    run = {"quick": True, "progress": False, "checkpoint": path}
    first = pairwise(x, groups=np.arange(len(x)) // 12, **run)
    held = path.read_bytes()
    second = pairwise(x, groups=[f"subject {row // 12}" for row in range(len(x))], **run)
    assert path.read_bytes() == held
    assert first.to_dict() == second.to_dict()
    assert first.to_dict()["structure"] == {"groups": 10}
    assert pairwise(x, progress=False).to_dict()["structure"] is None


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    path = tmp_path / "pairs.jsonl"
    real, left = os.write, [3000]

    def write(descriptor, data):
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:1000])  # a system may write a part

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match=r"No space left on device: '.*pairs.jsonl'"):
        pairwise(table(), checkpoint=path, **OPTIONS)
    monkeypatch.undo()
    size = path.stat().st_size
    assert 1000 < size <= 3000
    pairwise(table(), checkpoint=path, **OPTIONS)
    assert path.stat().st_size > size


@pytest.mark.skipif(os.name == "nt", reason="no file locks")
def test_a_file_in_use_is_refused(tmp_path):
    import fcntl

    path = tmp_path / "pairs.jsonl"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"pairs.jsonl is in use by another process; wait for it"):
            pairwise(table()[:, :3], checkpoint=path, progress=False)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True])
def test_bad_numbers_of_jobs(n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be None or a whole number other than 0; got"):
        pairwise(table()[:, :3], n_jobs=n_jobs, progress=False)
