"""Batches against plain loops, and how rows are cut into them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from multimodal import small_data
from utterances import make_dataset, make_split

from mmim_example.reading import DataError, Split, batch, batches
from mmim_example.reading.batches import of_similar_length
from mmim_example.reading.validation import validate


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


@pytest.mark.parametrize(("n", "sizes"), [(10, [4, 4, 2]), (9, [4, 5]), (8, [4, 4]), (3, [3]), (1, [1])])
def test_a_single_last_row_joins_the_batch_before(n, sizes):
    made = list(batches(n, 4))
    assert [len(rows) for rows in made] == sizes
    assert np.concatenate(made).tolist() == list(range(n))


def split(tokens=None, vectors=0, **lengths):
    """Of these lengths by modality, of 500 frames at most, in 2 columns each."""
    n = len(next(iter(lengths.values())))
    features = {name: np.zeros((n, 500, 2), np.float32) for name in lengths}
    if vectors:
        features["text"] = np.zeros((n, vectors), np.float32)
    given = {name: np.asarray(length) for name, length in lengths.items()}
    return Split(tuple(map(str, range(n))), np.zeros(n, np.float32), features, given, tokens=tokens)


def lognormal(n):
    return np.random.default_rng(0).lognormal(2.3, 0.8, n).astype(int).clip(1, 500)


def halves(n):
    there = np.arange(n) % 2
    return {"audio": 300 * there, "vision": 300 * (1 - there)}


@pytest.mark.parametrize("size", [1, 2, 7, 32, 1000])
@pytest.mark.parametrize(
    "given",
    [
        {"audio": lognormal(501)},
        {"audio": lognormal(501), "vectors": 40},
        {"audio": lognormal(501), "vision": lognormal(501)[::-1].copy()},
        {"audio": np.where(np.arange(501) < 5, 500, 1), "vectors": 768},
        halves(501),
    ],
)
def test_pieces_are_all_rows_in_bounded_memory(given, size):
    whole = split(**given)
    names = list(whole.features)
    rows = np.random.default_rng(1).permutation(501)[:301]
    pieces = list(of_similar_length(whole, rows, size, names))
    assert sorted(np.concatenate(pieces)) == list(range(301))
    frames = [name for name in names if name in whole.lengths]
    most = size * (
        sum(batch(whole, rows, names=[name]).inputs[name][0].numel() for name in frames) + given.get("vectors", 0)
    )
    taken = [sum(x.numel() for x in batch(whole, rows[p], names=names).inputs.values()) for p in pieces]
    assert all(numbers <= most for numbers in taken[:-1])
    assert taken[-1] <= most * (1 + 1 / size)  # a single row may have joined
    assert len(pieces) <= len(list(batches(301, size)))


def test_utterances_of_similar_length_are_together():
    whole = split(audio=lognormal(501))
    pieces = list(of_similar_length(whole, np.arange(501), 32, ["audio"]))
    longest = [batch(whole, piece, names=["audio"]).inputs["audio"].shape[1] for piece in pieces]
    assert longest == sorted(longest, reverse=True)
    assert len(pieces) < 6


def test_what_is_not_read_does_not_count():
    whole = split(audio=lognormal(101), vision=np.full(101, 500))
    found, expected = (
        list(of_similar_length(one, np.arange(101), 8, ["audio"])) for one in (whole, split(audio=lognormal(101)))
    )
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("left", [False, True])
def test_tokens_count_up_to_the_last_that_is_there(left):
    tokens = np.zeros((4, 3, 9), np.int64)
    for row, count in enumerate((2, 9, 1, 5)):
        tokens[row, 1, slice(9 - count, 9) if left else slice(count)] = 1
    (piece,) = of_similar_length(split(tokens, audio=[1] * 4), np.arange(4), 4, ["audio"])
    assert piece.tolist() == ([0, 1, 2, 3] if left else [1, 3, 0, 2])


def test_vectors_are_taken_in_their_order_in_batches():
    train = small_data().train
    rows = np.random.default_rng(0).permutation(len(train))
    found = list(of_similar_length(train, rows, 7, list(train.features)))
    expected = list(batches(len(rows), 7))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
