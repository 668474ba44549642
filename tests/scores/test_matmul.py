import pytest
import torch

from infomax.scores import matmul as products


def precision():
    matmul = torch.backends.mkldnn.matmul
    return matmul.fp32_precision, torch.get_float32_matmul_precision()


def test_products_are_those_of_float32():
    a, b = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(1))
    exact = a.double() @ b.double()
    with products.fast_products():
        error = (a @ b - exact).abs().max() / exact.abs().max()
    assert error < 2e-6


def test_a_library_that_rounds_is_not_used(monkeypatch):
    monkeypatch.setattr(products, "_close", lambda product, exact: False)
    products._onednn_is_exact_and_faster.cache_clear()
    try:
        before = precision()
        with products.fast_products():
            assert precision() == before
    finally:
        products._onednn_is_exact_and_faster.cache_clear()


@pytest.mark.parametrize("used", [True, False])
def test_the_setting_is_put_back_also_after_an_error(monkeypatch, used):
    monkeypatch.setattr(products, "_onednn_is_exact_and_faster", lambda: used)
    before = precision()

    def fail():
        with products.fast_products():
            assert (torch.backends.mkldnn.matmul.fp32_precision == "bf16") is used
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert precision() == before


def test_rounding_to_bfloat16_would_be_noticed():
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ b.double()
    assert products._close(a @ b, exact)
    assert not products._close((a.bfloat16() @ b.bfloat16()).float(), exact)
