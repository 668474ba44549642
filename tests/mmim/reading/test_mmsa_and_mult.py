"""Pickles of MMSA's and of MulT's form, text by id, and the way to the plain format and back."""

import os

import numpy as np
import pytest
import torch
from published_files import SIZES, dump, mmsa, mmsa_part, official, official_part, write_labels

from mmim_example.__main__ import main
from mmim_example.reading import DataError, DataWarning, batch, join_text, load, save
from mmim_example.reading.padding import to_right

# MMSA.


@pytest.mark.parametrize(("protocol", "numpy_1"), [(0, True), (2, True), (3, True), (3, False), (4, False), (5, False)])
def test_an_unaligned_pickle_of_mmsa_is_read(tmp_path, protocol, numpy_1):
    content = mmsa(aligned=False)
    dataset = load(dump(tmp_path / "unaligned_50.pkl", content, protocol, numpy_1))
    assert dataset.dims() == {"text": 4, "audio": 5, "vision": 3}
    for name, split in dataset.splits().items():
        part = content[name]
        assert list(split.ids) == part["id"]
        assert list(split.text) == list(part["raw_text"])
        np.testing.assert_array_equal(split.labels, part["regression_labels"])
        np.testing.assert_array_equal(split.tokens, part["text_bert"])
        for modality in ("text", "audio", "vision"):
            np.testing.assert_array_equal(split.features[modality], part[modality])
        assert split.lengths["text"].tolist() == [int(row.sum()) for row in part["text_bert"][:, 1]]
        for modality in ("audio", "vision"):
            assert split.lengths[modality].tolist() == list(part[f"{modality}_lengths"])
            assert split.missing[modality].tolist() == [length == 0 for length in part[f"{modality}_lengths"]]


def test_numbers_beyond_the_lengths_are_not_read(tmp_path):
    content = mmsa(aligned=False)
    content["train"]["audio"][1, content["train"]["audio_lengths"][1] :] = np.nan
    dataset = load(dump(tmp_path / "x.pkl", content))
    assert dataset.nonfinite["audio"] == 0
    got = batch(dataset.train, np.arange(5), names=["audio"]).inputs["audio"]
    for i, length in enumerate(content["train"]["audio_lengths"]):
        assert not got[i, length:].any()
        np.testing.assert_array_equal(got[i, :length], content["train"]["audio"][i, :length])


def test_frames_of_an_aligned_pickle_are_as_many_as_its_tokens(tmp_path):
    content = mmsa(aligned=True)
    train = load(dump(tmp_path / "aligned_50.pkl", content)).train
    words = content["train"]["text_bert"][:, 1].sum(1).astype(int).tolist()
    assert (
        train.lengths["text"].tolist() == train.lengths["audio"].tolist() == train.lengths["vision"].tolist() == words
    )
    for part in content.values():
        del part["text_bert"]
    train = load(dump(tmp_path / "aligned_50.pkl", content)).train
    assert train.lengths["audio"].tolist() == [6] * 5
    assert train.tokens is None


def test_values_that_are_not_finite_are_counted_and_read_as_0(tmp_path):
    content = mmsa(aligned=False)
    content["train"]["audio"][0, 0, :2] = -np.inf
    content["test"]["text"][1, 0, 0] = np.nan
    dataset = load(dump(tmp_path / "x.pkl", content))
    assert dataset.nonfinite == {"text": 1, "audio": 2, "vision": 0}
    assert batch(dataset.train, np.array([0]), names=["audio"]).inputs["audio"][0, 0, :2].tolist() == [0, 0]


def test_mmsa_without_text_features_has_the_tokens(tmp_path):
    content = mmsa(aligned=False)
    for part in content.values():
        del part["text"]
    got = batch(load(dump(tmp_path / "x.pkl", content)).train, np.arange(2), names=["text", "audio"])
    assert set(got.inputs) == {"audio", "tokens"}
    assert got.inputs["tokens"].dtype == torch.int64


# MulT.


@pytest.mark.parametrize("columns", [1, 7])
@pytest.mark.parametrize("protocol", [2, 4])
def test_an_official_pickle_is_moved_to_the_right(tmp_path, protocol, columns):
    content = official(columns)
    dataset = load(dump(tmp_path / "mosi_data.pkl", content, protocol))
    for name, split in dataset.splits().items():
        part, lengths = official_part(name, SIZES[name], columns)
        assert split.ids == tuple(f"{name}vid_{i}" for i in range(SIZES[name]))
        np.testing.assert_array_equal(split.labels, part["labels"][:, 0, 0].astype("f4"))
        assert split.text is None
        for modality, length in lengths.items():
            steps = part[modality].shape[1]
            assert split.lengths[modality].tolist() == length.tolist()
            for i in range(SIZES[name]):
                for t in range(steps):
                    frame = part[modality][i, steps - length[i] + t] if t < length[i] else 0 * part[modality][i, 0]
                    np.testing.assert_array_equal(split.features[modality][i, t], frame.astype("f4"))
        assert split.missing["audio"].tolist() == [True] + [False] * (SIZES[name] - 1)


