"""Samples and settings of the tests of the default estimator."""

import math

import numpy as np

from infomax.training.fit import Schedule

QUICK = {"quick": True, "progress": False}
#: Long enough to learn, short enough to repeat.
SHORT = {"schedule": Schedule(steps=60, batch_size=64, learning_rate=1e-2), "folds": 2, "progress": False}
#: The same with one network a fold and fewer permutations.
SHORTER = {**SHORT, "quick": True}
#: Long enough to tell whether two runs do the same.
BRIEF = {**SHORTER, "schedule": Schedule(steps=10, batch_size=64)}


def draw(n, dim_x=1, dim_y=1, seed=0):
    """The first column of y is that of x with as much noise: log(2) / 2 nats."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, dim_x)), rng.normal(size=(n, dim_y))
    y[:, 0] += x[:, 0]
    return x, y


def same(one, other):
    """Bit for bit."""
    return one == other and np.array_equal(one.local, other.local)


def close(one, other):
    """Within three standard errors of two measurements of the same rows by networks of other random numbers."""
    return abs(one.mi - other.mi) < 3 * math.hypot(one.stderr, other.stderr)
