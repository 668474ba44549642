"""Every generator of odd and hostile inputs, small; ``make attack`` runs them at full size."""

import importlib

import pytest
from attack.__main__ import GENERATORS

#: Inputs of each generator here.
SMALL = {
    "settings": 24,
    "in_memory": 60,
    "files": 20,
    "losses": 60,
    "pickles": 8,
    "archives": 10,
    "checkpoints": 6,
    "kills": 1,
    "disks": 1,
}


#: Generators that train several models.
SLOW = ("kills", "disks")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in GENERATORS
        if importlib.util.find_spec(f"attack.{name}")
    ],
)
def test_every_input_is_answered_rightly_or_refused_by_name(name):
    found = list(importlib.import_module(f"attack.{name}").attack(SMALL[name], seed=1))
    assert len(found) >= SMALL[name]
    assert [outcome for outcome in found if outcome.kind == "wrong"] == []
