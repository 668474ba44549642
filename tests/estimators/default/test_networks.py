"""What the networks of the default estimator see of each side."""

import numpy as np
import pytest
import torch

from infomax.estimators.candidates import Side
from infomax.estimators.default.networks import KINDS, even

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
ROWS = np.arange(150)


def related(dim_x, dim_y, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((200, dim_x)), rng.standard_normal((200, dim_y))
    y[:, 0] += 2 * x[:, 0]
    return Side.of(x), Side.of(y)


@every_kind
@pytest.mark.parametrize("dims", [(12, 2), (1, 3), (20, 20)])
def test_inputs_are_finite_rows_of_each_side(kind, dims):
    x, y = related(*dims)
    for inputs in kind.inputs(x, y, ROWS):
        assert inputs.shape[0] == 200
        assert inputs.isfinite().all()
        assert 0.05 < float(inputs.std(0).min()) <= float(inputs.std(0).max()) < 5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name != "directions"], ids=lambda kind: kind.name)
def test_all_columns_are_inputs(kind):
    x, y = related(12, 2)
    of_x, of_y = kind.inputs(x, y, ROWS)
    torch.testing.assert_close(of_x[:, :12], x.scores)
    torch.testing.assert_close(of_y[:, :2], y.scores)


def test_the_network_also_sees_ranks_in_steps_the_norm_and_atoms():
    rng = np.random.default_rng(0)
    column = np.where(rng.random(200) < 0.3, 0.0, rng.standard_normal(200))
    one, three = Side.of(column[:, None]), Side.of(rng.standard_normal((200, 3)))
    (kind,) = [kind for kind in KINDS if kind.name == "network"]
    of_one, of_three = kind.inputs(one, three, ROWS)
    assert of_one.shape == (200, 1 + 1 + 16)
    np.testing.assert_array_equal(of_one[:, 1], column == 0)
    shares = (of_one[:, 2:] + 1) / 2  # of each sixteenth of the ranks that lies below
    torch.testing.assert_close(shares.mean(1), torch.special.ndtr(one.scores[:, 0]))
    assert of_three.shape == (200, 4)
    torch.testing.assert_close(of_three[:, 3], (three.scores.square().sum(1) - 3) / 6**0.5)


def test_directions_of_a_wide_side_include_the_related_one():
    x, y = related(20, 2)
    (kind,) = [kind for kind in KINDS if kind.name == "directions"]
    of_x, of_y = kind.inputs(x, y, ROWS)
    assert of_x.shape[1] < 20
    torch.testing.assert_close(of_y[:, :2], y.scores)  # narrow
    related_column = x.scores[:, 0]
    assert max(abs(np.corrcoef(related_column, column)[0, 1]) for column in of_x.T) > 0.9


@every_kind
def test_inputs_depend_on_no_held_out_pairing(kind):
    """Another order of the held-out rows of y leaves the inputs of training rows as they are."""
    x, y = related(12, 12)
    order = torch.arange(200)
    order[150:] = order[150:].flip(0)
    for before, after in zip(kind.inputs(x, y, ROWS), kind.inputs(x, y[order], ROWS), strict=True):
        torch.testing.assert_close(before[:150], after[:150])


def test_kinds_suit_sides_of_their_sizes():
    small, wide, very_wide = (Side.of(np.random.default_rng(0).standard_normal((300, dim))) for dim in (1, 12, 257))

    def suited(x, y):
        return [kind.name for kind in KINDS if kind.suits(x, y)]

    assert suited(small, small) == ["network"]
    assert suited(small, wide) == ["directions", "network", "additive"]
    assert suited(very_wide, small) == ["directions"]


def test_inputs_of_several_networks_have_the_same_width():
    found = even([torch.ones(4, 2), torch.ones(4, 3, dtype=torch.float64)])
    assert found.dtype == torch.float32
    assert found.tolist() == [[[1, 1, 0]] * 4, [[1, 1, 1]] * 4]
