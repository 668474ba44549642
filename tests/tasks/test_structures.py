"""Data of many structures: each truth in a second way, from the samples and densities written out here."""

import math

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp

from infomax import tasks
from infomax.tasks import clusters, interactions, labels, large_values, mixed_sources, networks, redundant, tiles
from infomax.tasks.images import digit_images

ROWS = 200_000


def normal(values, scale):
    return -0.5 * (values / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


def close(local, mi, error=0.0):
    """Whether the mean of local log-ratios is the task's information, up to their scatter."""
    assert abs(local.mean() - mi) < 4 * math.hypot(local.std() / math.sqrt(len(local)), error)


@pytest.mark.parametrize("name", tasks.names("codes"))
def test_codes_by_the_mixture_of_their_means(name):
    task = tasks.get(name)
    codes = int(name.split("-")[1])
    x, y = task.sample(ROWS, 3)
    means = np.array([y[x == code].mean() for code in range(codes)])  # as estimated from the rows
    noise = (y[:, 0] - means[x[:, 0].astype(int)]).std() * math.sqrt(ROWS / (ROWS - codes))
    rows = slice(20_000)
    given = normal(y[rows, 0] - means[x[rows, 0].astype(int)], noise)
    close(given - logsumexp(normal(y[rows] - means, noise), axis=1) + math.log(codes), task.mi, 0.002)
    assert abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]) < 0.25  # no order


@pytest.mark.parametrize("periods", [1, 16])
def test_sines_of_a_uniform_column_by_their_arcsine_density(periods):
    task = interactions.periodic(0.85, periods=periods)
    x, y = task.sample(ROWS, 0)
    noise = (y - np.sin(2 * math.pi * periods * x)).std()

    def density(value):
        return integrate.quad(
            lambda s: math.exp(normal(value - s, noise)) / math.pi, -1, 1, weight="alg", wvar=(-0.5, -0.5)
        )[0]

    grid = np.linspace(-1 - 8 * noise, 1 + 8 * noise, 400)
    p = np.array([density(value) for value in grid])
    entropy = -integrate.trapezoid(p * np.log(p), grid)
    assert entropy - 0.5 * math.log(2 * math.pi * math.e * noise**2) == pytest.approx(0.85, abs=5e-3)


def test_rotated_sines_by_undoing_the_rotation():
    task = tasks.get("sines-8d-4.2368")
    x, y = task.sample(ROWS, 0)
    turn = np.linalg.lstsq(np.sin(2 * x), y, rcond=None)[0]
    np.testing.assert_allclose(turn @ turn.T, np.eye(8), atol=0.02)
    noise = (y @ turn.T - np.sin(2 * x)).std()
    assert noise == pytest.approx(0.5, abs=2e-3)
    nodes = np.sin(2 * np.random.default_rng(5).standard_normal(10_000))
    seen = np.sin(2 * x[:1000, 0]) + 0.5 * np.random.default_rng(6).standard_normal(1000)
    given = normal(seen - np.sin(2 * x[:1000, 0]), 0.5)
    close(given - logsumexp(normal(seen[:, None] - nodes, 0.5), axis=1) + math.log(10_000), 0.5296, 0.005)


def test_interactions_by_the_density_given_all_other_columns():
    task = tasks.get("exclusive-or-2in5")
    x, y = task.sample(ROWS, 0)
    sign = np.sign(x[:, 0] * x[:, 1])
    given = normal(y[:, 0] - sign, 0.2)
    close(given - np.logaddexp(normal(y[:, 0] - 1, 0.2), normal(y[:, 0] + 1, 0.2)) + math.log(2), task.mi)
    assert abs(np.corrcoef(x.T, y[:, 0])[-1, :-1]).max() < 0.02  # no column alone shows it
    task = tasks.get("product-2in5")
    x, y = task.sample(2000, 0)
    nodes = np.hypot(np.random.default_rng(2).standard_normal(10_000), 0.5)
    marginal = logsumexp(normal(y, nodes), axis=1) - math.log(10_000)
    close(normal(y[:, 0] - x[:, 0] * x[:, 1], 0.5) - marginal, task.mi, 0.01)


