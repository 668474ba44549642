"""The bounds in MMIM's loss: how each kind is made, prepared for stage 0, fitted and evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import infomax
from mmim_example import imports
from mmim_example.config import Config


class Pair:
    """The term of two modalities: I(X; Y) by a bound that needs nothing but the pairs.

    Attributes:
        bound: the module; stage 0 trains its parameters.
        least: the smallest number of rows that have a value.
    """

    least = 2

    def __init__(self, bound: nn.Module, config: Config) -> None:
        self.bound, self.config = bound, config

    def value(self, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        """I(X; Y) in nats, 0-d, which stage 1 maximises."""
        return scalar(self.bound(x, y), self.bound)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """What stage 0 minimises, 0-d."""
        loss: Tensor = self.bound.loss(x, y)  # type: ignore[operator]
        return loss

    def start(self, x: Tensor, y: Tensor, labels: Tensor) -> None:
        """Prepare stage 0 for the current encoders."""
        self.prepare(x, noisy(y, self.config.noise), labels)

    def prepare(self, x: Tensor, y: Tensor, labels: Tensor) -> None:
        """Set what has a closed form; y has its noise."""
        if self.config.pair_start:
            infomax.critics.reset(self.bound)
            self.bound.warm_start(x, y)  # type: ignore[operator]

    def start_epoch(self) -> None:
        """Prepare stage 1. Bounds keep their memories."""


class BarberAgakovPair(Pair):
    """The paper's Eq. (3): I(X; Y) ≥ E log q(y|x) + H(Y), where H(Y) comes from the Gaussian-mixture memory."""

    least = 1

    def value(self, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        return scalar(self.bound(x, y, self._components(labels)), self.bound)

    def prepare(self, x: Tensor, y: Tensor, labels: Tensor) -> None:
        """As for every pair; the memory is refilled."""
        super().prepare(x, y, labels)
        memory: Any = self.bound.memory
        if memory is not None:
            memory.reset_parameters()
            memory.update(y, self._components(labels))

    def _components(self, labels: Tensor) -> Tensor | None:
        """The component of each row ``(B,)``: negative, zero or positive label; or the label itself."""
        if components(self.config) == 1:
            return None
        return labels.long() if self.config.entropy_classes == "label" else (labels.sign() + 1).long()


class Objective:
    """Makes the terms of the paper's loss from bounds of infomax or of the user."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def pair(self, x_dim: int, y_dim: int) -> Pair:
        """The term of a pair at the input level, from the representations' numbers of columns.

        Raises:
            ValueError: if there is no such bound, it is an upper bound, or it does not accept its options.
        """
        config = self.config
        bound, options = _maximised(config.pair_bound, "pair_bound"), dict(config.pair_options or {})
        if bound is infomax.BA:
            density = infomax.ConditionalGaussian(x_dim, y_dim, correlated=config.correlated)
            memory = {"components": components(config), "capacity": config.memory}
            options = {"density": density} | memory | options
        kind = BarberAgakovPair if issubclass(bound, infomax.BA) else Pair
        return kind(_built(bound, x_dim, y_dim, options, "pair"), config)

    def fusion(self, dim: int) -> nn.Module:
        """The bound of a modality of ``dim`` columns and Z at the fusion level.

        Raises:
            ValueError: as :meth:`pair`.
        """
        bound = _maximised(self.config.fusion_bound, "fusion_bound")
        return _built(bound, dim, self.config.fusion, self.config.fusion_options or {}, "fusion")


def components(config: Config) -> int:
    """The number of components in the entropy memory."""
    return {"none": 1, "sign": 3, "label": config.classes}[config.entropy_classes]


def _maximised(name: str, setting: str) -> type[infomax.Bound]:
    """The bound of that name.

    Raises:
        ValueError: if there is none, or it is an upper bound: maximising one does not raise the information.
    """
    try:
        bound = infomax.bounds.get(name)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}; one of your own needs --import FILE") from None
    if not issubclass(bound, infomax.Bound):
        raise ValueError(f"{setting} must be a subclass of infomax.Bound; got {bound.__name__}")
    if getattr(bound, "kind", "") == "upper" or issubclass(bound, (infomax.CLUB, infomax.L1Out)):
        raise ValueError(
            f"{setting} must be a bound that can be maximised, as infonce, nwj or ba; got {name!r}, an upper bound, "
            "which is to be minimised"
        )
    return bound


def _built(bound: type[infomax.Bound], x_dim: int, y_dim: int, options: Mapping[str, Any], level: str) -> infomax.Bound:
    try:
        made = bound(x_dim, y_dim, **options)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{bound.name} must accept x_dim={x_dim}, y_dim={y_dim} and {level}_options {', '.join(options) or 'none'}"
            f"; got {imports.reason(error)}"
        ) from error
    return made


def scalar(value: Any, bound: nn.Module) -> Tensor:
    """The value of a bound on a batch.

    Raises:
        ValueError: if it is not a number in a tensor.
    """
    if not isinstance(value, Tensor) or value.ndim:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{type(bound).__name__} must return a 0-d tensor; got {got}")
    return value


def selected(rows: Tensor, *values: Tensor) -> list[Tensor]:
    """The selected rows of each tensor; the tensors themselves if all rows are selected, which is usual."""
    return list(values) if bool(rows.all()) else [value[rows] for value in values]


def noisy(h: Tensor, noise: float) -> Tensor:
    """H with noise of this deviation, in units of each column's deviation."""
    return h + noise * h.detach().std(0) * torch.randn_like(h) if noise and len(h) > 1 else h
