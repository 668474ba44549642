"""What every registered candidate of the default estimator keeps."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from infomax import Schedule, estimate
from infomax.estimators import candidates
from infomax.estimators.candidates import Candidate, LogRatio, Side, base
from infomax.estimators.default.folds import Anchor, Fold, calibrated, score
from infomax.statistics.row_structure import RowStructure

every_candidate = pytest.mark.parametrize("name", candidates.names())
#: The fewest rows that the default estimator fits a candidate to.
FEWEST = 20


def normal(n, mi, dim=2, seed=0):
    """Independent pairs of normal columns that share ``mi`` nats."""
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((2, n, dim))
    r = math.sqrt(1 - math.exp(-2 * mi / dim))
    return x, r * x + math.sqrt(1 - r * r) * noise


def either_sign(n, seed=0):
    """y is 0.95 x or -0.95 x with noise: two clusters, in standard normal margins."""
    rng = np.random.default_rng(seed)
    x, y = normal(n, -math.log(1 - 0.95**2), seed=seed)
    return x, y * rng.choice([-1.0, 1.0], (n, 1))


def of_either_sign():
    """The mean of the log-ratio over many pairs, by SciPy's densities."""
    z = np.concatenate(either_sign(200_000, seed=1), 1)
    eye, r = np.eye(2), 0.95 * np.eye(2)
    joint = [stats.multivariate_normal(np.zeros(4), np.block([[eye, s * r], [s * r, eye]])).logpdf(z) for s in (-1, 1)]
    margins = stats.multivariate_normal(np.zeros(2), eye)
    return float((np.logaddexp(*joint) - math.log(2) - margins.logpdf(z[:, :2]) - margins.logpdf(z[:, 2:])).mean())


def mixed_sources(n, seed=0):
    """Uniform and heavy-tailed sources, which a normal copula relates, in linear mixtures: 1.6 nats."""
    x, y = normal(n, 1.6, seed=seed)
    return stats.norm.cdf(x) @ [[1.0, 0.7], [-0.6, 1.0]], np.sinh(2 * y) @ [[1.0, -0.8], [0.5, 1.0]]


def sines(n, seed=0):
    """Noisy sines of the columns of x, in another order: each pair is related, and not at all monotonically."""
    x, noise = np.random.default_rng(seed).standard_normal((2, n, 2))
    return x, (np.sin(2 * x) + 0.4 * noise)[:, ::-1]


def of_sines():
    """The entropy of y less that of the noise, by integrals over x and over y."""
    x, y = np.linspace(-8, 8, 2001), np.linspace(-4, 4, 1001)
    conditional = stats.norm.pdf(y[:, None], np.sin(2 * x), 0.4)
    density = np.trapezoid(conditional * stats.norm.pdf(x), x, axis=1)
    entropy = -np.trapezoid(np.where(density > 0, density * np.log(np.maximum(density, 1e-300)), 0.0), y)
    return 2 * (entropy - stats.norm.entropy(scale=0.4))


#: Of each candidate, data of the structure that it assumes, and their mutual information.
SAMPLES = {
    "elliptical": (lambda n: normal(n, 1.0), lambda: 1.0),
    "components": (mixed_sources, lambda: 1.6),
    "mixture": (either_sign, of_either_sign),
    "pairs": (sines, of_sines),
}
#: Those that include normal pairs.
OF_NORMAL = ["elliptical", "components", "mixture", "pairs"]


def sides(x, y):
    return Side.of(x), Side.of(y)


def suited(name, x, y):
    """The sides, if they suit the candidate; otherwise the test is skipped."""
    x, y = sides(x, y)
    if not candidates.get(name).suits(x, y):
        pytest.skip(f"{name} does not suit {x.dim} and {y.dim} columns")
    return x, y


