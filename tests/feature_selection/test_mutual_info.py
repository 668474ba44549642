import math
from functools import partial
from importlib.resources import files

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes, load_wine
from sklearn.feature_selection import SelectFdr, SelectKBest, mutual_info_classif, mutual_info_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from infomax import ConstantColumnWarning, IndexWarning, InfomaxWarning, pairwise
from infomax.sklearn import MutualInfoSelector, mutual_info
from infomax.sklearn.terms import Terms
from infomax.statistics import plugin


def made(n=2000, seed=0):
    """Columns with known mutual informations of one or two of them and y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = x[:, 0] + x[:, 1] + rng.normal(size=n)
    return x, y


def terms(x, y, **options):
    defaults = {"nominal_x": "auto", "nominal_y": "auto", "missing": "raise", "seed": 0}
    return Terms.of(x, y, **(defaults | options))


def test_values_are_those_of_pairwise_and_near_the_truth():
    x, y = made()
    found = mutual_info(x, y)
    assert found.tolist() == pairwise(x, y, progress=False).mi[:, 0].tolist()
    np.testing.assert_allclose(found, [0.5 * math.log(3 / 2)] * 2 + [0], atol=0.05)


@pytest.mark.parametrize(("load", "peer"), [(load_wine, mutual_info_classif), (load_diabetes, mutual_info_regression)])
def test_the_target_decides_between_classes_and_numbers_as_the_two_functions_of_scikit_learn_do(load, peer):
    x, y = load(return_X_y=True)
    # Normal scores and other noise: the values differ a little.
    np.testing.assert_allclose(mutual_info(x, y), peer(x, y, random_state=0), atol=0.08)


def test_names_and_order_of_classes_do_not_matter_where_they_are_nominal():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = np.array([1.0, 0.0, 2.0])[y, None] + rng.normal(size=(300, 1))
    names = np.array(["b", "a", "c"])[y]
    assert mutual_info(x, y).tolist() == mutual_info(x, names).tolist() == mutual_info(x, 5 - y).tolist()
    assert mutual_info(x, y, nominal_y=False) != mutual_info(x, y)


def test_joint_information_of_two_columns_and_numbers():
    x, y = made()
    both = terms(x, y)
    assert both.joint(0, 1) == pytest.approx(0.5 * math.log(3), abs=0.06)
    assert both.joint(0, 2) == pytest.approx(0.5 * math.log(3 / 2), abs=0.06)
    assert both.joint(0, 1) == pytest.approx(both.joint(1, 0), abs=0.01)


def test_joint_information_of_a_column_of_numbers_a_code_and_classes():
    """y is the sign of x₀, reversed where the code is 1: log 2 nats together, nothing alone."""
    rng = np.random.default_rng(1)
    number, code = rng.normal(size=1000), rng.integers(0, 2, 1000)
    y = (number > 0) ^ (code == 1)
    found = terms(np.column_stack([number, code]), y)
    assert found.joint(0, 1) == pytest.approx(math.log(2), abs=0.03)
    assert abs(found.relevance(0)) < 0.05
    assert abs(found.relevance(1)) < 0.01


def test_discrete_columns_are_counted():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 3, (2, 600))
    y = (a + b) % 3
    found = terms(np.column_stack([a, b]), y)
    pair = (3 * a + b)[:, None].astype(float)
    assert found.joint(0, 1) == pytest.approx(float(plugin(pair, y[:, None].astype(float)).mean()), abs=1e-12)
    assert found.joint(0, 1) == pytest.approx(math.log(3), abs=0.01)


def test_random_state_and_threads():
    x, y = made(300)
    first = mutual_info(x, y, random_state=3)
    assert first.tolist() == mutual_info(x, y, random_state=3, n_jobs=2).tolist()
    assert first.tolist() != mutual_info(x, y, random_state=4).tolist()
    assert mutual_info(x, y).tolist() == mutual_info(x, y).tolist()
    drawn = [mutual_info(x, y, random_state=kind(5)).tolist() for kind in (np.random.RandomState,) * 2]
    assert drawn[0] == drawn[1]


def test_it_scores_for_selectors_of_scikit_learn():
    x, y = load_wine(return_X_y=True)
    noise = np.random.default_rng(0).normal(size=(len(x), 5))
    x = np.hstack([x, noise])
    best = SelectKBest(mutual_info, k=3).fit(x, y)
    assert set(best.get_support(indices=True)) == {6, 9, 12}  # flavanoids, colour, proline
    few = SelectFdr(partial(mutual_info, pvalues=True), alpha=0.01).fit(x, y)
    assert few.get_support()[:13].sum() >= 12
    assert not few.get_support()[13:].any()
    pipeline = make_pipeline(StandardScaler(), SelectKBest(mutual_info, k=3))
    assert pipeline.fit_transform(x, y).shape == (178, 3)


def test_pvalues_are_those_of_pairwise():
    x, y = made(100)
    scores, pvalues = mutual_info(x, y, pvalues=True)
    tested = pairwise(x, y, progress=False)
    np.testing.assert_allclose(pvalues, tested.pvalue[:, 0], atol=0.02)  # other permutations
    assert scores.tolist() == tested.mi[:, 0].tolist()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_with_text_and_gaps(library):
    path = files("infomax.datasets").joinpath("penguins.csv")
    frame = pd.read_csv(path)
    if library == "polars":
        frame = pl.from_pandas(frame)
    features, species = frame[["island", "bill_length_mm", "body_mass_g", "sex"]], frame["species"]
    with pytest.raises(ValueError, match=r"X must be finite; got 15 NaN .*missing='drop'"):
        mutual_info(features, species)
    scores = mutual_info(features, species, missing="drop")
    rows = pairwise(features, species.to_frame(), progress=False, missing="drop")
    np.testing.assert_allclose(scores, rows.mi[:, 0], atol=1e-9)
    assert scores.argmin() == 3  # sex says nothing of the species


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (lambda x, y: (x, y[:-1]), {}, ValueError, "y must have as many rows as X; got 299 and 300"),
        (lambda x, y: (x, x), {}, ValueError, "y must have one column; got 3"),
        (
            lambda x, y: (x[:4], y[:4]),
            {},
            ValueError,
            "X and y must have at least 5 rows without missing values; got 4",
        ),
        (lambda x, y: (csr_matrix(x), y), {}, TypeError, "X must be dense; got a sparse csr_matrix: X.toarray"),
        (lambda x, y: (x, y), {"nominal_y": "yes"}, ValueError, "nominal_y must be 'auto', True or False; got 'yes'"),
        (lambda x, y: (x, y), {"nominal_x": ["a"]}, ValueError, "nominal columns of X must be among its 3 columns"),
        (lambda x, y: (x, y), {"missing": "fill"}, ValueError, "missing must be 'raise' or 'drop'; got 'fill'"),
        (lambda x, y: (x, y), {"random_state": -1}, ValueError, "random_state must be a whole number of at least 0"),
    ],
)
def test_errors(arguments, options, error, message):
    with pytest.raises(error, match=message):
        mutual_info(*arguments(*made(300)), **options)


@pytest.mark.parametrize("selector", [MutualInfoSelector(2).fit, mutual_info])
def test_rows_are_paired_by_position_and_indexes_that_say_otherwise_are_refused(selector):
    x, y = made(50)
    frame, target = pd.DataFrame(x), pd.Series(y)
    with pytest.raises(ValueError, match="y must have its rows in the order of X"):
        selector(frame, target[::-1])
    with pytest.warns(IndexWarning, match="paired by position"):
        selector(frame, target.set_axis(range(50, 100)))


@pytest.mark.parametrize("selector", [MutualInfoSelector(2).fit, mutual_info])
def test_a_constant_target(selector):
    x, y = made(50)
    with pytest.warns(ConstantColumnWarning, match="y is constant: its mutual information with each feature is exac"):
        found = selector(x, 0 * y)
    assert getattr(found, "scores_", found).tolist() == [0, 0, 0]


def test_dates_and_text_in_one_column():
    frame = pd.DataFrame({"when": [pd.Timestamp("2026-01-01"), "later"] * 10})
    with pytest.raises(TypeError, match="column 'when' of X must hold values of one kind"):
        mutual_info(frame, np.arange(20))


def test_a_class_of_one_row():
    x, _ = made(50)
    assert np.abs(mutual_info(x, ["a"] * 49 + ["b"])).max() < 0.2


def test_very_many_classes_of_few_rows_are_counted_as_one_with_a_warning():
    rng = np.random.default_rng(0)
    with pytest.warns(InfomaxWarning, match="X is nominal and has"):
        found = mutual_info(rng.integers(0, 150, (200, 1)), rng.normal(size=200), nominal_x=True)
    assert abs(found[0]) < 0.2
