"""Each family's truth, reached a second way: by covariances, quadrature, counting or Monte Carlo."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from infomax import tasks
from infomax.tasks.discrete import (
    discrete_uniform,
    label_information,
    noisy_label,
    quantised_uniform,
    symmetric_channel,
    zero_inflated_poisson,
)
from infomax.tasks.images import digits, draw_plates, draw_rectangles, gaussian_plates, rectangles
from infomax.tasks.noise import gamma_exponential, smoothed_uniform
from infomax.tasks.normal import correlated_normal, dense_normal
from infomax.tasks.secret import secret
from infomax.tasks.student import correlated_student, tail_information

N = 200_000


def information_of_covariance(x, y):
    both = np.hstack([x, y])
    log_dets = [np.linalg.slogdet(np.atleast_2d(np.cov(part.T)))[1] for part in (x, y, both)]
    return 0.5 * (log_dets[0] + log_dets[1] - log_dets[2])


def plug_in(x, y):
    """Mutual information of what was counted, less its bias (Miller 1955)."""
    counts = np.unique(np.hstack([x, y]), axis=0, return_counts=True)[1]
    margins = [np.unique(side, axis=0, return_counts=True)[1] for side in (x, y)]
    entropies = [stats.entropy(c / c.sum()) + (len(c) - 1) / (2 * c.sum()) for c in (*margins, counts)]
    return entropies[0] + entropies[1] - entropies[2]


NORMAL = [*tasks.names("normal"), *tasks.names("trimodal"), *(n for n in tasks.names("secret") if "in50-" in n)]


@pytest.mark.parametrize("name", NORMAL)
def test_normal_tasks_by_their_covariance(name):
    task = tasks.get(name)
    n = 30_000
    bias = task.x_dim * task.y_dim / (2 * n)
    assert information_of_covariance(*task.sample(n, seed=0)) == pytest.approx(
        task.mi + bias, abs=0.03 + 0.008 * task.mi
    )


@pytest.mark.parametrize(("mi", "dim"), [(0.0, 3), (0.29389, 2), (2.5, 7)])
def test_dense_normal(mi, dim):
    task = dense_normal(mi, dim=dim)
    x, y = task.sample(N, seed=1)
    assert information_of_covariance(x, y) == pytest.approx(mi + dim**2 / (2 * N), abs=0.01)
    correlations = np.corrcoef(np.hstack([x, y]).T)[np.triu_indices(2 * dim, 1)]
    assert np.ptp(correlations) < 0.015  # all alike


@pytest.mark.parametrize("mi", [1e-9, 0.1, 5.0, 12.0, 24.0])
def test_normal_pairs_of_any_information(mi):
    """By the samples' own differences: the noise of y given x is exp(-I), whatever is lost in the correlation."""
    for task in (correlated_normal(mi), correlated_normal(3 * mi, dim=3)):
        x, y = task.sample(20_000, seed=0)
        left = y - x * math.sqrt(-math.expm1(-2 * mi))
        assert -np.log(left.std(axis=0)) == pytest.approx(mi, abs=0.02 + 1e-5 * math.exp(mi - 24))
    x, y = dense_normal(mi, dim=2).sample(20_000, seed=0)
    assert information_of_covariance(x, y) == pytest.approx(mi, abs=0.04) or mi > 10


@pytest.mark.parametrize("cubed", [False, True])
def test_staircases(cubed):
    names = [f"{'cubed-' * cubed}normal-20d-{mi}" for mi in (2, 4, 6, 8, 10)]
    assert set(names) <= set(tasks.names("staircase"))
    for name in names:
        task = tasks.get(name)
        x, y = task.sample(20_000, seed=0)
        y = np.cbrt(y) if cubed else y
        rho = np.mean([np.corrcoef(x[:, k], y[:, k])[0, 1] for k in range(20)])
        assert -10 * math.log(1 - rho**2) == pytest.approx(task.mi, abs=0.05)


