"""The plain format: what is saved is loaded, what breaks a rule is refused, and a large file stays on the disk."""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from utterances import make_dataset, make_split, same

from mmim_example.reading import SPLITS, DataError, Dataset, Split, load, plain_format, save
from mmim_example.reading.files import FileMap


def write_plain(directory, rows, **features):
    directory.mkdir(exist_ok=True)
    (directory / "utterances.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    np.savez(directory / "features.npz", **features)
    return directory


ROWS = ["id,split,label", "a,train,1", "b,train,-2.5", "c,valid,0", "d,test,3"]


@st.composite
def datasets(draw):
    words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
    ids = draw(st.lists(words.filter(bool), min_size=3, max_size=12, unique=True))
    cuts = sorted(draw(st.lists(st.integers(1, len(ids) - 1), min_size=2, max_size=2, unique=True)))
    steps, has_text = draw(st.integers(1, 4)), draw(st.booleans())
    splits = {}
    for name, part in zip(SPLITS, (ids[: cuts[0]], ids[cuts[0] : cuts[1]], ids[cuts[1] :]), strict=True):
        n = len(part)
        lengths = draw(arrays.arrays(np.int64, n, elements=st.integers(0, steps)))
        splits[name] = Split(
            tuple(part),
            draw(arrays.arrays(np.float32, n, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))),
            {"text": draw(arrays.arrays(np.float32, (n, 2))), "audio": draw(arrays.arrays(np.float32, (n, steps, 1)))},
            {"audio": lengths},
            {"text": draw(arrays.arrays(bool, n))},
            tuple(draw(st.lists(words, min_size=n, max_size=n))) if has_text else None,
            np.stack([np.arange(n), np.ones(n), np.zeros(n)], 1)[..., None].astype(int) if not has_text else None,
        )
    return Dataset(**splits)


@pytest.mark.filterwarnings("ignore::mmim_example.reading.files.DataWarning")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(datasets())
def test_what_is_saved_is_what_is_loaded(dataset):
    with tempfile.TemporaryDirectory() as directory:
        save(dataset, directory)
        loaded = load(directory)
        for name, split in dataset.splits().items():
            same(split, loaded.splits()[name])
        assert sorted(path.name for path in Path(directory).iterdir()) == ["features.npz", "utterances.csv"]


def test_rows_side_by_side_are_mapped_and_others_are_in_the_order_of_the_table(tmp_path, monkeypatch):
    text, audio = np.arange(8, dtype="f4").reshape(4, 2), np.arange(24, dtype="f4").reshape(4, 3, 2)
    features = {"text": text, "audio": audio, "audio_lengths": np.array([3, 1, 0, 2])}
    sorted_ = load(write_plain(tmp_path / "sorted", ROWS, **features))
    assert isinstance(_owner(sorted_.train.features["audio"]), FileMap)
    assert sorted_.valid.missing["audio"].tolist() == [True]
    mixed_rows = ["id,split,label", "a,train,1", "c,valid,0", "b,train,-2.5", "d,test,3"]
    mixed = load(write_plain(tmp_path / "mixed", mixed_rows, **features))
    np.testing.assert_array_equal(mixed.train.features["audio"], audio[[0, 2]])
    assert mixed.train.lengths["audio"].tolist() == [3, 0]
    np.testing.assert_array_equal(mixed.valid.features["text"], text[[1]])
    monkeypatch.setattr(plain_format, "_COPIED", 10)
    with pytest.raises(DataError, match=r"text: the rows of a split must be contiguous .* rows between 0 and 2"):
        load(tmp_path / "mixed")


def _owner(array):
    while isinstance(array, (np.ndarray, memoryview)):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return array


def test_splits_of_different_lengths_are_padded_when_saved(tmp_path):
    long, short = make_split("train", 6, frames=9), make_split("valid", frames=4)
    save(Dataset(long, short, make_split("test")), tmp_path)
    loaded = load(tmp_path).valid
    assert loaded.features["audio"].shape == (3, 9, 2)
    np.testing.assert_array_equal(loaded.features["audio"][:, :4], short.features["audio"])
    assert not loaded.features["audio"][:, 4:].any()
    np.testing.assert_array_equal(loaded.lengths["audio"], short.lengths["audio"])


