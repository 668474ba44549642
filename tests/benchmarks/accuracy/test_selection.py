import numpy as np
import pytest
from scipy.stats import ttest_rel

from benchmarks.accuracy import selection


def test_differences_of_new_data_are_those_of_a_paired_t_test():
    ours, theirs = np.random.default_rng(0).normal(size=(2, 8, 5))
    middle, half = selection.difference(ours, theirs, made=True)
    interval = ttest_rel(ours.mean(1), theirs.mean(1)).confidence_interval(0.95)
    assert (middle - half, middle + half) == pytest.approx(tuple(interval))


def test_folds_of_the_same_rows_have_wider_intervals():
    """The variance of J = 15 differences is multiplied by 1/15 + 1/4 instead of 1/15."""
    ours, theirs = np.random.default_rng(0).normal(size=(2, 3, 5))
    interval = ttest_rel(ours.ravel(), theirs.ravel()).confidence_interval(0.95)
    middle, half = selection.difference(ours, theirs, made=False)
    assert half == pytest.approx((interval.high - middle) * ((1 / 15 + 1 / 4) * 15) ** 0.5)


def test_page(tmp_path):
    header = "data,method,seed,rows,features,scores,seconds_a_fold,seconds,memory,date,machine,error"
    scores = {"scikit-learn": 0.5, "univariate": 0.5, "mrmr": 0.4, "jmi": 0.6, "cmim": 0.55}
    lines = [
        f"iris,{method},{seed},150,4,{' '.join([str(score + 0.001 * seed)] * 10)},0.01,1,1,2026-11-30,here,"
        for method, score in scores.items()
        for seed in range(5)
    ]
    path = tmp_path / "selection.csv"
    path.write_text("\n".join([header, *lines, ""]))
    text = selection.write_report(path)
    assert "| jmi | 0.602 (**+0.100 ± 0.000**)" in text
    assert "## iris" in text
    assert "## wine" not in text


def test_a_cell():
    found = selection.run({"data": "iris", "method": "univariate", "seed": 0})
    scores = np.array(found["scores"].split(), dtype=float)
    assert scores.shape == (2 * selection.FOLDS,)
    assert scores.min() > 0.8
