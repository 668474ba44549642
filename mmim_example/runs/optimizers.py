"""The state of an optimiser and its scheduler in a checkpoint: saved, checked, and restored bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mmim_example.runs.facts import CheckpointError, Facts

_STEP, _MOMENTS = "step", ("exp_avg", "exp_avg_sq")
#: What changes in a scheduler.
_SCHEDULER = ("best", "num_bad_epochs", "last_epoch")


def tensors_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Steps and moments of Adam: ``"3.exp_avg"`` belongs to the parameter of number 3."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def facts_of(optimizer: torch.optim.Optimizer, scheduler: ReduceLROnPlateau) -> dict[str, Any]:
    """The learning rates, the numbers of parameters with moments, and the scheduler: values that JSON can represent."""
    state = optimizer.state_dict()
    return {
        "lr": [group["lr"] for group in state["param_groups"]],
        "moments": sorted(state["state"]),
        "scheduler": {name: scheduler.state_dict()[name] for name in _SCHEDULER},
    }


class State:
    """The facts of one optimiser, checked against the optimiser that they are for.

    Args:
        epoch: the number of finished epochs.

    Raises:
        CheckpointError: names the entry that breaks a rule.
    """

    def __init__(self, facts: Facts, optimizer: torch.optim.Optimizer, patience: int, epoch: int) -> None:
        self.path, self.name, self.optimizer = facts.path, facts.name, optimizer
        self.rates = facts.values("lr")
        initial = [group["lr"] for group in optimizer.param_groups]
        if len(self.rates) != len(initial) or not all(map(_is_rate, self.rates, initial)):
            facts.refuse("lr", f"{len(initial)} learning rates, positive and at most {initial}")
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.moments = facts.values("moments")
        numbers = range(len(self.parameters))
        if any(type(number) is not int or number not in numbers for number in self.moments):
            facts.refuse("moments", f"numbers of parameters, at most {len(numbers) - 1}")
        if self.moments != sorted(set(self.moments)) or (self.moments and not epoch):
            facts.refuse("moments", "different numbers in order, and none before the first epoch")
        scheduler = facts.part("scheduler", _SCHEDULER)
        best = scheduler.number("best", -math.inf, math.inf)
        if math.isfinite(best) != bool(epoch):
            scheduler.refuse("best", "finite after the first epoch, and infinite before it")
        bad = scheduler.integer("num_bad_epochs", 0, min(patience, epoch))
        last = scheduler.integer("last_epoch", epoch, epoch)
        self.scheduler = {"best": best, "num_bad_epochs": bad, "last_epoch": last}

    def expected(self) -> dict[str, Tensor]:
        """What :func:`tensors_of` gives for this state: names, types and shapes."""
        step = torch.zeros((), dtype=torch.float32)
        return {f"{n}.{_STEP}": step for n in self.moments} | {
            f"{n}.{name}": self.parameters[n] for n in self.moments for name in _MOMENTS
        }

    def restore(self, tensors: Mapping[str, Tensor], scheduler: ReduceLROnPlateau) -> None:
        """Give the optimiser and its scheduler this state."""
        state: dict[int, dict[str, Tensor]] = {n: {} for n in self.moments}
        for key, tensor in tensors.items():
            number, name = key.split(".")
            state[int(number)][name] = tensor
            if not (tensor.isfinite().all() and (name == "exp_avg" or (tensor >= 0).all())):
                raise CheckpointError(
                    f"{self.path}: {self.name}{key} must be finite, and not negative; got other values"
                )
            if name == _STEP and (tensor < 1 or tensor != tensor.round()):
                raise CheckpointError(f"{self.path}: {self.name}{key} must be a number of steps; got {tensor.item()}")
        groups = self.optimizer.state_dict()["param_groups"]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        scheduler.load_state_dict(scheduler.state_dict() | self.scheduler | {"_last_lr": list(self.rates)})


def _is_rate(rate: Any, initial: float) -> bool:
    return type(rate) in (int, float) and 0 < rate <= initial