@cache
def fitted(name):
    """The sides of 1,200 pairs, with one column more in x where that suits, and a fit to 800 of them."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - a test compares with another global state
    x, y = SAMPLES[name][0](1200)
    candidate, rows = candidates.get(name), torch.arange(800)
    wider = Side.of(np.concatenate([x, np.random.default_rng(1).standard_normal((1200, 1))], 1))
    x, y = sides(x, y)
    x = wider if candidate.suits(wider[rows], y[rows]) else x
    return x, y, candidate.fit(x[rows], y[rows], torch.Generator().manual_seed(0))


def held_out(name, x, y):
    """The calibrated value on held-out rows, a third of them, and its standard error."""
    rng = np.random.default_rng(0)
    x, y = sides(x, y)
    fold = Fold.of(np.array_split(rng.permutation(len(x)), 3), rng, 1, RowStructure.independent(len(x)))[0]
    fit = candidates.get(name).fit(x[fold.others], y[fold.others], torch.Generator().manual_seed(0))
    local = calibrated(score([fold], [Anchor.of(fit, x, y)], [[]], rng), networks=False).local
    return float(local.mean()), float(local.std()) / math.sqrt(len(local))


def all_scores(fit, x, y):
    return fit.scores(*fit.embed(x, y))


def test_facts_are_stated_and_the_order_of_comparison_is_unique():
    every = [candidates.get(name) for name in candidates.names()]
    for candidate in every:
        assert all([candidate.name, candidate.assumes, candidate.cost, candidate.reference, candidate.__doc__])
    places = [candidate.complexity for candidate in every]
    assert places == sorted(set(places))
    assert candidates.names()[0] == "elliptical"


@every_candidate
def test_log_ratios_of_any_pairs(name):
    """Row i and column j belong to the i-th x and the j-th y, in whatever order and number they come."""
    x, y, fit = fitted(name)
    of_x, of_y = fit.embed(x, y)
    assert of_x.ndim == of_y.ndim == 2
    assert (len(of_x), len(of_y)) == (len(x), len(y))
    few, others = torch.arange(900, 905), torch.tensor([1100, 3, 950])
    found = fit.scores(of_x[few], of_y[others])
    assert found.shape == (5, 3)
    torch.testing.assert_close(found, fit.scores(of_x[few], of_y[others.flip(0)]).flip(1))
    torch.testing.assert_close(found, all_scores(fit, x[few], y[others]))
    torch.testing.assert_close(found, torch.cat([fit.scores(of_x[i][None], of_y[others]) for i in few]))


@every_candidate
def test_single_precision(name):
    x, y, fit = fitted(name)
    of_x, of_y = fit.embed(x, y)
    exact, rounded = fit.scores(of_x.double(), of_y.double()), fit.scores(of_x.float(), of_y.float())
    assert (exact.dtype, rounded.dtype) == (torch.float64, torch.float32)
    assert exact.isfinite().all()
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-3)


@every_candidate
def test_the_ratio_is_normalised(name):
    """The mean of the ratio over independent pairs is one."""
    x, y, fit = fitted(name)
    rows = torch.arange(800, 1200)
    scores = all_scores(fit, x[rows], y[rows])
    shuffled = scores[~torch.eye(400, dtype=torch.bool)]
    assert shuffled.exp().mean().item() == pytest.approx(1.0, abs=0.15)


@every_candidate
def test_independence(name):
    x, y = SAMPLES[name][0](1200)
    value, error = held_out(name, x, np.random.default_rng(5).permutation(y))
    assert value <= 3 * error
    assert value > -0.02


@pytest.mark.parametrize("name", OF_NORMAL)
def test_normal_pairs(name):
    value, error = held_out(name, *normal(1500, 1.0))
    assert value == pytest.approx(1.0, abs=3 * error)
    assert error < 0.06


@every_candidate
def test_data_of_the_structure_that_it_assumes(name):
    sample, truth = SAMPLES[name]
    x, y = sample(1800)
    value, error = held_out(name, x, y)
    assert value == pytest.approx(truth(), abs=3 * error)
    if name != "elliptical":  # which does not express it
        assert held_out("elliptical", x, y)[0] < 0.8 * truth()


@every_candidate
def test_random_numbers_come_from_the_generator_alone(name):
    x, y, fit = fitted(name)
    rows = torch.arange(800)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global state is what is tested
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    again = candidates.get(name).fit(x[rows], y[rows], torch.Generator().manual_seed(0))
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(all_scores(fit, x[rows], y[rows]), all_scores(again, x[rows], y[rows]))


@every_candidate
def test_few_rows(name):
    """The fewest that it suits."""
    x, y = sides(*SAMPLES[name][0](1000))
    candidate = candidates.get(name)
    n = next(n for n in range(FEWEST, 1000, 20) if candidate.suits(x[torch.arange(n)], y[torch.arange(n)]))
    few = torch.arange(n)
    scores = all_scores(candidate.fit(x[few], y[few], torch.Generator().manual_seed(0)), x, y)
    assert scores.shape == (1000, 1000)
    assert scores.isfinite().all()


@every_candidate
def test_collinear_and_nearly_constant_columns(name):
    rng = np.random.default_rng(3)
    x, y = normal(700, 1.0)
    almost = np.where(np.arange(700) < 697, 1.0, 1.0 + 1e-9 * rng.standard_normal(700))[:, None]
    x, y = suited(name, np.concatenate([x, x[:, [0]], x.sum(1, keepdims=True)], 1), np.concatenate([y, almost], 1))
    fit = candidates.get(name).fit(x[torch.arange(600)], y[torch.arange(600)], torch.Generator().manual_seed(0))
    scores = all_scores(fit, x, y)
    assert scores.isfinite().all()
    assert scores.diagonal()[600:].mean() > scores[600:, :600].mean()


class SignsRatio(LogRatio):
    """The sign of y is that of x₁ x₂ with this probability."""

    def __init__(self, agreement):
        self.agreement = agreement

    def embed(self, x, y):
        return x.scores.prod(1, keepdim=True).sign(), y.scores.prod(1, keepdim=True).sign()

    def scores(self, x, y):
        return torch.where(x * y.T > 0, math.log(2 * self.agreement), math.log(2 - 2 * self.agreement))


class Signs(Candidate):
    """Exclusive-or of the signs of two columns. The sides come in an order of the library's own."""

    assumes = "the sign of y is that of a product of two columns"
    cost = "N"
    reference = "this test"
    complexity = 7

    def suits(self, x, y):
        return {x.dim, y.dim} == {1, 2}

    def fit(self, x, y, generator):
        return SignsRatio(float((x.scores.prod(1) * y.scores.prod(1) > 0).double().mean().clamp(0.01, 0.99)))


