import math
import re

import numpy as np
import pytest
from utterances import same

from mmim_example.reading.validation import validate
from mmim_example.synthetic import generate


def test_generated_data_have_the_information_that_they_claim():
    dataset, truths = generate((4000, 10, 20), text=0.5, audio=0.2, vision=0.3, joint=0.8, seed=1)
    assert [len(split) for split in dataset.splits().values()] == [4000, 10, 20]
    assert dataset.dims() == {"text": 8, "audio": 5, "vision": 6}
    validate(dataset)
    assert truths["text-target"] == pytest.approx(0.5)
    assert truths["all-target"] == pytest.approx(0.8)
    assert set(truths) == {
        *("text-audio", "text-vision", "audio-vision"),
        *("text-target", "audio-target", "vision-target", "all-target"),
    }
    parts = {**dataset.train.features, "target": dataset.train.labels[:, None]}
    parts["all"] = np.hstack([parts[name] for name in ("text", "audio", "vision")])
    for pair, nats in truths.items():
        a, b = (parts[name] for name in pair.split("-"))
        # For normal vectors: half the log ratio of determinants; chance adds about dim a x dim b / 2n.
        joint = np.linalg.slogdet(np.cov(np.hstack([a, b]).T))[1]
        alone = [np.linalg.slogdet(np.atleast_2d(np.cov(part.T)))[1] for part in (a, b)]
        assert 0.5 * (sum(alone) - joint) - a.shape[1] * b.shape[1] / 8000 == pytest.approx(nats, abs=0.03)
    assert np.mean(np.abs(dataset.train.labels) <= 3) == pytest.approx(math.erf(math.sqrt(2)), abs=0.015)


def test_generated_data_are_those_of_their_seed():
    (a, _), (b, _), (c, _) = (generate((20, 5, 5), seed=seed) for seed in (3, 3, 4))
    same(a.train, b.train)
    assert not np.array_equal(a.train.labels, c.train.labels)
    assert not set(a.train.ids) & set(a.test.ids)
    with pytest.raises(ValueError, match=re.escape("n must be three sizes of at least 1; got (2, 0, 1)")):
        generate((2, 0, 1))