@pytest.mark.parametrize("store", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f4", "i2"])
def test_other_numbers_become_float32(tmp_path, store, dtype):
    values = np.arange(8).reshape(4, 2)
    write_plain(tmp_path, ROWS)
    store(tmp_path / "features.npz", text=np.asfortranarray(values.astype(dtype)))
    train = load(tmp_path).train
    assert train.features["text"].dtype == np.float32
    np.testing.assert_array_equal(train.features["text"], values[:2])
    assert train.labels.tolist() == [1, -2.5]
    assert train.text is None


def test_what_is_missing_has_length_0(tmp_path):
    features = {"audio": np.ones((4, 2, 1), "f4"), "audio_lengths": [2, 2, 2, 2], "audio_missing": [0, 1, 0, 0]}
    train = load(write_plain(tmp_path, ROWS, **features)).train
    assert train.lengths["audio"].tolist() == [2, 0]
    assert train.missing["audio"].tolist() == [False, True]


def rows(**changes):
    """The table with some lines changed, by their place."""
    lines = list(ROWS)
    for place, line in changes.items():
        lines[int(place[1:])] = line
    return lines


GOOD = np.zeros((4, 2), "f4")
REFUSED = {
    "split": (rows(_3="c,vlaid,0"), {"text": GOOD}, r"split must be train, valid, test; got 'vlaid' in row 2"),
    "no valid": (rows(_3="c,train,0"), {"text": GOOD}, r"splits must be train, valid, test; got train, test"),
    "label": (rows(_1="a,train,good"), {"text": GOOD}, r"label must be a number; got 'good' for 'a'"),
    "columns": (rows(_0="id,part,label"), {"text": GOOD}, r"must have columns id, split, label.*got id, part, label"),
    "short": (rows(_2="b,train"), {"text": GOOD}, r"must have 3 fields in each row; got 2 in row 1"),
    "twice": (rows(_4="a,test,3"), {"text": GOOD}, r"test: splits must not share ids; .* 'a' in train"),
    "length": (
        ROWS,
        {"text": GOOD[:3]},
        r"text must have one row for each of the 4 rows of utterances.csv; got shape \(3, 2\)",
    ),
    "objects": (ROWS, {"text": np.array([{}, 1, 2, 3], object)}, r"text must be numeric; got object"),
    "strings": (ROWS, {"text": np.array(["a"] * 4)}, r"text must be numeric; got <U1"),
    "orphan": (
        ROWS,
        {"text": GOOD, "audio_lengths": np.ones(4, int)},
        r"audio_lengths needs an array 'audio'",
    ),
    "lengths": (ROWS, {"a": GOOD, "a_lengths": np.ones(4)}, r"a_lengths must be \(N,\) integers; got float64\(2,\)"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_files_that_break_a_rule_are_refused(tmp_path, fault):
    table, features, message = REFUSED[fault]
    with pytest.raises(DataError, match=message):
        load(write_plain(tmp_path, table, **features))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"must be a directory with utterances.csv"):
        load(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"utterances.csv must be a table \(CSV, UTF-8\); got"):
        load(tmp_path)
    write_plain(tmp_path, ROWS, text=GOOD)
    whole = (tmp_path / "features.npz").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "features.npz").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"features.npz must be"):
            load(tmp_path)
    (tmp_path / "utterances.csv").write_bytes(b"id,split,label\n\xff,train,1\n")
    with pytest.raises(DataError, match=r"utterances.csv must be a table .* 'utf-8' codec"):
        load(tmp_path)


def test_a_claimed_shape_must_fit_the_file(tmp_path):
    write_plain(tmp_path, ROWS)
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (4, 1 << 40)}
    np.lib.format.write_array_header_1_0(header, shape)
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "features.npz", "w", kind) as archive:
            archive.writestr("text.npy", header.getvalue() + b"1234")
        with pytest.raises(DataError, match=rf"text must have {4 << 40} values of shape \(4, {1 << 40}\); got 4 bytes"):
            load(tmp_path)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    save(make_dataset(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plain_format, "_write_array", full)
    with pytest.raises(OSError, match="No space"):
        save(make_dataset(train={"labels": np.ones(6, "f4")}), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_text_that_utf8_cannot_hold_is_refused(tmp_path):
    with pytest.raises(DataError, match="UTF-8"):
        save(make_dataset(test={"text": ("a", "\ud800", "b")}), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
def test_a_large_file_is_never_all_in_memory(tmp_path):
    class Sparse(io.FileIO):
        """Zeros are a hole: no disk is filled."""

        def write(self, data):
            data = bytes(data)
            if data.count(0) == len(data):
                self.seek(len(data), 1)
                return len(data)
            return super().write(data)

    frames = np.broadcast_to(np.float32(0), (4000, 500, 74))
    ids = [f"{name},{name.split('_')[0]},0" for name in (*(f"train_{i}" for i in range(3998)), "valid_1", "test_1")]
    (tmp_path / "utterances.csv").write_text("\n".join(["id,split,label", *ids]), encoding="utf-8")
    with Sparse(str(tmp_path / "features.npz"), "w") as file, zipfile.ZipFile(file, "w") as archive:
        plain_format._write_array(archive, "audio", [frames])
        plain_format._write_array(archive, "audio_lengths", [np.full(4000, 500)])
    size = (tmp_path / "features.npz").stat().st_size
    script = """
import re, sys
import numpy as np
from mmim_example.reading import batch, load

def most():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

before = most()
train = load(sys.argv[1]).train
for rows in np.array_split(np.random.default_rng(0).permutation(len(train)), 60):
    assert batch(train, rows, names=["audio"]).inputs["audio"].shape == (len(rows), 500, 74)
print(most() - before)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    (tmp_path / "features.npz").unlink()
    assert int(done.stdout) < size / 2
