import math
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from infomax import InfomaxWarning
from infomax.sklearn import MutualInfoSelector

METHODS = ["jmi", "cmim", "mrmr", "univariate"]


@pytest.mark.parametrize("method", ["jmi", "cmim"])
def test_it_is_an_estimator_of_scikit_learn(method):
    results = check_estimator(MutualInfoSelector(1, method=method), on_skip=None)
    assert len(results) > 40
    assert {result["status"] for result in results} <= {"passed", "skipped"}


def copies_and_news(n=600, seed=0):
    """Column 0 has most information, columns 1 and 2 are nearly copies of it, column 3 has less, but new one."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    y = 2 * x[:, 0] + x[:, 3] + 0.5 * rng.normal(size=n)
    x[:, 1:3] = x[:, [0]] + 0.05 * rng.normal(size=(n, 2))
    return x, y


@pytest.mark.parametrize("method", ["jmi", "cmim", "mrmr"])
def test_copies_are_left_out(method):
    x, y = copies_and_news()
    chosen = MutualInfoSelector(2, method=method).fit(x, y).get_support()
    assert chosen[:3].sum() == 1
    assert chosen[3]
    single = MutualInfoSelector(2, method="univariate").fit(x, y).get_support()
    assert single[:3].sum() == 2


@pytest.mark.parametrize("method", ["jmi", "cmim"])
@pytest.mark.parametrize("numbers", [True, False])
def test_features_that_are_informative_only_together(method, numbers):
    """y depends on column 0, and on whether columns 1 and 2 have the same sign; column 1 alone says a little of y."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1500, 12)) if numbers else rng.integers(0, 2, (1500, 12)) - 0.5
    apart = np.sign(x[:, 1]) * np.sign(x[:, 2])
    y = np.sign(apart + 0.6 * np.sign(x[:, 1]) + 0.5 * rng.normal(size=1500))
    found = MutualInfoSelector(2, method=method).fit(x, y)
    assert found.order_.tolist() in ([1, 2], [2, 1])
    assert MutualInfoSelector(12, method="univariate").fit(x, y).ranking_[2] > 2 or found.scores_[2] < 0.05


def test_attributes():
    x, y = copies_and_news()
    found = MutualInfoSelector(3).fit(x, y)
    assert found.order_[0] == found.scores_.argmax()
    assert found.ranking_[found.order_].tolist() == [1, 2, 3]
    assert sorted(found.ranking_) == [1, 2, 3, 4, 4]
    assert found.criterion_[0] == found.scores_.max()
    assert found.criterion_[1] == pytest.approx(0.5 * math.log(1 + 5 / 0.25), abs=0.2)
    assert (found.transform(x) == x[:, np.sort(found.order_)]).all()
    assert MutualInfoSelector("all", method="mrmr").fit(x, y).ranking_.max() == 5


@pytest.mark.parametrize("method", METHODS)
def test_names_of_features_are_kept(method):
    frame, y = load_breast_cancer(return_X_y=True, as_frame=True)
    frame = frame.iloc[::3, :8]
    found = MutualInfoSelector(3, method=method).set_output(transform="pandas").fit(frame, y[::3])
    assert found.transform(frame).columns.tolist() == found.get_feature_names_out().tolist()
    assert set(found.get_feature_names_out()) <= set(frame.columns)
    assert clone(found).get_params() == found.get_params()


def test_frames_with_text_categories_and_gaps():
    frame = pd.read_csv(files("infomax.datasets").joinpath("penguins.csv"))
    y, features = frame.pop("species"), frame[["sex", "island", "bill_length_mm", "bill_depth_mm"]]
    features = features.assign(island=features["island"].astype("category"))
    with pytest.raises(ValueError, match="missing='drop'"):
        MutualInfoSelector(2).fit(features, y)
    found = MutualInfoSelector(2, missing="drop").set_output(transform="pandas").fit(features, y)
    assert "sex" not in found.get_feature_names_out()
    assert found.transform(features).isna().any().any() or "island" in found.get_feature_names_out()
    # The same from codes and NaN.
    codes = features.apply(lambda column: pd.factorize(column)[0] if column.dtype.kind not in "f" else column)
    codes.loc[codes["sex"] < 0, "sex"] = np.nan
    array = codes.to_numpy(dtype=float)
    plain = MutualInfoSelector(2, missing="drop", nominal_x=[0, 1]).fit(array, pd.factorize(y)[0])
    assert plain.order_.tolist() == found.order_.tolist()
    assert plain.scores_.tolist() == found.scores_.tolist()
    assert np.isnan(plain.transform(array)).sum() == features[found.get_feature_names_out()].isna().to_numpy().sum()


def test_threads_and_seeds_decide_nothing_else():
    x, y = copies_and_news(200)
    one = MutualInfoSelector(4, random_state=1).fit(x, y)
    two = MutualInfoSelector(4, random_state=1, n_jobs=2).fit(x, y)
    assert one.criterion_.tolist() == two.criterion_.tolist()
    other = MutualInfoSelector(4, random_state=np.random.default_rng(2)).fit(x, y)
    assert one.criterion_.tolist() != other.criterion_.tolist()


def test_constant_features_are_selected_last():
    x, y = copies_and_news(100)
    x[:, 1] = 7.0
    for method in METHODS:
        found = MutualInfoSelector("all", method=method).fit(x, y)
        assert found.scores_[1] == 0
        assert method == "univariate" or found.order_[-1] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be 'all' or a whole number of at least 1; got 0"),
        ({"k": 1.5}, "k must be 'all' or a whole number of at least 1; got 1.5"),
        ({"method": "mi"}, "method must be one of jmi, cmim, mrmr, univariate; got 'mi'"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        MutualInfoSelector(**options).fit(*copies_and_news(50))


def test_more_features_than_there_are():
    x, y = copies_and_news(50)
    with pytest.warns(InfomaxWarning, match="k is 9, but X has 5 features: all are selected"):
        found = MutualInfoSelector(9).fit(x, y)
    assert found.get_support().all()


def test_a_selector_without_a_fit():
    with pytest.raises(NotFittedError):
        MutualInfoSelector(1).transform(np.zeros((3, 2)))
