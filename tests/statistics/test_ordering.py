import numpy as np
import pytest

from infomax.statistics.ordering import in_order


def sides(seed, dims=(2, 2)):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(30, dim)) for dim in dims)


@pytest.mark.parametrize("seed", range(5))
def test_exactly_one_of_two_orders(seed):
    x, y = sides(seed)
    assert in_order(x, y) != in_order(y, x)
    assert in_order(x, y) == in_order(np.asfortranarray(x), y)
    assert in_order(x, y) == in_order(np.exp(x), 1e3 * y - 5)


def test_fewer_columns_come_first():
    x, y = sides(0, (1, 3))
    assert in_order(x, y)
    assert not in_order(y, x)


def test_a_difference_in_a_late_row_or_in_the_values_alone_decides():
    x, _ = sides(0)
    late = x.copy()
    late[[20, 21]] = late[[21, 20]]
    assert in_order(x, late) != in_order(late, x)
    assert in_order(x, x + 1)
    assert not in_order(x + 1, x)
    assert in_order(x, x.copy())
