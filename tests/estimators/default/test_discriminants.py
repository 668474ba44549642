"""Linear and quadratic discriminants against scipy's densities and scikit-learn's classifiers."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from infomax.estimators.default.discriminants import (
    Classes,
    Model,
    _few_directions,
    _normal_means,
    fit_model,
    linear,
    quadratic,
)


def classes(n, classes, dim, size, folds=4):
    rng = np.random.default_rng(0)
    centres = size * rng.normal(size=(classes, dim))
    label = rng.integers(classes, size=n)
    x = centres[label] + rng.normal(size=(n, dim))
    x = (x - x.mean(0)) / x.std(0)
    parts = [torch.from_numpy(part) for part in np.array_split(rng.permutation(n), folds)]
    return Classes.of(torch.from_numpy(x), torch.from_numpy(label), classes, parts)


def test_each_fold_learns_from_the_other_rows_alone():
    data = classes(120, 3, 4, 0.5)
    for (rows, counts, means, within), fold in zip(data.training(), data.folds, strict=True):
        assert rows is fold
        others = np.setdiff1d(np.arange(120), fold.numpy())
        x, label = data.x.numpy()[others], data.labels.numpy()[others]
        expected = np.stack([x[label == k].mean(0) for k in range(3)])
        residuals = x - expected[label]
        assert counts.tolist() == np.bincount(label).tolist()
        np.testing.assert_allclose(means, expected)
        np.testing.assert_allclose(within, residuals.T @ residuals / (len(others) - 3))


def test_a_change_of_held_out_labels_changes_nothing():
    data = classes(200, 3, 4, 0.5)
    rows = data.folds[1]
    labels = data.labels.clone()
    labels[rows] = (labels[rows] + 1) % 3
    changed = Classes.of(data.x, labels, 3, data.folds)
    for name, found in linear(data, shrunk=False).items():
        np.testing.assert_allclose(found[rows], linear(changed, shrunk=False)[name][rows], atol=1e-9)
    np.testing.assert_allclose(quadratic(data, [5.0])[0][rows], quadratic(changed, [5.0])[0][rows], atol=1e-9)


def test_with_many_rows_it_is_scikit_learns_discriminant():
    data = classes(20_000, 4, 3, 1.0, folds=2)
    first, second = data.folds
    theirs = LinearDiscriminantAnalysis().fit(data.x[second], data.labels[second])
    expected = theirs.predict_log_proba(data.x[first].numpy())
    prior = torch.bincount(data.labels[second]).double().log()
    for name in ("normal", "few directions"):
        found = torch.log_softmax(linear(data, shrunk=False)[name][first] + prior, 1)
        np.testing.assert_allclose(found.exp(), np.exp(expected), atol=0.01)


def test_means_without_signal_are_shrunk_to_one_and_strong_ones_are_not():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(40, 30, generator=generator, dtype=torch.float64) / 5
    counts = torch.full((40,), 25.0, dtype=torch.float64)
    shrunk, _ = _normal_means(noise, counts, 1.0)
    assert shrunk.square().sum() < 0.05 * noise.square().sum()
    assert _few_directions(noise, counts, 1.0).square().sum() < 0.05 * noise.square().sum()
    signal = torch.randn(40, 1, generator=generator, dtype=torch.float64) * torch.ones(30, dtype=torch.float64)
    few = _few_directions(signal + noise, counts, 1.0)
    normal, _ = _normal_means(signal + noise, counts, 1.0)
    error = (few - signal).square().mean(), (normal - signal).square().mean(), noise.square().mean()
    assert error[0] < 0.15 * error[2]  # 70 of 1,200 numbers are free
    assert error[0] < 0.3 * error[1]


@pytest.mark.parametrize("prior_rows", [None, 6.0])
def test_densities_of_drawn_rows_are_scipys(prior_rows):
    data = classes(300, 3, 4, 0.7)
    model = fit_model(data, "normal", shrunk=True, prior_rows=prior_rows)
    noise = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn, found = model.sample(data.labels[:50], noise, 0.8)
    z = drawn @ torch.linalg.inv(model.colouring)
    for k in range(3):
        covariance = np.eye(4)
        if model.covariances is not None:
            covariance = 0.2 * covariance + 0.8 * model.covariances[k].numpy()
        expected = stats.multivariate_normal(0.8 * model.centres[k].numpy(), covariance).logpdf(z.numpy())
        np.testing.assert_allclose(found[:, k].numpy() - expected, 2 * np.log(2 * np.pi), atol=1e-9)


def test_size_zero_has_no_classes():
    model = Model(torch.ones(3, 2, dtype=torch.float64), None, torch.eye(2, dtype=torch.float64))
    z, found = model.sample(torch.tensor([0, 1, 2]), torch.ones(3, 2, dtype=torch.float64), 0.0)
    assert (z == 1).all()
    assert (found == found[:, :1]).all()
