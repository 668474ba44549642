import numpy as np
import pytest

from benchmarks.mmim.late_fusion import late_fusion
from mmim_example.reading import Dataset, Split


def split(name, n, rng):
    x, y = rng.standard_normal((n, 5)), rng.standard_normal((n, 3))
    labels = x @ np.arange(1.0, 6.0) / 5 - y[:, 0] + 0.1 * rng.standard_normal(n)
    features = {"text": x.astype(np.float32), "audio": y.astype(np.float32)}
    return Split(tuple(f"{name}_{i}" for i in range(n)), labels.astype(np.float32), features)


def test_a_sum_of_linear_functions_is_found_up_to_noise():
    rng, n = np.random.default_rng(0), 20_000
    dataset = Dataset(*(split(name, n, rng) for name, n in (("train", n), ("valid", 10), ("test", 2000))), source="")
    found = late_fusion(dataset)
    # For each modality, columns / n times the variance of what it does not explain; then the noise of the labels.
    variance = 0.01 + (5 * 1.01 + 3 * 2.21) / n
    assert found["mae"] == pytest.approx(np.sqrt(2 / np.pi * variance), rel=0.06)  # 3 standard errors are 5 %
    assert found["corr"] > 0.99