def test_rare_classes_share_their_entropy():
    for name in ("rare-class-0.005", "rare-class-0.05"):
        task, share = tasks.get(name), float(name.rpartition("-")[2])
        assert task.mi == pytest.approx(stats.entropy([share, 1 - share]), abs=1e-5)
        assert task.sample(ROWS, 0)[1].mean() == pytest.approx(share, abs=4 * math.sqrt(share / ROWS))


@pytest.mark.parametrize("name", [name for name in tasks.names("labels") if "rare" not in name])
def test_labels_by_the_posterior_from_estimated_means(name):
    task = tasks.get(name)
    x, y = task.sample(ROWS, 7)
    label = y.argmax(1) if y.shape[1] > 1 else y[:, 0].astype(int)
    if y.shape[1] > 1:
        assert (y.sum(1) == 1).all()
    means = np.stack([x[label == each].mean(0) for each in range(label.max() + 1)])
    rows = slice(20_000)
    scores = x[rows] @ means.T - 0.5 * np.square(means).sum(1)
    local = scores[np.arange(20_000), label[rows]] - logsumexp(scores, axis=1) + math.log(len(means))
    close(local, task.mi, task.mi_error + 0.003)
    assert task.mi < math.log(len(means))


@pytest.mark.parametrize("name", [*tasks.names("wrapped"), *tasks.names("spirals")])
def test_mixed_sources_are_normal_pairs_once_undone(name):
    task = tasks.get(name)
    x, y = task.sample(20_000, 0)
    dim = task.x_dim
    if name.startswith("wrapped"):
        means = np.tril(np.ones((dim, dim))) / np.arange(1, dim + 1)[:, None]
        z, w = np.arctanh(np.linalg.solve(means.T, x.T).T), np.log(np.linalg.solve(means.T, y.T).T)
    else:
        angles = [-np.square(side).sum(1) / dim for side in (x, y)]
        z, w = (
            _turned(side, plane, angle) for side, plane, angle in zip((x, y), ((0, 1), (1, 2)), angles, strict=True)
        )
    correlations = [np.corrcoef(z[:, i], w[:, i])[0, 1] for i in range(dim)]
    np.testing.assert_allclose(correlations, 0.7, atol=0.02)
    assert task.mi == pytest.approx(-0.5 * dim * math.log(1 - 0.49), abs=1e-12)
    assert stats.kstest(z[:, -1], "norm").pvalue > 1e-4


def _turned(values, plane, angle):
    i, j = plane
    turned = values.copy()
    turned[:, i] = np.cos(angle) * values[:, i] - np.sin(angle) * values[:, j]
    turned[:, j] = np.sin(angle) * values[:, i] + np.cos(angle) * values[:, j]
    return turned


@pytest.mark.parametrize(("latent", "dim"), [(2, 16), (5, 16), (10, 64)])
def test_networks_are_locally_injective(latent, dim):
    """The Jacobian has full rank wherever it is looked at, and distant inputs do not meet."""
    embed = networks.network(latent, dim, 0)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((200, latent))
    step = 1e-6
    jacobian = np.stack([(embed(z + step * axis) - embed(z - step * axis)) / (2 * step) for axis in np.eye(latent)], 2)
    assert np.linalg.svd(jacobian, compute_uv=False).min() > 1e-3
    outputs = embed(z)
    apart = np.linalg.norm(outputs[:, None] - outputs, axis=2) / (np.linalg.norm(z[:, None] - z, axis=2) + np.eye(200))
    assert (apart + np.eye(200)).min() > 0.02


def test_redundant_columns():
    task = tasks.get("redundant-5in30-0.6931")
    x, y = task.sample(50_000, 0)
    for side in (x, y):
        assert all(any((side[:, j] == side[:, i]).all() for i in range(5)) for j in range(5, 18))
        assert not any((side[:, j] == side[:, i]).all() for j in range(18, 30) for i in range(j))
    correlations = np.corrcoef(x.T, y.T)[:30, 30:]
    assert -0.5 * sum(math.log(1 - correlations[i, i] ** 2) for i in range(5)) == pytest.approx(0.6931, abs=0.02)
    assert abs(correlations[18:]).max() < 5 / math.sqrt(50_000)
    assert abs(correlations[:, 18:]).max() < 5 / math.sqrt(50_000)


