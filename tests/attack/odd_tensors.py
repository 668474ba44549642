"""Layouts of legal tensors, and tensors that no bound accepts."""

import warnings

import numpy as np
import torch


def _strided(t):
    wide = torch.zeros(2 * len(t) + 1, 3 * t.shape[1], dtype=t.dtype)
    wide[1::2, ::3] = t
    return wide[1::2, ::3]


def _expanded(t):
    """Equal rows in the memory of one row, if they are equal; otherwise equal columns, likewise."""
    return t[:1].expand(len(t), -1) if bool((t == t[0]).all()) else t


def _complex(dtype):
    return torch.complex128 if dtype == torch.float64 else torch.complex64


def _imaginary(t):
    """A negative view: the imaginary part of a conjugate."""
    if t.dtype not in (torch.float32, torch.float64):
        return torch._neg_view(-t)
    return torch.complex(torch.zeros_like(t), -t).conj().imag


#: Each gives the same values.
LAYOUTS = {
    "plain": lambda t: t,
    "negative view": lambda t: torch._neg_view(-t),
    "imaginary part": _imaginary,
    "real part": lambda t: t.to(_complex(t.dtype)).real.to(t.dtype),
    "transposed": lambda t: t.T.contiguous().T,
    "strided": _strided,
    "expanded": _expanded,
    "flipped": lambda t: t.flip(0).flip(0)[:, :],
    "parameter": torch.nn.Parameter,
    "from numpy": lambda t: torch.from_numpy(np.asfortranarray(t.numpy())) if t.dtype != torch.bfloat16 else t,
}


def _quiet(make):
    def call(t):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of prototypes
            return make(t)

    return call


#: Refused as well, but torch takes five seconds to load what makes them.
SLOW = {"jagged": _quiet(lambda t: torch.nested.nested_tensor(list(t), layout=torch.jagged))}
#: Each makes something that must be refused by name.
REFUSED = {
    **{f"int{bits}": (lambda t, bits=bits: t.to(getattr(torch, f"int{bits}"))) for bits in (8, 16, 32, 64)},
    "uint8": lambda t: t.abs().to(torch.uint8),
    "uint16": lambda t: t.abs().to(torch.uint16),
    "bool": lambda t: t > 0,
    "complex64": lambda t: t.to(torch.complex64),
    "complex128 conjugate": lambda t: t.to(torch.complex128).conj(),
    "float8_e4m3fn": lambda t: t.to(torch.float8_e4m3fn),
    "float8_e5m2": lambda t: t.to(torch.float8_e5m2),
    "COO": lambda t: t.to_sparse(),
    "CSR": _quiet(lambda t: t.to_sparse_csr()),
    "nested": _quiet(lambda t: torch.nested.nested_tensor(list(t))),
    "quantised": _quiet(lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)),
    "mkldnn": lambda t: t.to_mkldnn(),
    "numpy": lambda t: t.numpy(),
    "list": lambda t: t.tolist(),
    "None": lambda t: None,
    "number": lambda t: 3.0,
}
