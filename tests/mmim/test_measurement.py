import pytest
import torch
from multimodal import assert_same, small_config, small_data

from mmim_example.measurement import measure
from mmim_example.trainer import Trainer


def test_measuring_a_split_is_its_own_order_and_changes_nothing():
    made = Trainer(small_config(noise=0.3), small_data(), torch.device("cpu"))
    state = {name: t.clone() for name, t in made.model.state_dict().items()}
    terms, predictions = measure(made.model, made.dataset.test, made.device)
    assert_same(state, made.model.state_dict())
    assert measure(made.model, made.dataset.test, made.device)[0] == terms  # noise and all
    labels = torch.from_numpy(made.dataset.test.labels)
    assert terms["task"] == pytest.approx((predictions - labels).abs().mean().item(), rel=1e-6)