def test_a_first_frame_that_is_not_finite_is_a_frame():
    frames = np.zeros((2, 3, 2))
    frames[0, 1, 0] = np.nan
    moved, lengths = to_right(frames)
    assert lengths.tolist() == [2, 0]
    assert np.isnan(moved[0, 0, 0])


def test_dev_is_valid(tmp_path):
    content = official()
    content["dev"] = content.pop("valid")
    assert len(load(dump(tmp_path / "x.p", content)).valid) == 2


def test_ids_of_video_start_and_end_keep_their_video(tmp_path):
    content = official()
    for name, part in content.items():
        part["id"] = np.array([[name, str(i), str(i + 0.5)] for i in range(len(part["id"]))])
    assert load(dump(tmp_path / "x.pkl", content)).test.ids[1] == "test[1,1.5]"


# Converting.


def test_text_is_joined_by_id_and_kept_by_the_plain_format(tmp_path):
    source = dump(tmp_path / "mosi_data.pkl", official())
    keys = [f"{name}vid_{i}" for name, n in SIZES.items() for i in range(n)]
    labels = write_labels(tmp_path / "MOSI-label.csv", ["other_0", *reversed(keys)])
    words = ["convert", tmp_path / "plain", "--data", source, "--labels-csv", labels]
    assert main([str(word) for word in words]) == 0
    loaded, original = load(tmp_path / "plain"), load(source)
    for name, split in loaded.splits().items():
        assert split.text == tuple(f'"{name}vid_{i}", said é' for i in range(SIZES[name]))
        assert split.ids == original.splits()[name].ids
        for modality, array in original.splits()[name].features.items():
            np.testing.assert_array_equal(split.features[modality], array)
            np.testing.assert_array_equal(split.lengths[modality], original.splits()[name].lengths[modality])


def test_what_mmsa_has_is_kept_by_the_plain_format(tmp_path):
    source = dump(tmp_path / "unaligned_50.pkl", mmsa(aligned=False))
    save(load(source), tmp_path / "plain")
    for name, split in load(tmp_path / "plain").splits().items():
        original = load(source).splits()[name]
        assert (split.ids, split.text) == (original.ids, original.text)
        np.testing.assert_array_equal(split.tokens, original.tokens)
        np.testing.assert_array_equal(split.labels, original.labels)
        for modality in ("text", "audio", "vision"):
            np.testing.assert_array_equal(split.features[modality], original.features[modality])


def test_mmsas_ids_join_too(tmp_path):
    keys = [f"{name}vid_{i}" for name, n in SIZES.items() for i in range(n)]
    labels = write_labels(tmp_path / "label.csv", keys)
    dataset = load(dump(tmp_path / "x.pkl", mmsa(aligned=True)))
    assert join_text(dataset, labels).valid.text[1] == '"validvid_1", said é'


def test_ids_that_do_not_join_are_counted(tmp_path, capsys):
    source = dump(tmp_path / "mosi_data.pkl", official())
    labels = write_labels(tmp_path / "labels.csv", [f"trainvid_{i}" for i in range(4)])
    assert main(["convert", str(tmp_path / "plain"), "--data", str(source), "--labels-csv", str(labels)]) == 2
    assert "6 of 10 are not, the first is 'trainvid_4' in train" in capsys.readouterr().err
    assert not (tmp_path / "plain").exists()
    dataset = load(source)
    with pytest.raises(DataError, match=r"each video_id and clip_id must occur once; got 'a_1' twice"):
        join_text(dataset, write_labels(labels, ["a_1", "a_1"]))
    labels.write_text("id,text\na,b\n")
    with pytest.raises(
        DataError, match=r"labels.csv must have columns video_id, clip_id, text, each once; got id, text"
    ):
        join_text(dataset, labels)


# What is refused.


def without(content, field):
    for part in content.values():
        del part[field]
    return content


def changed(content, split, **fields):
    content[split].update(fields)
    return content


def swapped(content):
    content["train"], content["test"] = content["test"], content["train"]
    return content