@pytest.mark.parametrize(("bits", "count", "nuisance"), [(6, 2, 0.0), (4, 4, 0.3)])
def test_tiles_hold_the_code(bits, count, nuisance):
    """Each tile is found among the real images, or among the sums of two of them, and both views have its class."""
    images, first = digit_images()
    task = tiles.tiled_digits(bits, tiles=count, nuisance=nuisance)
    assert task.mi == pytest.approx(bits * math.log(2))
    x, y = task.sample(30, 0)
    assert x.shape == y.shape == (30, 64 * count)

    known = {image.astype(np.int64).tobytes() for image in images}

    def read(tile):
        if not nuisance:
            matches = np.flatnonzero((images == tile).all(1))
        else:
            rest = (tile - (1 - nuisance) * images) / nuisance
            whole = abs(rest - rest.round()).max(1) < 1e-6
            matches = [i for i in np.flatnonzero(whole) if rest[i].round().astype(np.int64).tobytes() in known]
        found = {int(np.searchsorted(first, i, "right")) - 1 for i in matches}
        assert len(found) == 1
        return found.pop()

    for row in range(30):
        codes = [[read(tile) for tile in side[row].reshape(count, 64)] for side in (x, y)]
        assert codes[0] == codes[1]
    assert not np.array_equal(x, y)


@pytest.mark.parametrize("name", tasks.names("clusters"))
def test_clusters_by_their_densities(name):
    task = tasks.get(name)
    dim = task.x_dim
    x, y = task.sample(20_000, 9)
    joint, left, right = [], [], []
    for rho, mean in zip((-0.3, 0.5, 0.2, 0.4, 0.9), (-0.2, -0.1, 0.0, 0.3, 0.4), strict=True):
        a, b = x - mean, y - mean
        pairs = (
            -0.5 * (a**2 - 2 * rho * a * b + b**2) / (1 - rho**2) - 0.5 * math.log(1 - rho**2) - math.log(2 * math.pi)
        )
        joint.append(pairs.sum(1))
        left.append(normal(a, 1.0).sum(1))
        right.append(normal(b, 1.0).sum(1))
    local = logsumexp(joint, axis=0) - logsumexp(left, axis=0) - logsumexp(right, axis=0) + math.log(5)
    close(local, task.mi, task.mi_error)
    assert clusters.clusters(dim, mi=(1.0, 0.0)).mi == 1.0


def test_the_grid_has_its_values():
    for form in large_values.FORMS:
        task = large_values.large_value(form, 4.0, dim=2)
        assert (task.mi, task.y_dim, task.family) == (4.0, 2, "grid")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: networks.embeddings(1.0, latent=4, dim=4), "dim must exceed latent, 4, .*; got 4"),
        (lambda: networks.couplings(1.0, dim=1), "at least 2 dimensions; got 1"),
        (lambda: mixed_sources.rotated_sines(9.0, dim=2), "mi must be from .* to 2.2.* nats here; got 4.5"),
        (lambda: mixed_sources.spiralled_normal(1.0, dim=2), "dim must be at least 3; got 2"),
        (lambda: labels.class_labels(1, columns=3), "classes must be at least 2, .*; got 1 and 3"),
        (lambda: labels.rare_class(1.0), r"share must lie in \(0, 1\); got 1.0"),
        (lambda: labels.nominal_codes(3.0, codes=10), "mi must be from .*; got 3.0"),
        (lambda: interactions.exclusive_or(1), "columns must be at least 2; got 1"),
        (lambda: interactions.product(2, noise=0.0), "noise must be positive; got 0.0"),
        (lambda: interactions.periodic(0.5, periods=0), "periods must be at least 1; got 0"),
        (lambda: redundant.redundant(1.0, pairs=5, columns=4), "columns must be at least pairs, 5; got 4"),
        (lambda: large_values.large_value("cubic", 1.0, dim=1), "form must be one of normal, .*; got 'cubic'"),
        (lambda: tiles.tiled_digits(5, tiles=2), "bits / tiles must be log2 of 2 to 10 classes; got 5 / 2"),
        (lambda: tiles.tiled_digits(2, tiles=1, nuisance=0.5), r"nuisance in \[0, 1/2\); got 1 and 0.5"),
    ],
)
def test_impossible_parameters(call, message):
    with pytest.raises(ValueError, match=message):
        call()