def test_heavy_tails_are_heavy():
    x, _ = tasks.get("cauchy-10d-0").sample(10_000, 0)
    assert np.median(abs(x)) == pytest.approx(1.0, abs=0.03)
    assert (abs(x) > 100).mean() == pytest.approx(2 / math.pi / 100, rel=0.2)


@pytest.mark.parametrize(("df", "dims"), [(1, (1, 1)), (3, (2, 1)), (5, (1, 3))])
def test_information_of_student_tails_by_monte_carlo(df, dims):
    """Against SciPy's multivariate t."""
    total = sum(dims)
    joint = stats.multivariate_t(shape=np.eye(total), df=df, seed=0).rvs(N)

    def log_density(values):
        return stats.multivariate_t(shape=np.eye(values.shape[1]), df=df).logpdf(values)

    x, y = joint[:, : dims[0]], joint[:, dims[0] :]
    pointwise = log_density(joint) - log_density(x) - log_density(y)
    assert pointwise.mean() == pytest.approx(tail_information(df, *dims), abs=5 * pointwise.std() / math.sqrt(N))


@pytest.mark.parametrize("name", tasks.names("student"))
def test_student_samples_have_the_density_that_gives_the_information(name):
    task = tasks.get(name)
    d = task.x_dim
    df = float(name.split("-")[2].removesuffix("df"))
    rho = math.sqrt(-math.expm1(-2 * (task.mi - tail_information(df, d, d)) / d))
    shape = np.block([[np.eye(d), rho * np.eye(d)], [rho * np.eye(d), np.eye(d)]])
    x, y = task.sample(50_000, seed=2)
    pointwise = stats.multivariate_t(shape=shape, df=df).logpdf(np.hstack([x, y]))
    for side in (x, y):
        pointwise -= stats.multivariate_t(shape=np.eye(d), df=df).logpdf(side)
    assert pointwise.mean() == pytest.approx(task.mi, abs=5 * pointwise.std() / math.sqrt(50_000))


@pytest.mark.parametrize("mi", [0.05, 0.3, 0.5, 1.0, 4.0])
def test_smoothed_uniform_by_quadrature(mi):
    """H(y) of the density of a sum of two uniforms, less log 2ε."""
    task = smoothed_uniform(mi)
    x, y = task.sample(N, seed=0)
    epsilon = abs(y - x).max()

    def minus_log(v):
        density = max(0.0, (min(1, v + epsilon) - max(0, v - epsilon)) / (2 * epsilon))
        return -density * math.log(density) if density else 0.0

    corners = sorted({-epsilon, epsilon, 1 - epsilon, 1 + epsilon})
    entropy = sum(integrate.quad(minus_log, a, b)[0] for a, b in pairwise(corners))
    assert entropy - math.log(2 * epsilon) == pytest.approx(mi, abs=1e-4)
    assert stats.kstest(x[:, 0], "uniform").pvalue > 0.001


@pytest.mark.parametrize("mi", [0.01, 0.2, 1.0, 3.0])
def test_gamma_exponential_by_monte_carlo(mi):
    """Pointwise information of the densities that SciPy has: exponential given the rate, and Lomax."""
    log_x, log_y = (side[:, 0] for side in gamma_exponential(mi).sample(N, seed=0))
    shape = _shape_of(mi)
    # Densities of log y: those of y times y.
    pointwise = (log_x - np.exp(log_x + log_y)) - (math.log(shape) - (shape + 1) * np.logaddexp(0, log_y))
    assert pointwise.mean() == pytest.approx(mi, abs=5 * pointwise.std() / math.sqrt(N))
    assert np.quantile(log_x, 0.3) == pytest.approx(np.log(stats.gamma(shape).ppf(0.3)), abs=0.05 / min(1, shape))


def _shape_of(mi):
    """The shape by its own equation: H(y) - H(y|x), solved by halving."""
    low, high = 1e-3, 1e3
    for _ in range(200):
        middle = math.sqrt(low * high)
        information = (1 + 1 / middle - math.log(middle)) - (1 - _digamma(middle))
        low, high = (middle, high) if information > mi else (low, middle)
    return middle


