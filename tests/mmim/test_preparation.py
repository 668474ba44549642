from itertools import pairwise

import numpy as np
import pytest
import torch
from multimodal import frames_config, frames_data, small_data

from mmim_example.data import Split
from mmim_example.preparation import batches, of_similar_length
from mmim_example.trainer import Trainer


def split(lengths, tokens=None):
    n = len(lengths)
    frames = np.zeros((n, int(max(lengths)), 2), np.float32)
    given = {"audio": frames}, {"audio": np.asarray(lengths)}
    return Split(tuple(map(str, range(n))), np.zeros(n, np.float32), *given, tokens=tokens)


@pytest.mark.parametrize("size", [1, 2, 7, 32, 1000])
def test_pieces_of_similar_length_are_all_rows_in_bounded_memory(size):
    lengths = np.random.default_rng(0).lognormal(2.3, 0.8, 501).astype(int)
    rows = np.random.default_rng(1).permutation(501)[:301]
    pieces = list(of_similar_length(split(lengths), rows, size))
    assert sorted(np.concatenate(pieces)) == list(range(301))
    steps = [1 + lengths[rows[piece]] for piece in pieces]
    assert all(of.min() >= following.max() for of, following in pairwise(steps))
    most = size * steps[0].max()
    assert all(len(of) * of.max() <= most for of in steps[:-1])
    assert len(steps[-1]) * steps[-1].max() <= most + steps[-1].max()  # a single row may have joined
    assert len(pieces) < len(list(batches(301, size))) or size >= 301


def test_tokens_count_as_they_are_there():
    tokens = np.zeros((4, 3, 9), np.int64)
    for row, count in enumerate((2, 9, 1, 5)):
        tokens[row, 1, :count] = 1
    (piece,) = of_similar_length(split([1] * 4, tokens), np.arange(4), 4)
    assert piece.tolist() == [1, 3, 0, 2]


def test_vectors_are_taken_in_their_order_in_batches():
    train = small_data().train
    rows = np.random.default_rng(0).permutation(len(train))
    found = list(of_similar_length(train, rows, 7))
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
        batch = made._share(made.dataset.train, np.array([row]))
        for name, values in made.model.encode(batch).items():
            torch.testing.assert_close(h[name][place], values[0], rtol=1e-5, atol=1e-6)
            assert present[name][place] == batch.present[name][0]
