import sys

import pytest
import torch

from benchmarks.speed.float32 import fast_products
from benchmarks.speed.timing import Ratio, extra_mebibytes, in_turn


@pytest.mark.parametrize(
    ("ratio", "target", "reached"),
    [(4.5, "≥ 4.5", True), (4.4, "≥ 4.5", False), (1.2, "≤ 1.2", True), (1.3, "≤ 1.2", False), (9.0, "", None)],
)
def test_a_target_is_an_upper_or_a_lower_limit(ratio, target, reached):
    assert Ratio("a case", "times", ratio, target, "1 s", "2 s").reached is reached


def test_works_alternate_and_the_first_turn_is_not_counted():
    calls = []
    threads = torch.get_num_threads()
    seconds = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b"] * 4
    assert seconds.keys() == {"a", "b"}
    assert torch.get_num_threads() == threads


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is measured on Linux")
def test_memory_is_that_of_the_work_without_its_inputs():
    # The matrix of all scores has 4 · 2,048² bytes = 16 MiB.
    assert extra_mebibytes("benchmarks.speed.contrastive:naive", 2048) > 16
    with pytest.raises(RuntimeError, match="no_such"):
        extra_mebibytes("benchmarks.speed.contrastive:no_such", 2048)


def test_fast_products_are_float32_and_the_setting_is_reset():
    before = torch.get_float32_matmul_precision()
    a, b = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(1))
    exact = a.double() @ b.double()
    with fast_products():
        product = a @ b
    assert (product - exact).abs().max() <= 1e-6 * exact.abs().max()
    assert torch.get_float32_matmul_precision() == before
