"""Small data sets of utterances, and whether two splits are the same."""

import dataclasses

import numpy as np

from mmim_example.reading import Dataset, Split


def make_split(name, n=3, seed=0, frames=6):
    rng = np.random.default_rng([seed, *map(ord, name)])
    lengths = rng.integers(1, frames + 1, n)
    lengths[-1] = 0
    return Split(
        tuple(f"{name}_{i}" for i in range(n)),
        rng.normal(size=n).astype(np.float32),
        {
            "text": rng.normal(size=(n, 4)).astype(np.float32),
            "audio": rng.normal(size=(n, frames, 2)).astype(np.float32),
        },
        {"audio": lengths},
        {"text": np.arange(n) == 1},
        tuple(f"what {i} said" for i in range(n)),
        np.stack([rng.integers(0, 99, (n, 5)), np.arange(5) < 3 + np.zeros((n, 1)), np.zeros((n, 5))], 1).astype(int),
    )


def make_dataset(**changes):
    """A data set in which one split is changed."""
    splits = {"train": make_split("train", 6), "valid": make_split("valid"), "test": make_split("test")}
    for name, fields in changes.items():
        splits[name] = dataclasses.replace(splits[name], **fields)
    return Dataset(**splits, source="set")


def same(a, b):
    assert a.ids == b.ids
    assert a.text == b.text
    for left, right in ((a.features, b.features), (a.lengths, b.lengths), (a.missing, b.missing)):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])
            assert left[name].dtype == right[name].dtype
    np.testing.assert_array_equal(a.labels, b.labels)
    assert (a.tokens is None) == (b.tokens is None)
    if a.tokens is not None:
        np.testing.assert_array_equal(a.tokens, b.tokens)
