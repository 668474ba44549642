"""With 20,000 rows, the value is that of the held-out rows: what is added to it has vanished."""

import numpy as np
import pytest
import torch

from infomax import tasks
from infomax.estimators.default import estimator
from infomax.estimators.default.estimator import default_schedule, measure
from infomax.estimators.default.folds import calibrated

#: One task of each structure, that a candidate alone or a network finds.
NAMES = ["multinormal-sparse-5-5-2-2.0", "student-identity-5-5-2", "clusters-4d", "redundant-5in30-0.6931"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_within_three_standard_errors_of_the_held_out_one(name, monkeypatch):
    """On the same rows; a share of the standard error is that of the rows, which both have."""
    seen = []
    combine = estimator._combine
    monkeypatch.setattr(estimator, "_combine", lambda fitted, *rest: seen.append(fitted) or combine(fitted, *rest))
    x, y = tasks.get(name).sample(20_000, 0)
    schedule = default_schedule(20_000, quick=True)
    found = measure(x, y, seed=0, folds=2, schedule=schedule, device=torch.device("cpu"), draws=9)
    (fitted,) = seen
    held_out = calibrated(fitted.scored, networks=fitted.kind is not None).value
    assert abs(found.value - held_out) < 3 * found.stderr
    assert np.isfinite(held_out)
