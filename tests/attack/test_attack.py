"""Every generator of odd and hostile inputs, small; ``make attack`` runs them at full size."""

import importlib
from pathlib import Path

import pytest
from attack.__main__ import GENERATORS, read

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "what-was-tried.csv"
#: Inputs of each generator here.
SMALL = {
    "settings": 24,
    "in_memory": 60,
    "files": 20,
    "losses": 60,
    "pickles": 8,
    "archives": 10,
    "checkpoints": 6,
    "kills": 2,
    "disks": 1,
}
#: Generators that train several models.
SLOW = ("kills", "disks")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in GENERATORS])
def test_every_input_is_answered_rightly_or_refused_by_name(name):
    found = list(importlib.import_module(f"attack.{name}").attack(SMALL[name], seed=1))
    assert len(found) >= SMALL[name]
    assert [outcome for outcome in found if outcome.kind == "wrong"] == []


#: The fewest inputs that the published table must have for each generator.
TARGETS = {
    "settings": 200,
    "in_memory": 2000,
    "files": 700,
    "losses": 3000,
    "pickles": 200,
    "archives": 100,
    "checkpoints": 60,
    "kills": 20,
    "disks": 5,
}


def test_the_published_table_has_a_row_for_each_generator():
    assert list(read(PUBLISHED)) == [importlib.import_module(f"attack.{name}").TITLE for name in GENERATORS]


@pytest.mark.parametrize("name", TARGETS)
def test_the_published_table_has_the_large_attack(name):
    generator = importlib.import_module(f"attack.{name}")
    tried, right, refused, wrong = read(PUBLISHED)[generator.TITLE]
    assert tried == right + refused
    assert tried >= TARGETS[name]
    assert TARGETS[name] <= generator.LARGE
    assert wrong == 0