@pytest.fixture
def signs(monkeypatch):
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    base.register("signs")(Signs)


def test_the_registry(signs):
    assert candidates.names()[-1] == "signs"
    with pytest.raises(ValueError, match="a candidate named 'signs' is registered already"):
        base.register("signs")(Signs)
    with pytest.raises(KeyError):
        candidates.get("unknown")


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
def test_a_new_candidate_is_chosen_where_it_is_right(signs):
    rng = np.random.default_rng(4)
    x, noise = rng.standard_normal((400, 2)), rng.standard_normal((400, 1))
    agrees = np.where(rng.random((400, 1)) < 0.9, 1.0, -1.0)
    y = np.abs(noise) * np.sign(x.prod(1, keepdims=True)) * agrees
    options = {"schedule": Schedule(steps=0), "quick": True, "progress": False}
    result = estimate(x, y, **options)
    chosen = {trial.name: trial.chosen for trial in result.candidates}
    assert chosen == {"elliptical": False, "signs": True}
    parts = [side - np.median(side, 0) for side in (x, y)]  # the medians have normal score 0
    share = float((parts[0].prod(1) * parts[1][:, 0] > 0).mean())
    expected = math.log(2) + share * math.log(share) + (1 - share) * math.log(1 - share)
    assert result.mi == pytest.approx(expected, abs=0.03)
    trial = result.candidates[-1]
    assert trial.assumes == Signs.assumes
    assert trial.score == pytest.approx(expected, abs=0.03)
    assert 0 < trial.stderr < 0.05
    unrelated = estimate(x, noise, **options)
    assert {trial.name: trial.chosen for trial in unrelated.candidates} == {"elliptical": True, "signs": False}
