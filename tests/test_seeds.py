"""`seed=` and `random_state=` of every function that takes them."""

import numpy as np
import pytest

from infomax import (
    bracket,
    conditional,
    directed_information,
    estimate,
    interaction_information,
    pairwise,
    total_correlation,
    transfer_entropy,
)
from infomax.seeds import seed_of

RNG = np.random.default_rng(0)
X, Y, Z = RNG.normal(size=(3, 40))
QUICK = {"quick": True, "progress": False}
FUNCTIONS = {
    "estimate": lambda **seeds: estimate(X, Y, bound="gaussian", **seeds).seed,
    "pairwise": lambda **seeds: pairwise(X, Y, progress=False, permutations=9, **seeds).seed,
    "conditional": lambda **seeds: conditional(X, Y, Z, bound="gaussian", **seeds).seed,
    "total_correlation": lambda **seeds: total_correlation([X, Y, Z], bound="gaussian", **seeds).seed,
    "interaction_information": lambda **seeds: interaction_information(X, Y, Z, bound="gaussian", **seeds).seed,
    "transfer_entropy": lambda **seeds: transfer_entropy(X, Y, bound="gaussian", **seeds).seed,
    "directed_information": lambda **seeds: directed_information(X, Y, bound="gaussian", **seeds).seed,
    "bracket": lambda **seeds: bracket(X, Y, upper="ba", **seeds, **QUICK).lower.seed,
}


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_random_state_is_as_good_as_a_seed(name):
    function = FUNCTIONS[name]
    assert function(seed=3) == function(random_state=3) == 3
    if name != "bracket":
        drawn = int(np.random.default_rng(5).integers(2**31 - 1))
        assert function(random_state=np.random.default_rng(5)) == drawn
        assert function() == 0
    with pytest.raises(ValueError, match="seed and random_state must not both be given; got 0 and 1"):
        function(seed=0, random_state=1)


def test_all_terms_have_the_seed_that_was_drawn_once():
    terms = total_correlation([X, Y, Z], bound="gaussian", random_state=np.random.RandomState(1)).terms
    assert [term.estimate.seed for term in terms] == [np.random.RandomState(1).randint(2**31 - 1)] * 2


@pytest.mark.parametrize("state", [-1, 1.5, "1", np.random])
def test_other_random_states_are_refused(state):
    with pytest.raises(ValueError, match="random_state must be a whole number of at least 0, a numpy"):
        seed_of(random_state=state)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_other_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"seed must be a whole number of at least 0; got"):
        seed_of(seed)


def test_whole_numbers_of_numpy():
    assert seed_of(np.int64(4)) == seed_of(random_state=np.uint8(4)) == 4