def _digamma(z):
    """By its recurrence and the asymptotic series, apart from SciPy's."""
    shift = sum(1 / (z + k) for k in range(50))
    z += 50
    return math.log(z) - 1 / (2 * z) - 1 / (12 * z**2) + 1 / (120 * z**4) - shift


@pytest.mark.parametrize(("mi", "symbols"), [(0.0, 3), (1e-15, 3), (0.2, 2), (1.0, 5), (math.log(4), 4)])
def test_symmetric_channel_by_counting(mi, symbols):
    x, y = symmetric_channel(mi, symbols=symbols).sample(N, seed=0)
    assert plug_in(x, y) == pytest.approx(mi, abs=0.006)
    assert np.unique(x).tolist() == np.unique(y).tolist() == list(range(symbols))


@pytest.mark.parametrize(("mi", "levels"), [(0.5, 4), (2.0, 10), (math.log(8), 8)])
def test_quantised_uniform_by_counting(mi, levels):
    x, y = quantised_uniform(mi, levels=levels).sample(N, seed=0)
    assert plug_in(np.floor(levels * x), y) == pytest.approx(mi, abs=0.006)
    assert plug_in(np.floor(4 * levels * x), y) == pytest.approx(mi, abs=0.006)  # finer: no more to find


@pytest.mark.parametrize("symbols", [2, 5])
def test_discrete_uniform_by_counting(symbols):
    task = discrete_uniform(symbols)
    x, y = task.sample(N, seed=0)
    assert plug_in(x, np.floor(y)) == pytest.approx(task.mi, abs=0.006)  # inside a unit y is uniform whatever x
    assert discrete_uniform(symbols, dim=4).mi == pytest.approx(4 * task.mi)


@pytest.mark.parametrize("inflation", [0.0, 0.15, 0.6])
def test_zero_inflated_poisson_by_its_sums(inflation):
    """SciPy's probabilities and adaptive quadrature; and less than the coin and the count together would tell."""
    task = zero_inflated_poisson(inflation)
    counts = np.arange(150)

    def entropy(p):
        return float(-np.sum(p * np.log(p, where=p > 0, out=np.zeros_like(p))))

    def given(x):
        return entropy((1 - inflation) * stats.poisson.pmf(counts, x) + inflation * (counts == 0))

    marginal = entropy((1 - inflation) * stats.nbinom.pmf(counts, 1, 0.5) + inflation * (counts == 0))
    conditional = integrate.quad(lambda t: 2 * t * math.exp(-(t**2)) * given(t**2), 0, 7, epsabs=1e-10, limit=200)[0]
    assert marginal - conditional == pytest.approx(task.mi, abs=1e-7)
    published = (1 - inflation) * (2 * math.log(2) - np.euler_gamma - sum(math.log(k) * 0.5**k for k in range(1, 200)))
    if inflation:
        assert task.mi < published - 0.01
    else:
        assert task.mi == pytest.approx(published, abs=1e-7)
    _, y = task.sample(N, seed=0)
    assert (y == 0).mean() == pytest.approx(inflation + (1 - inflation) / 2, abs=0.005)


@pytest.mark.parametrize(("mi", "classes", "dim"), [(0.0, 2, 1), (1e-15, 2, 1), (0.3, 2, 1), (1.0, 5, 3), (2.2, 10, 2)])
def test_noisy_label_by_its_posterior(mi, classes, dim):
    """H(y) less the mean entropy of the class given x, from samples."""
    x, y = noisy_label(mi, classes=classes, dim=dim).sample(N, seed=0)
    places = np.array([x[y[:, 0] == k].mean(axis=0) for k in range(classes)])
    log_p = -((x[:, None, :] - places) ** 2).sum(axis=2) / 2
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert math.log(classes) - stats.entropy(p, axis=1).mean() == pytest.approx(mi, abs=0.01)


def test_label_information_by_quadrature():
    def density(v):
        return (stats.norm.pdf(v) + stats.norm.pdf(v - 1.5)) / 2

    entropy = integrate.quad(lambda v: -density(v) * math.log(density(v)), -9, 11, epsabs=1e-12, limit=200)[0]
    assert entropy - stats.norm.entropy() == pytest.approx(label_information(1.5, 2), abs=1e-9)


