"""The caches of the paper's code: three files, each a list of tuples."""

import numpy as np
import pytest
from published_files import SIZES, dump

from mmim_example.reading import DataError, files, load
from mmim_example.reading.caches import FILES

WORDS = ["it", "was", "good"]


def utterance(name, i, columns=1, aligned=False):
    """One tuple, as ``create_dataset.py`` makes it: frames are already cut to their length."""
    rng = np.random.default_rng([i, *map(ord, name)])
    vision, audio = rng.normal(size=(2 + i, 3)), rng.normal(size=(4, 5)).astype(np.float32)
    lengths = () if aligned else (np.int64(len(vision)), np.int64(len(audio)))
    labels = rng.uniform(-3, 3, (1, columns)).astype(np.float32)
    return (WORDS[: 1 + i % 3], vision, audio, WORDS[: 1 + i % 3], *lengths), labels, f"{name}vid_{i}"


def write(folder, change=lambda row: row, **options):
    for name, n in SIZES.items():
        dump(folder / FILES[name], [change(utterance(name, i, **options)) for i in range(n)])
    return folder


@pytest.mark.parametrize("aligned", [False, True])
def test_caches_are_read(tmp_path, aligned):
    dataset = load(write(tmp_path, aligned=aligned))
    assert dataset.dims() == {"audio": 5, "vision": 3}
    for name, split in dataset.splits().items():
        rows = [utterance(name, i) for i in range(SIZES[name])]
        assert split.ids == tuple(row[2] for row in rows)
        assert split.text == tuple(" ".join(row[0][3]) for row in rows)
        assert split.labels.tolist() == [row[1][0, 0] for row in rows]
        assert split.lengths["vision"].tolist() == [2 + i for i in range(SIZES[name])]
        for i, row in enumerate(rows):
            np.testing.assert_array_equal(split.features["vision"][i, : 2 + i], row[0][1].astype("f4"))
            assert not split.features["vision"][i, 2 + i :].any()


def test_moseis_videos_are_numbered_and_its_emotions_chosen(tmp_path):
    dataset = load(write(tmp_path, lambda row: (row[0], row[1], row[2].split("_")[0].encode()), columns=7), label="sad")
    assert dataset.test.ids == ("testvid[0]", "testvid[1]", "testvid[2]")
    assert dataset.test.labels[1] == utterance("test", 1, columns=7)[1][0, 2]


def test_padding_is_charged_before_it_is_made(tmp_path, monkeypatch):
    """A file of half a megabyte, whose frames take 120 MB when padded."""
    rows = [utterance("train", i % 3)[0] for i in range(300)]
    longest = np.zeros((100_000, 1), np.float32)
    rows = [
        ((row[0], longest[: None if i == 0 else 1], *row[2:]), np.zeros((1, 1)), str(i)) for i, row in enumerate(rows)
    ]
    dump(write(tmp_path) / "train.pkl", rows)
    monkeypatch.setattr(files, "MEMORY", 0)
    with pytest.raises(DataError, match=r"train.pkl: vision, padded to \(300, 100000, 1\), must not expand far beyond"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row[:2], r"each utterance must be \(\(words, vision, .*got row 0"),
        (lambda row: [*row], r"got row 0"),
        (lambda row: (row[0], np.zeros((4, 2)), row[2]), "labels of IEMOCAP"),
        (lambda row: ((row[0][0], row[0][1].ravel(), *row[0][2:]), row[1], row[2]), r"vision must be \(T, D\)"),
        (lambda row: ((row[0][0], "frames", *row[0][2:]), row[1], row[2]), "row 0: vision must be numeric; got str"),
    ],
)
def test_other_lists_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, change))
