"""One body of tests over every registered task."""

import math

import numpy as np
import pytest
from processes import printed_by

from infomax import estimate, tasks

ALL = tasks.names()


@pytest.mark.parametrize("name", ALL)
def test_samples_are_what_the_task_says(name):
    task = tasks.get(name)
    x, y = task.sample(100, seed=3)
    assert (x.shape, y.shape) == ((100, task.x_dim), (100, task.y_dim))
    assert x.dtype == y.dtype == np.float64
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    assert 0 <= task.mi < math.inf
    assert task.mi_error <= 1e-3
    assert task.reference
    assert task.name == name
    assert task.family in tasks.families()
    again, other = task.sample(100, seed=3), task.sample(100, seed=4)
    assert (x.tobytes(), y.tobytes()) == (again[0].tobytes(), again[1].tobytes())
    assert x.tobytes() != other[0].tobytes()


@pytest.mark.parametrize("name", ALL)
def test_rows_are_independent_draws_of_one_distribution(name):
    """First and second half have the same mean ranks, and neighbouring rows do not correlate."""
    task = tasks.get(name)
    for side in task.sample(4000, seed=1):
        values = side[:, :64] + 1e-9 * np.random.default_rng(0).standard_normal(side[:, :64].shape)  # no ties
        ranks = values.argsort(axis=0).argsort(axis=0) / len(values) - 0.5
        halves = ranks[:2000].mean(axis=0) - ranks[2000:].mean(axis=0)
        serial = (ranks[1:] * ranks[:-1]).mean(axis=0) * 12
        # Standard errors sqrt(2 / 2000 / 12) and 1/sqrt(4000); 5 of them hold over all columns of all tasks.
        assert abs(halves).max() < 5 * 0.00913
        assert abs(serial).max() < 5 / math.sqrt(4000)


def test_families_have_their_tasks():
    assert sorted(name for family in tasks.families() for name in tasks.names(family)) == sorted(ALL)
    assert len(tasks.names("beyond-normal")) == 40


OFFERED = """
import sys
from infomax import tasks
before = "infomax.tasks.trimodal" in sys.modules
print(before, [name for name in tasks.__all__ if not hasattr(tasks, name)], tasks.tri_modal.__name__)
"""
BROKEN = """
from infomax.tasks import base
import infomax.tasks.{first}
kept, missing = base.iter_modules, type("Module", (), {{"name": "no_such_file"}})
base.iter_modules = lambda paths: [*kept(paths), missing]
for attempt in range(2):
    try:
        base.names()
    except ModuleNotFoundError:
        print("refused", len(base._REGISTRY))
base.iter_modules = kept
print(len(base.names()), base.names()[:2])
"""
LISTED = "import infomax.tasks.{first}; from infomax import tasks; print(*tasks.names())"


IN_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from infomax import tasks
with ThreadPoolExecutor(4) as pool:
    print(*set(pool.map(lambda _: len(tasks.names()), range(4))))
"""


@pytest.fixture(scope="module")
def printed():
    """What these print in processes that have loaded no task."""
    codes = {"offered": OFFERED, "in threads": IN_THREADS}
    codes |= {f"broken {first}": BROKEN.format(first=first) for first in ("transforms", "base")}
    codes |= {f"listed {first}": LISTED.format(first=first) for first in ("images", "normal", "beyond_normal")}
    return printed_by(codes)


def test_threads_that_load_the_tasks_at_once_see_all_of_them(printed):
    assert printed["in threads"].split() == [str(len(ALL))]


def test_every_name_that_is_offered_is_there_and_none_is_loaded_before_it_is_asked_for(printed):
    assert printed["offered"].strip() == "False [] tri_modal"
    with pytest.raises(AttributeError, match="has no attribute"):
        tasks.quadrimodal  # noqa: B018


@pytest.mark.parametrize("first", ["transforms", "base"])
def test_a_broken_module_lists_nothing_and_the_next_call_tries_again(first, printed):
    assert printed[f"broken {first}"].splitlines() == ["refused 0", "refused 0", f"{len(ALL)} {ALL[:2]}"]


@pytest.mark.parametrize("first", ["images", "normal", "beyond_normal"])
def test_the_list_does_not_depend_on_what_was_imported_first(first, printed):
    assert printed[f"listed {first}"].split() == ALL


@pytest.mark.filterwarnings("ignore:ksg. nearest neighbours")
def test_independent_heavy_tails_give_zero():
    x, y = tasks.get("cauchy-10d-0").sample(2000, 0)
    for result in estimate(x, y, bound=["infonce", "ba", "gaussian", "ksg"], quick=True, progress=False):
        assert abs(result.mi) < 0.05, result.bound


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tasks.get("normal-1d-0").sample(0, 0), "n must be at least 1; got 0"),
        (lambda: tasks.get("normal-1d-7"), "'normal-1d-7' is not known; did you mean 'normal-1d-"),
        (lambda: tasks.names("mixture"), "'mixture' is not known; did you mean 'mixtures'"),
        (lambda: tasks.register(tasks.get("normal-1d-0")), "'normal-1d-0' is registered already"),
        (
            lambda: tasks.Task("t", math.nan, 1, 1, "", tasks.get("normal-1d-0").sampler),
            "mi and its error must be finite .* got nan",
        ),
    ],
)
def test_bad_requests(make, message):
    with pytest.raises(ValueError, match=message):
        make()
