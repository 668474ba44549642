"""Critics by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from infomax.critics.networks import (
    Bilinear,
    Concat,
    Cosine,
    GaussianResidual,
    Predictor,
    Separable,
    check_dimensions,
)
from infomax.exceptions import warn_of_new_name

_CRITICS: dict[str, Callable[[int, int], nn.Module]] = {
    "separable": Separable,
    "bilinear": Bilinear,
    "concat": Concat,
    "cosine": Cosine,
    "gaussian_residual": GaussianResidual,
    "predictor": Predictor,
}
#: Old names of critics, with the new ones.
_RENAMED = {"anchored": "gaussian_residual"}


def names() -> list[str]:
    """The names that ``critic=`` accepts.

    >>> names()
    ['separable', 'bilinear', 'concat', 'cosine', 'gaussian_residual', 'predictor']
    """
    return list(_CRITICS)


def make(critic: str | nn.Module, x_dim: int, y_dim: int) -> nn.Module:
    """The critic of that name for these dimensions; a module is returned unchanged.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything that is neither a name nor a module.

    >>> type(make("separable", 8, 5)).__name__
    'Separable'
    """
    if isinstance(critic, nn.Module):
        return critic
    if not isinstance(critic, str):
        raise TypeError(f"critic must be a name or a torch.nn.Module; got {type(critic).__name__}")
    if critic in _RENAMED:
        warn_of_new_name("critic", critic, _RENAMED[critic])
        critic = _RENAMED[critic]
    if critic not in _CRITICS:
        raise ValueError(f"critic must be a module or one of {', '.join(_CRITICS)}; got {critic!r}")
    check_dimensions(x_dim=x_dim, y_dim=y_dim)
    return _CRITICS[critic](x_dim, y_dim)
