"""An estimate depends on its arguments alone: not on other threads, nor on settings of torch and numpy."""

import contextlib
import itertools
import os
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from attack.settings import SETTINGS, in_threads, numbers
from torch import nn

import infomax
from infomax import InfomaxWarning, InfoNCE, Schedule, bracket, conditional, estimate, pairwise, tasks
from infomax.critics.initialisation import initialised, may_draw
from infomax.isolation import isolated
from infomax.statistics import independence_pvalue, rank_pvalues

pytestmark = pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning", "ignore:Anomaly Detection")

NAMES = [*infomax.bounds.names(), *infomax.estimators.names()]
BRIEF = {"quick": True, "progress": False, "schedule": Schedule(steps=10, check_every=5)}
X, Y = (side[:, :2] for side in tasks.get("multinormal-dense-3-3-0.5").sample(120, 0))
CLASSES = np.random.default_rng(0).integers(3, size=120)


@pytest.fixture
def alone():
    """The estimate by a bound in this thread and without settings; each is made once."""
    known = {}

    def one(name, seed=0):
        if (name, seed) not in known:
            known[name, seed] = numbers(estimate(X, Y, bound=name, seed=seed, **BRIEF))
        return known[name, seed]

    return one


def call(name, seed):
    return lambda: numbers(estimate(X, Y, bound=name, seed=seed, **BRIEF))


def check_threads(count, alone):
    chosen = list(itertools.islice(itertools.product(range(count), NAMES), count))
    expected = [alone(name, seed) for seed, name in chosen]
    state, legacy, threads = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    filters = list(warnings.filters)
    found = in_threads([call(name, seed) for seed, name in chosen])
    assert [name for (_, name), one, other in zip(chosen, found, expected, strict=True) if one != other] == []
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert warnings.filters == filters


def test_threads_do_not_change_each_others_numbers(alone):
    check_threads(len(NAMES) + 3, alone)


@pytest.mark.slow
def test_two_hundred_calls_from_four_threads(alone):
    check_threads(200, alone)


def test_compositions_in_threads_leave_the_warnings_filters_alone():
    """``warnings.catch_warnings`` belongs to the process: blocks that overlap would restore each other's filters."""
    options = {**BRIEF, "bound": "infonce"}
    calls = [
        lambda: conditional(X[:, 0], X[:, 1], Y, **options),
        lambda: bracket(X, Y, upper="ba", **BRIEF),
        lambda: conditional(X[:, 0], X[:, 0] * 0, Y, **options),
        lambda: pairwise(X, bound="ba", permutations=50, **BRIEF).mi[0, 1],
    ] * 2
    expected = [one() for one in calls]
    filters, show = list(warnings.filters), warnings.showwarning
    assert in_threads(calls) == expected
    assert warnings.filters == filters
    assert warnings.showwarning is show


@pytest.mark.parametrize("name", NAMES)
def test_no_setting_changes_a_number(name, alone):
    """All settings at once, for every registered bound and estimator."""
    expected = alone(name)
    with contextlib.ExitStack() as stack:
        for setting in ("bfloat16 autocast", "default dtype", "default device", "deterministic", "inference mode"):
            stack.enter_context(SETTINGS[setting]())
        for setting in ("anomaly mode", "numpy errors", "threads"):
            stack.enter_context(SETTINGS[setting]())
        found = estimate(X, Y, bound=name, **BRIEF)
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_default_device().type == "meta"
        assert torch.get_num_threads() == 3
    assert numbers(found) == expected


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_no_single_setting_changes_a_number(name, setting, alone):
    expected = alone(name)
    with SETTINGS[setting]():
        assert numbers(estimate(X, Y, bound=name, **BRIEF)) == expected


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_changes_streamed_estimates_and_batches(setting, monkeypatch):
    module = sys.modules["infomax.io.batches"]  # the package has a function of that name
    monkeypatch.setattr(module, "MOST_CELLS", 300)
    monkeypatch.setattr(module, "_STRETCH", 16)

    def results():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InfomaxWarning)
            streamed = estimate(X, Y, bound="infonce", **BRIEF)
        fed = [next(infomax.batches(*sides, batch_size=9)) for sides in ((X, Y), (X[:20], Y[:20]))]
        return numbers(streamed), [part.numpy().tobytes() for batch in fed for part in batch]

    expected = results()
    with SETTINGS[setting]():
        assert results() == expected


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_changes_other_results(setting):
    table = np.column_stack([X, CLASSES])
    wide = np.random.default_rng(1).normal(size=(120, 25))
    tensors = torch.from_numpy(X), torch.from_numpy(Y)

    def results():
        pairs = pairwise(table, progress=False, permutations=60)
        return (
            pairs.mi.tobytes(),
            pairs.pvalue.tobytes(),
            conditional(X[:, 0], X[:, 1], Y, bound="gaussian").mi,
            estimate(CLASSES, CLASSES % 2, progress=False, quick=True).mi,
            estimate(wide, Y, **BRIEF).mi,
            estimate(*tensors, bound="gaussian").mi,
            float(infomax.estimators.gaussian_copula(X, Y).sum()),
            rank_pvalues(X, Y, draws=40, rng=np.random.default_rng(0)).tobytes(),
            independence_pvalue(*tensors, 20, np.random.default_rng(0)),
        )

    expected = results()
    with SETTINGS[setting]():
        assert results() == expected