def test_plates_show_their_parameters():
    """Centre of mass and spread of the drawn spots are those that were asked for."""
    parameters = np.random.default_rng(0).random((50, 3))
    images = draw_plates(parameters, 32).reshape(50, 32, 32)
    pixels = np.arange(32) + 0.5
    # The logarithm of the brightness is a parabola, along rows and along columns, with the place at its top.
    nearest = np.clip(np.floor(32 * (0.2 + 0.6 * parameters[:, :2])).astype(int), 1, 30)
    for n, (image, (i, j), (_, _, size)) in enumerate(zip(images, nearest, parameters, strict=True)):
        for axis, line, k in ((0, image[:, j], i), (1, image[i], j)):
            second, first, _ = np.polyfit(pixels[k - 1 : k + 2], np.log(line[k - 1 : k + 2]), 2)
            assert -first / (2 * second) == pytest.approx(32 * (0.2 + 0.6 * parameters[n, axis]), abs=1e-6)
            assert math.sqrt(-1 / (2 * second)) == pytest.approx(32 * (0.05 + 0.1 * size), rel=1e-6)


def test_rectangles_show_their_parameters():
    parameters = np.random.default_rng(0).random((50, 4))
    images = draw_rectangles(parameters, 16).reshape(50, 16, 16)
    lengths = np.stack([images.max(axis=2).sum(axis=1), images.max(axis=1).sum(axis=1)], axis=1)
    assert lengths == pytest.approx(16 * (0.125 + 0.375 * parameters[:, 2:]), abs=1e-9)
    rows = images.max(axis=2)
    centre = (rows * (np.arange(16) + 0.5)).sum(axis=1) / rows.sum(axis=1)
    middle = 8 * parameters[:, 0] + lengths[:, 0] / 2
    assert centre == pytest.approx(middle, abs=0.13)  # a part-covered pixel counts at its middle


@pytest.mark.parametrize("make", [gaussian_plates, rectangles])
def test_images_are_distinct_and_keep_the_information_of_their_parameters(make):
    x, y = make(1.5, size=16).sample(2000, seed=0)
    assert len(np.unique(x, axis=0)) == len(np.unique(y, axis=0)) == 2000
    # The brightness is a monotone function of the sizes: a rank correlation shows that x and y go together.
    assert stats.spearmanr(x.sum(axis=1), y.sum(axis=1)).statistic > 0.4


def test_digits_by_counting_classes():
    from sklearn.datasets import load_digits

    real = load_digits()
    label = {image.tobytes(): target for image, target in zip(real.data, real.target, strict=True)}
    x, y = digits(1.0).sample(50_000, seed=0)
    classes = [np.array([[label[image.tobytes()]] for image in side]) for side in (x, y)]
    assert plug_in(*classes) == pytest.approx(1.0, abs=0.015)
    assert len(np.unique(x, axis=0)) == 1797


def test_secret_hides_from_every_axis():
    task = secret(1.0, directions=2, dim=50)
    x, y = task.sample(20_000, seed=0)
    correlations = np.corrcoef(np.hstack([x, y]).T)[:50, 50:]
    assert abs(correlations).max() < 0.35  # the hidden pairs correlate by 0.8
    canonical = np.linalg.svd(correlations)[1]
    assert canonical[:2] == pytest.approx(math.sqrt(1 - math.exp(-1)), abs=0.02)
    assert canonical[2] < 0.15


