"""Batches against plain loops, what is refused of data, and data that are made up."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from utterances import make_dataset, make_split, same

from mmim_example.data import SPLITS, DataError, assemble, batch, generate, validate
from mmim_example.files import DataWarning

# Batches.


def test_a_batch_is_what_loops_over_its_rows_say():
    split = make_split("train", 8)
    split.features["audio"][3, 0, 1] = np.nan
    split.features["text"][2, 1] = -np.inf
    index = np.array([3, 7, 2, 1])
    got = batch(split, index, names=["text", "audio"])
    longest = int(got.lengths["audio"].max())
    assert got.inputs["audio"].shape == (4, longest, 2)
    for row, i in enumerate(index):
        assert got.lengths["audio"][row] == split.lengths["audio"][i]
        assert bool(got.present["audio"][row]) == (split.lengths["audio"][i] > 0)
        assert bool(got.present["text"][row]) == (i != 1)
        assert got.labels[row] == split.labels[i]
        for t in range(longest):
            for d in range(2):
                value = float(split.features["audio"][i, t, d]) if t < split.lengths["audio"][i] else 0.0
                assert got.inputs["audio"][row, t, d] == (value if math.isfinite(value) else 0)
        for d in range(4):
            value = float(split.features["text"][i, d]) if i != 1 else 0.0
            assert got.inputs["text"][row, d] == (value if math.isfinite(value) else 0)
    assert got.inputs["tokens"].shape == (4, 3, 3)
    assert got.inputs["tokens"].dtype == torch.int64
    assert len(got) == 4
    assert split.features["text"][2, 1] == -np.inf, "the source is not changed"


@pytest.mark.parametrize(("longest", "steps"), [(1, 3), (3, 3), (17, 18), (40, 40)])
def test_a_batch_is_as_long_as_its_longest_needs_in_sixteenths_of_all(longest, steps):
    split = make_split("train", 8, frames=40)
    split.lengths["audio"][:4] = longest, 1, 1, 0
    assert batch(split, np.arange(4), names=["audio"]).inputs["audio"].shape == (4, steps, 2)


def test_a_batch_of_nothing_but_missing_frames_is_zeros():
    got = batch(make_split("test"), np.array([2]), names=["audio"])
    assert got.inputs["audio"].shape == (1, 1, 2)
    assert not got.inputs["audio"].any()
    assert not got.present["audio"].any()


def test_frames_that_are_taken_away_later_are_missing():
    split = make_split("train", 6)
    split = dataclasses.replace(split, missing={**split.missing, "audio": np.ones(6, bool)})
    got = batch(split, np.arange(6), names=["audio"])
    assert not got.lengths["audio"].any()
    assert not got.inputs["audio"].any()
    validate(make_dataset(train={"missing": {**split.missing, "audio": np.ones(6, bool)}}))


def test_text_may_be_tokens_only():
    split = make_split("train")
    split.tokens[1, 1] = 0
    split = dataclasses.replace(split, features={"audio": split.features["audio"]}, missing={})
    got = batch(split, np.arange(3), names=["text", "audio"])
    assert got.present["text"].tolist() == [True, False, True]
    assert "text" not in got.inputs


def test_a_batch_on_another_device_is_the_same():
    moved = batch(make_split("train"), np.arange(3), names=["text", "audio"]).to("meta")
    assert {t.device.type for t in [*moved.inputs.values(), *moved.lengths.values(), moved.labels]} == {"meta"}


def test_an_unknown_modality_is_told():
    with pytest.raises(DataError, match=r"among text, audio; got 'smell'"):
        batch(make_split("train"), np.arange(2), names=["smell"])


def test_rows_are_a_copy_in_their_order():
    split = make_split("train", 6)
    part = split.rows(np.array([4, 0]))
    assert part.ids == ("train_4", "train_0")
    assert part.text == ("what 4 said", "what 0 said")
    for name, array in part.features.items():
        np.testing.assert_array_equal(array, split.features[name][[4, 0]])
        assert not np.shares_memory(array, split.features[name])
    np.testing.assert_array_equal(part.tokens, split.tokens[[4, 0]])


# Rules.


def lengths_of(*values):
    return {"lengths": {"audio": np.array(values)}, "missing": {}}


BROKEN = {
    "no rows": (
        {
            "ids": (),
            "labels": np.empty(0, "f4"),
            "features": {},
            "lengths": {},
            "missing": {},
            "text": None,
            "tokens": None,
        },
        r"set: valid: utterances must be 1 or more; got none",
    ),
    "same ids": ({"ids": ("a", "b", "a")}, r"set: valid: ids must be unique and not empty; got 'a' 2 times"),
    "empty id": ({"ids": ("a", "", "b")}, r"ids must be unique and not empty; got ''"),
    "leak": ({"ids": ("a", "train_4", "train_0")}, r"valid: ids .* got 2 that are, the first 'train_4' in train"),
    "label": ({"labels": np.array([0, np.nan, 1], "f4")}, r"labels must be finite; got nan in row 1 \('valid_1'\)"),
    "labels": ({"labels": np.zeros(4, "f4")}, r"valid: labels must have shape \(3\); got \(4,\)"),
    "long": (lengths_of(1, 2, 61), r"valid: audio_lengths must lie in 0\.\.6; got 61 in row 2 \('valid_2'\)"),
    "negative": (lengths_of(1, -2, 1), r"audio_lengths must lie in 0\.\.6; got -2 in row 1"),
    "no lengths": ({"lengths": {}, "missing": {}}, r"audio_lengths must be given for frames, and only there"),
    "features": (
        {"features": {"text": np.zeros((2, 4), "f4")}},
        r"valid: text must have shape \(3, \*\); got \(2, 4\)",
    ),
    "wide": (
        {"features": {"text": np.zeros((3, 4), "f4"), "audio": np.zeros((3, 6, 9), "f4")}},
        r"as in train; got audio \(3 axes, 9\), text .* and audio \(3 axes, 2\), text",
    ),
    "kind": ({"features": {"text": np.zeros((3, 4))}}, r"text must be float32; got float64"),
    "text": ({"text": ("a",)}, r"text must have as many rows as ids; got 1 and 3"),
    "no text": ({"text": None}, r"valid: modalities, their axes and columns, text and tokens must be as in train"),
    "mask": ({"tokens": np.full((3, 3, 5), 2)}, r"tokens must be integers with a mask of 0 and 1"),
    "tokens": ({"tokens": np.ones((3, 2, 5), int)}, r"tokens must have shape \(3, 3, \*\); got \(3, 2, 5\)"),
    "empty": (
        {"missing": {"audio": np.zeros(3, bool)}},
        r"audio_missing must be True where audio_lengths are 0; got False in row 2 \('valid_2'\)",
    ),
    "unknown": (
        {"missing": {"smell": np.zeros(3, bool)}},
        r"lengths and missing must be of modalities; got those of 'smell'",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_told_with_what_came(rule):
    change, message = BROKEN[rule]
    with pytest.raises(DataError, match=message):
        validate(make_dataset(valid=change))
    validate(make_dataset())


def test_labels_out_of_range_are_told_where_a_range_is_given():
    dataset = make_dataset(test={"labels": np.array([3, -3, 3.5], "f4")})
    validate(dataset)
    with pytest.raises(DataError, match=r"test: labels must lie in -3\.\.3; got 3.5 in row 2 \('test_2'\)"):
        validate(dataset, label_range=(-3, 3))


def test_values_that_are_not_finite_are_counted_where_they_are_read():
    dataset = make_dataset()
    train = dataset.train
    train.features["text"][0, :2] = np.nan
    train.features["text"][1] = np.inf  # missing there
    train.features["audio"][5] = np.nan  # of length 0
    train.features["audio"][0, 0, 1] = -np.inf
    dataset.test.features["audio"][0, 0, 0] = np.nan
    assert assemble(dataset.splits(), "set").nonfinite == {"text": 2, "audio": 2}


def test_a_train_split_smaller_than_another_is_warned_of():
    parts = make_dataset().splits()
    swapped = dict(zip(SPLITS, (parts["test"], parts["valid"], parts["train"]), strict=True))
    with pytest.warns(DataWarning, match=r"train has fewer utterances \(3\) than test \(6\); are they swapped\?"):
        assemble(swapped, "set")


# Generated data.


def test_generated_data_have_the_information_that_they_claim():
    dataset, truths = generate((4000, 10, 20), text=0.5, audio=0.2, vision=0.3, joint=0.8, seed=1)
    assert [len(split) for split in dataset.splits().values()] == [4000, 10, 20]
    assert dataset.dims() == {"text": 8, "audio": 5, "vision": 6}
    validate(dataset)
    assert truths["text-target"] == pytest.approx(0.5)
    assert truths["all-target"] == pytest.approx(0.8)
    assert set(truths) == {
        *("text-audio", "text-vision", "audio-vision"),
        *("text-target", "audio-target", "vision-target", "all-target"),
    }
    parts = {**dataset.train.features, "target": dataset.train.labels[:, None]}
    parts["all"] = np.hstack([parts[name] for name in ("text", "audio", "vision")])
    for pair, nats in truths.items():
        a, b = (parts[name] for name in pair.split("-"))
        # For normal vectors: half the log ratio of determinants; chance adds about dim a x dim b / 2n.
        joint = np.linalg.slogdet(np.cov(np.hstack([a, b]).T))[1]
        alone = [np.linalg.slogdet(np.atleast_2d(np.cov(part.T)))[1] for part in (a, b)]
        assert 0.5 * (sum(alone) - joint) - a.shape[1] * b.shape[1] / 8000 == pytest.approx(nats, abs=0.03)
    assert np.mean(np.abs(dataset.train.labels) <= 3) == pytest.approx(math.erf(math.sqrt(2)), abs=0.015)


def test_generated_data_are_those_of_their_seed():
    (a, _), (b, _), (c, _) = (generate((20, 5, 5), seed=seed) for seed in (3, 3, 4))
    same(a.train, b.train)
    assert not np.array_equal(a.train.labels, c.train.labels)
    assert not set(a.train.ids) & set(a.test.ids)
    with pytest.raises(ValueError, match=re.escape("n must be three sizes of 1 or more; got (2, 0, 1)")):
        generate((2, 0, 1))
