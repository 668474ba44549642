import numpy as np
import pytest
import torch
from multimodal import frames_config, frames_data, small_data

from mmim_example.data import Split, batch
from mmim_example.preparation import batches, of_similar_length
from mmim_example.trainer import Trainer


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


def test_stage_0_sees_each_row_as_it_is_encoded_alone():
    made = Trainer(frames_config(dropout=0.0), frames_data(), torch.device("cpu"))
    for part in made.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    order = np.random.default_rng(0).permutation(len(made.dataset.train))
    h, present = made._represent(order)
    for place, row in enumerate(order):
        alone = made._share(made.dataset.train, np.array([row]))
        for name, values in made.model.encode(alone).items():
            torch.testing.assert_close(h[name][place], values[0], rtol=1e-5, atol=1e-6)
            assert present[name][place] == alone.present[name][0]