def test_bounds_that_were_made_under_settings():
    """The numbers of a module's copies do not depend on the dtype in which it was made."""
    expected = numbers(estimate(X, Y, bound=InfoNCE(2, 2), **BRIEF))
    for setting in ("default dtype", "inference mode"):
        with SETTINGS[setting]():
            bound = InfoNCE(2, 2)
        assert numbers(estimate(X, Y, bound=bound, **BRIEF)) == expected
    with torch.device("meta"):
        bound = InfoNCE(2, 2)
    with pytest.raises(ValueError, match="bound must have data; got parameters on the meta device"):
        estimate(X, Y, bound=bound, **BRIEF)


def test_subnormal_values_differ_where_denormals_are_flushed():
    tiny = np.random.default_rng(0).permutation(60) * 5e-324
    pair = np.column_stack([tiny, np.arange(60)])

    def results():
        composed = conditional(tiny, tiny, np.arange(60), bound="gaussian")
        return (
            estimate(tiny, tiny, bound="ksg").mi,
            pairwise(pair, progress=False, permutations=30).mi[0, 1],
            composed.mi,
        )

    expected = results()
    assert expected[0] > 2
    with SETTINGS["flushed denormals"]():
        assert results() == expected
        assert not np.float64(5e-324) * np.float64(1.0)  # as before


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 2)

    def forward(self, x, y):
        return self.net(x) @ y.T


def scripted():
    return torch.jit.trace(Plain(), (torch.zeros(4, 2), torch.zeros(4, 2)), check_trace=False)


class Detached(Plain):
    def forward(self, x, y):
        return super().forward(x, y).detach()


class NaNWhenMeasured(infomax.critics.Bilinear):
    def forward(self, x, y):
        return super().forward(x, y) * (1.0 if self.training else torch.nan)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("critic", "error", "message"),
    [
        (scripted, TypeError, "bound must not have TorchScript modules: copies do not train; got"),
        (Detached, ValueError, "bound must return values with a gradient for its parameters; got none"),
    ],
)
def test_modules_that_cannot_be_trained_are_refused_by_name(critic, error, message):
    with pytest.raises(error, match=message):
        estimate(X, Y, bound=infomax.NWJ(2, 2, critic=critic()), **BRIEF)


def test_values_that_are_not_finite_are_said_to_be_so():
    result = estimate(X, Y, bound=infomax.NWJ(2, 2, critic=NaNWhenMeasured(2, 2)), **BRIEF)
    assert np.isnan(result.mi)
    assert result.warnings[-1] == "the value is not finite: the bound gave NaN or infinity on held-out rows"


class Noisy(nn.Module):
    """A critic of someone else, which draws from torch's global generator when it is made and when it is called."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2))
        self.shift = nn.Parameter(torch.rand_like(self.weight))  # accepts no generator
        self.drop = nn.Dropout(0.3)

    def forward(self, x, y):
        return self.drop(x @ self.weight) @ (y + self.shift[0]).T


def test_modules_that_draw_from_the_global_generator_are_seeded_one_at_a_time():
    assert may_draw(Noisy())
    bound = InfoNCE(2, 2, critic=Noisy())
    calls = [lambda seed=seed: numbers(estimate(X, Y, bound=bound, seed=seed, **BRIEF)) for seed in range(8)]
    expected = [one() for one in calls]
    state = torch.get_rng_state()
    assert in_threads(calls) == expected
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", infomax.bounds.names())
def test_own_bounds_draw_nothing_global(name, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("the global generator was seeded or forked")

    monkeypatch.setattr(torch.random, "fork_rng", forbidden)
    monkeypatch.setattr(torch, "manual_seed", forbidden)
    state = torch.get_rng_state()
    estimate(X, Y, bound=name, **BRIEF)
    assert torch.equal(torch.get_rng_state(), state)


def test_initial_parameters_are_those_of_the_seed():
    """As torch draws them with its global generator at that seed, whatever that generator and the default dtype are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = nn.Sequential(nn.Linear(3, 4), nn.Bilinear(2, 2, 2), nn.GRU(2, 3))
    state = torch.get_rng_state()
    with SETTINGS["default dtype"]():
        found = initialised(lambda: nn.Sequential(nn.Linear(3, 4), nn.Bilinear(2, 2, 2), nn.GRU(2, 3)), 3)
    for one, other in zip(expected.parameters(), found.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_overlapping_blocks_restore_each_threads_number():
    """The first to enter leaves first."""
    threads = torch.get_num_threads()
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def other():
        torch.set_num_threads(3)
        with isolated():
            seen.append(torch.get_num_threads())
            inside.set()
            leave.wait(60)
        seen.append(torch.get_num_threads())

    try:
        torch.set_num_threads(2)
        worker = threading.Thread(target=other)
        with isolated():
            worker.start()
            assert inside.wait(60)
        assert torch.get_num_threads() == 2
        leave.set()
        worker.join(60)
        assert seen == [1, 3]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_while_another_thread_estimates_does_not_hang():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with infomax.isolation.seeded(0, torch.device("cpu")):
            inside.set()
            leave.wait(60)

    worker = threading.Thread(target=other)
    worker.start()
    assert inside.wait(60)
    child = os.fork()
    if not child:
        with infomax.isolation.seeded(0, torch.device("cpu")), isolated():
            os._exit(0)
    leave.set()
    worker.join(60)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: estimate(CLASSES, Y[:, 0], bound="gaussian"),
        lambda: conditional(CLASSES, Y[:, 0], X, bound="gaussian"),
        lambda: bracket(CLASSES, CLASSES, lower="infonce", upper="ba", **BRIEF),
    ],
)
def test_the_line_of_the_user_is_shown(call):
    with pytest.warns(InfomaxWarning) as caught:
        call()
    assert {warning.filename for warning in caught} == {__file__}