REFUSED = {
    "no splits": (lambda: [1, 2], r"must contain a dict of splits; got list"),
    "no test": (lambda: {"train": mmsa_part("a", 3, aligned=True)}, r"splits must be train, valid, test; got train"),
    "no labels": (lambda: without(official(), "labels"), r"train must be a dict with .* got text, audio, vision, id"),
    "a split of no dict": (lambda: mmsa(aligned=True) | {"test": 3}, r"test must be a dict .*; got int"),
    "no ids": (lambda: without(official(), "id"), r"train: id must be a list or an array; got NoneType"),
    "labels out of range": (
        lambda: changed(mmsa(aligned=True), "valid", regression_labels=np.array([0, 3.5])),
        r"valid: labels must lie in -3\.\.3; got 3\.5 in row 1 \('validvid\$_\$1'\)",
    ),
    "too few labels": (
        lambda: changed(official(), "test", labels=np.zeros((2, 1, 1))),
        r"test: labels must have shape \(3\); got \(2,\)",
    ),
    "labels of nothing": (
        lambda: changed(official(), "test", labels=np.zeros((3, 0, 2))),
        r"test: labels must have one value for each utterance; got shape \(3, 0, 2\)",
    ),
    "no labels at all": (
        lambda: changed(mmsa(aligned=True), "test", regression_labels=np.zeros(0)),
        r"test: regression_labels must have one value for each utterance; got shape \(0,\)",
    ),
    "labels with a long text": (
        lambda: changed(official(), "test", labels=[0.5, "x" * 10_000_000, 1.0]),
        r"test: labels must be numeric; got str",
    ),
    "an id of many parts": (
        lambda: changed(official(), "test", id=np.zeros((3, 17))),
        r"test: id must be texts of at most 16 parts; got 17",
    ),
    "an id that is a dict": (
        lambda: changed(official(), "test", id=["a", {}, "c"]),
        r"test: id must be texts; got dict",
    ),
    "a length beyond": (
        lambda: changed(mmsa(aligned=False), "train", audio_lengths=[1, 2, 3, 50, 1]),
        r"train: audio_lengths must lie in 0\.\.9; got 50 in row 3 \('trainvid\$_\$3'\)",
    ),
    "half a frame": (
        lambda: changed(mmsa(aligned=False), "train", audio_lengths=[1, 2, 3.5, 5, 1]),
        r"audio_lengths must be whole numbers; got 3\.5",
    ),
    "leaked": (
        lambda: changed(official(), "test", id=official()["train"]["id"][:3]),
        r"test: splits must not share ids; got 3 shared ids, the first 'trainvid_0' in train",
    ),
    "words": (
        lambda: changed(official(), "test", audio=np.array([["a"]] * 3)),
        r"test: audio must be numeric; got <U1",
    ),
    "ragged": (
        lambda: changed(mmsa(aligned=True), "test", audio=[[1.0], [1.0, 2.0], [3.0]]),
        r"test: audio must be an array; got",
    ),
    "half a token": (
        lambda: changed(mmsa(aligned=True), "test", text_bert=np.full((3, 3, 6), 0.5)),
        r"test: text_bert must be integers; got other values",
    ),
    "tokens": (
        lambda: changed(mmsa(aligned=True), "test", text_bert=np.ones((3, 6))),
        r"test: text_bert must have shape \(N, 3, T\); got \(3, 6\)",
    ),
    "other tokens": (
        lambda: changed(mmsa(aligned=True), "test", text_bert=np.ones((2, 3, 6))),
        r"test: text_lengths must have shape \(3\); got \(2,\)",
    ),
    "another width": (
        lambda: changed(official(), "test", vision=np.ones((3, 6, 9))),
        r"test: modalities, their axes and columns, text and tokens must be as in train",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_content_that_breaks_a_rule_is_refused(tmp_path, fault):
    make, message = REFUSED[fault]
    path = dump(tmp_path / "data.pkl", make())
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_splits_that_seem_swapped_are_warned_of(tmp_path):
    with pytest.warns(DataWarning, match=r"train has fewer utterances \(3\) than test \(5\); are they swapped\?"):
        load(dump(tmp_path / "data.pkl", swapped(official())))


class Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_hostile_datum_is_not_executed(tmp_path):
    content = mmsa(aligned=True)
    content["train"]["raw_text"][1] = Touches(tmp_path / "executed")
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.system, .*; nothing was executed"):
        load(dump(tmp_path / "data.pkl", content))
    assert not (tmp_path / "executed").exists()


def test_another_range_of_labels_may_be_given(tmp_path):
    content = changed(mmsa(aligned=True), "valid", regression_labels=np.array([0, 3.5]))
    assert len(load(dump(tmp_path / "data.pkl", content), label_range=(-4, 4)).valid) == 2