def test_trimodal_has_the_wanted_amounts():
    model = tasks.tri_modal(text=0.5, audio=0.2, vision=0.3, joint=0.8, dims=(4, 3, 2))
    for name, wanted in (("text", 0.5), ("audio", 0.2), ("vision", 0.3)):
        assert model.mi([name], ["target"]) == pytest.approx(wanted)
    assert model.mi(["text", "audio", "vision"], ["target"]) == pytest.approx(0.8)
    apart = tasks.tri_modal(text=0.5, audio=0.2, vision=0.3)
    snr = sum(math.expm1(2 * amount) for amount in (0.5, 0.2, 0.3))
    assert apart.mi(["audio", "text", "vision"], ["target"]) == pytest.approx(0.5 * math.log1p(snr))
    samples = model.sample(N, seed=0)
    assert {name: values.shape for name, values in samples.items()} == {
        "target": (N, 1), "text": (N, 4), "audio": (N, 3), "vision": (N, 2)
    }  # fmt: skip
    for a, b in ((["text"], ["audio"]), (["text", "vision"], ["target"]), (["audio"], ["text", "target"])):
        x, y = (np.hstack([samples[name] for name in side]) for side in (a, b))
        assert information_of_covariance(x, y) == pytest.approx(model.mi(a, b), abs=0.01)


BAD = [
    (lambda: correlated_normal(-1.0), "mi must be from 0 to 25 nats, 25 a pair; got -1.0"),
    (lambda: correlated_normal(math.nan), "mi must be from 0 to 25 nats, 25 a pair; got nan"),
    (lambda: correlated_normal(76.0, dim=3), "mi must be from 0 to 75 nats, 25 a pair; got 76.0"),
    (lambda: correlated_normal(1.0, dim=3, x_dim=2), "x_dim must be at least dim, .*; got 2 and 3"),
    (lambda: correlated_normal(1.0, dim=3, pairs=4), "pairs must be from 1 to dim = 3; got 4"),
    (lambda: dense_normal(1.0, dim=0), "dim must be at least 1; got 0"),
    (lambda: correlated_student(0.1, df=1), "mi must be at least 0.224171, its value without correlation; got 0.1"),
    (lambda: correlated_student(df=0.0), "df must be from 0.1 to 1e6.*; got 0.0"),
    (lambda: correlated_student(1.0, df=math.inf), "df must be from 0.1 to 1e6.*; got inf"),
    (lambda: smoothed_uniform(0.0), "1e-6 to 20 nats; got 0.0"),
    (lambda: gamma_exponential(50.0), "1e-6 to 20 nats; got 50.0"),
    (lambda: symmetric_channel(2.0, symbols=3), "mi must be at most log 3 = 1.09861; got 2.0"),
    (lambda: symmetric_channel(0.1, symbols=1), "symbols must be at least 2; got 1"),
    (lambda: discrete_uniform(1), "symbols must be at least 2; got 1"),
    (lambda: zero_inflated_poisson(1.0), r"inflation must lie in \[0, 1\); got 1.0"),
    (lambda: noisy_label(0.7), "mi must be below log 2 = 0.693147; got 0.7"),
    (lambda: noisy_label(0.1, classes=1), "classes must be from 2 to 50; got 1"),
    (lambda: gaussian_plates(1.0, size=2), "size must be at least 4; got 2"),
    (lambda: rectangles(1.0, size=8), "size must be at least 16; got 8"),
    (lambda: secret(1.0, directions=6, dim=5), "pairs must be from 1 to dim = 5; got 6"),
    (lambda: tasks.tri_modal(text=0.5, audio=0.2, vision=0.3, joint=0.4), "joint must be from 0.5.*; got 0.4"),
    (lambda: tasks.tri_modal(text=0.0, audio=0.0, vision=0.0, joint=0.1), "joint must be from 0 to 0 .*; got 0.1"),
    (lambda: tasks.tri_modal(text=9.0, audio=0.2, vision=0.3), "from 0 to 8 nats; got 9.0"),
    (lambda: tasks.tri_modal(text=0.5, audio=0.2, vision=0.3).sample(0, 0), "n must be at least 1; got 0"),
    (lambda: tasks.tri_modal(text=0.5, audio=0.2, vision=0.3).mi(["text"], ["text"]), "must be different names"),
    (lambda: tasks.tri_modal(text=0.5, audio=0.2, vision=0.3).mi("text", ["target"]), "sequence of text, audio"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_requests(make, message):
    with pytest.raises(ValueError, match=message):
        make()
