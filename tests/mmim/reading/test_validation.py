"""Every rule that a data set must keep, and what is said where it is broken."""

import numpy as np
import pytest
from utterances import make_dataset

from mmim_example.reading import SPLITS, DataError, DataWarning
from mmim_example.reading.validation import assemble, validate


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
        r"set: valid: there must be at least one utterance; got none",
    ),
    "same ids": ({"ids": ("a", "b", "a")}, r"set: valid: ids must be unique and not empty; got 'a' 2 times"),
    "empty id": ({"ids": ("a", "", "b")}, r"ids must be unique and not empty; got ''"),
    "leak": (
        {"ids": ("a", "train_4", "train_0")},
        r"valid: splits must not share ids; got 2 shared ids, the first 'train_4' in train",
    ),
    "label": ({"labels": np.array([0, np.nan, 1], "f4")}, r"labels must be finite; got nan in row 1 \('valid_1'\)"),
    "labels": ({"labels": np.zeros(4, "f4")}, r"valid: labels must have shape \(3\); got \(4,\)"),
    "long": (lengths_of(1, 2, 61), r"valid: audio_lengths must lie in 0\.\.6; got 61 in row 2 \('valid_2'\)"),
    "negative": (lengths_of(1, -2, 1), r"audio_lengths must lie in 0\.\.6; got -2 in row 1"),
    "no lengths": ({"lengths": {}, "missing": {}}, r"audio_lengths must be given for frames, and only for frames"),
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
        r"lengths and missing must belong to modalities with features; got 'smell'",
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
