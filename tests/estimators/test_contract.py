"""The contract of every registered estimator, and what ``bound=`` may be."""

import numpy as np
import pytest

import infomax
from infomax import bounds, estimators, tasks
from infomax.estimators import Estimator, Measurement, Problem, base, chosen

RNG = np.random.default_rng(0)
NAMES = [*estimators.names(), "infonce", "ba"]


def problem(x, y, **options):
    return Problem(x, y, rows=len(x), quick=True, **options)


@pytest.fixture
def table():
    """Discrete on both sides, which every estimator accepts; 0.0823 nats, by the closed form below."""
    x = RNG.integers(2, size=(600, 1))
    y = np.where(RNG.random((600, 1)) < 0.3, 1 - x, x)
    return x * 1.0, y * 1.0


@pytest.mark.parametrize("name", NAMES)
def test_facts_and_measurement(name, table):
    estimator = chosen(name)
    assert estimator.name == name
    assert estimator.kind in ("lower", "upper", "estimate")
    facts = bounds.get(name) if name in bounds.names() else estimator
    assert facts.reference
    assert facts.cost
    assert facts.use_when
    before = table[0].copy(), table[1].copy()
    ticks = []
    found = estimator.measure(problem(*table, schedule=infomax.Schedule(steps=20)), ticks.append)
    assert sum(ticks) == estimator.steps(problem(*table, schedule=infomax.Schedule(steps=20)))
    assert np.isfinite([found.value, found.stderr, found.gap]).all()
    assert found.stderr > 0
    if found.local is not None:
        assert found.local.shape == (600,)
        assert found.local.mean() == pytest.approx(found.value, abs=1e-12)
    np.testing.assert_array_equal(before, table)


@pytest.mark.filterwarnings("ignore:gaussian. 2 of 2 columns")
@pytest.mark.parametrize("name", estimators.names())
def test_the_value_of_estimate_is_the_measurement(name, table):
    result = infomax.estimate(*table, bound=name, quick=True, progress=False)
    found = chosen(name).measure(problem(*table).ordered())
    assert (result.mi, result.stderr, result.gap, result.pvalue) == (found.value, found.stderr, found.gap, found.pvalue)
    truth = np.log(2) + 0.3 * np.log(0.3) + 0.7 * np.log(0.7)
    if name in ("default", "plugin"):
        assert result.mi == pytest.approx(truth, abs=4 * result.stderr)


SYMMETRIC = [name for name in estimators.names() if chosen(name).symmetric]


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
@pytest.mark.parametrize("columns", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_exchanging_the_sides_changes_no_bit(name, columns):
    rng = np.random.default_rng(sum(columns))
    if name == "plugin":
        x, y = (rng.integers(3, size=(200, dim)) * 1.0 for dim in columns)
    else:
        x, y = (rng.normal(size=(200, dim)) for dim in columns)
        y[:, 0] += x[:, 0]
    options = {"bound": name, "quick": True, "progress": False, "schedule": infomax.Schedule(steps=20)}
    one = infomax.estimate(x, y, **options)
    layouts = (y, x), (np.asfortranarray(y), x[:, ::-1][:, ::-1]), (y.tolist(), np.repeat(x, 2, axis=0)[::2])
    for sides in layouts:
        other = infomax.estimate(*sides, **options)
        assert other == one  # all fields but `local`
        assert other.confidence_interval() == one.confidence_interval()
        assert (other.local is None) == (one.local is None)
        if one.local is not None:
            np.testing.assert_array_equal(other.local, one.local)


def test_the_sides_of_a_trained_bound_are_as_given():
    assert estimators.names() == SYMMETRIC
    assert not chosen("ba").symmetric
    x, y = tasks.get("normal-1d-1").sample(200, 0)
    options = {"bound": "ba", "margins": "standard", "schedule": infomax.Schedule(steps=20), "progress": False}
    y = y**3  # not normal, so that q(y|x) and q(x|y) differ
    values = {infomax.estimate(*sides, **options).mi for sides in ((x, y), (y, x))}
    assert len(values) == 2


def test_a_new_estimator_is_one_class(monkeypatch):
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))

    @estimators.register("mean")
    class Mean(Estimator):
        """The mean of the product, to be told from every real estimate."""

        reference, cost, use_when = "none", "N", "never"

        def measure(self, problem, tick=print):
            local = (problem.x * problem.y).sum(1)
            return Measurement(float(local.mean()), 0.1, local=local)

    x, y = tasks.get("normal-1d-1").sample(100, 0)
    result = infomax.estimate(x, y, bound="mean", progress=False)
    assert (result.bound, result.mi) == ("mean", pytest.approx((x * y).mean()))
    with pytest.raises(ValueError, match="an estimator named 'mean' is registered already"):
        estimators.register("mean")(Mean)


def test_the_old_name_of_the_default_warns():
    x, y = tasks.get("normal-1d-1").sample(60, 0)
    with pytest.warns(DeprecationWarning, match="bound 'anchored' is now called 'default'") as caught:
        result = infomax.estimate(
            x, y, bound="anchored", quick=True, schedule=infomax.Schedule(steps=0), progress=False
        )
    assert caught[0].filename == __file__
    assert result.bound == "default"


def test_old_names_warn_at_the_line_of_the_user():
    x = RNG.normal(size=(60, 2))
    short = {"schedule": infomax.Schedule(steps=0), "progress": False}
    for call in (
        lambda: infomax.InfoNCE(2, 2, critic="anchored"),
        lambda: infomax.critics.make("anchored", 2, 2),
        lambda: infomax.critics.Anchored,
        lambda: infomax.pairwise(x, bound="anchored", **short),
        lambda: infomax.total_correlation([x[:, 0], x[:, 1]], bound="anchored", **short),
    ):
        with pytest.warns(DeprecationWarning, match="is now called") as caught:
            call()
        assert {str(warning.filename) for warning in caught if warning.category is DeprecationWarning} == {__file__}
    assert infomax.critics.make("gaussian_residual", 2, 2).__class__ is infomax.critics.GaussianResidual


@pytest.mark.parametrize(
    ("bound", "error", "message"),
    [
        ("infonse", ValueError, "bound 'infonse' is not known; did you mean 'infonce'"),
        (infomax.CPC, TypeError, "bound must be a name or an infomax.Bound; got the class CPC"),
        (3, TypeError, "bound must be a name or an infomax.Bound; got int"),
    ],
)
def test_unknown_bounds(bound, error, message):
    with pytest.raises(error, match=message):
        chosen(bound)
