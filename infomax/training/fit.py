"""Fit a bound to samples: warm start, Adam on mini-batches, early stopping on validation rows."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from infomax.bounds import Bound
from infomax.bounds.contrastive import Contrastive
from infomax.critics.initialisation import may_draw
from infomax.io.batches import from_memory
from infomax.isolation import seeded
from infomax.progress import no_progress

#: Validation scores are computed on at most this many rows at a time.
BLOCK = 2048
#: Fewest validation rows that decide when to stop.
LEAST_VALIDATION = 16


@dataclass(frozen=True)
class Schedule:
    """How to train: at most ``steps`` steps, a validation every ``check_every`` steps, and a stop after ``patience``
    validations without improvement.

    >>> import numpy as np
    >>> from infomax import estimate
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500))
    >>> schedule = Schedule(steps=50, batch_size=64)  # a first look
    >>> result = estimate(x, x + noise, bound="infonce", folds=2, schedule=schedule, progress=False)
    >>> result.history[0].steps  # when it was validated
    [0, 25, 50]
    """

    steps: int = 600
    batch_size: int = 256
    learning_rate: float = 5e-3
    check_every: int = 25
    patience: int = 6

    def __post_init__(self) -> None:
        least = {"steps": 0, "batch_size": 2, "check_every": 1, "patience": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}; got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive; got {self.learning_rate}")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: half a cosine, from the full rate to zero.

        >>> schedule = Schedule(steps=100, learning_rate=0.01)
        >>> [round(schedule.rate(step), 3) for step in (0, 50, 100)]
        [0.01, 0.005, 0.0]
        """
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def checks(self, step: int) -> bool:
        """Whether to validate before this step (after the last one, if it is ``steps``)."""
        return step % self.check_every == 0 or step == self.steps

    def batch(self, n: int) -> int:
        """Rows of a batch from ``n`` rows."""
        return min(self.batch_size, n)


@dataclass
class History:
    """The history of one fit: the bound on validation rows, in nats, by step.

    >>> import numpy as np
    >>> from infomax import estimate
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500))
    >>> result = estimate(x, x + noise, bound="nwj", folds=2, schedule=Schedule(steps=50), progress=False)
    >>> [(len(fit.validation), fit.diverged) for fit in result.history]  # one for each fold
    [(3, False), (3, False)]
    """

    steps: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_step: int = 0
    diverged: bool = False


@contextlib.contextmanager
def own_draws(module: nn.Module, seed: int, device: torch.device) -> Iterator[None]:
    """:func:`seeded` if calls of the module may draw random numbers; otherwise nothing global is touched."""
    with seeded(seed, device) if may_draw(module) else contextlib.nullcontext():
        yield


def validation_rows(n: int) -> int:
    """How many of the ``n`` rows outside a fold are validation rows: a tenth, or more if there are few rows."""
    return max(n // 10, min(64, n // 4))


def can_train(n: int) -> bool:
    """Whether the ``n`` rows outside a fold have enough validation rows to stop training."""
    return validation_rows(n) >= LEAST_VALIDATION


def blocks(n: int, device: torch.device, most: int = BLOCK) -> list[Tensor]:
    """Row indices 0..n-1 in the fewest even blocks of at most ``most`` rows."""
    return list(torch.arange(n, device=device).tensor_split(max(1, math.ceil(n / most))))


@torch.no_grad()
def evaluate(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, most: int = BLOCK) -> float:
    """Mean of ``measure(x, y)`` over blocks of at most ``most`` rows, weighted by their rows."""
    total = sum(len(rows) * float(measure(x[rows], y[rows])) for rows in blocks(len(x), x.device, most))
    return total / len(x)


def validate(bound: Bound, pairs: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """The bound on validation pairs, and its validation loss; the bound is left in training mode."""
    bound.eval()
    value = evaluate(bound, *pairs)
    loss = -value if type(bound).loss in (Bound.loss, Contrastive.loss) else evaluate(bound.validation_loss, *pairs)
    bound.train()
    return value, loss


def fit(
    bound: Bound,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    schedule: Schedule,
    generator: torch.Generator,
    batches: Iterator[tuple[Tensor, ...]] | None = None,
    tick: Callable[[int], None] = no_progress,
) -> History:
    """Train ``bound`` in place, keep the parameters that were best on ``validation``, and leave it in evaluation mode.

    The state before the first step is a candidate: training is kept only if it improved the validation loss.

    Args:
        bound: the bound to fit; its ``warm_start`` is called first.
        train, validation: pairs ``(x, y)`` of ``(N, Dx)`` and ``(N, Dy)``.
        generator: draws the batches of the training pairs, on the CPU.
        batches: an endless iterator of pairs to train on; the training pairs then serve the warm start only.
        tick: called with the number of steps done since the last call.

    Returns:
        the history of the fit; ``diverged`` means that a loss was not finite and training stopped there.

    >>> from infomax import NWJ
    >>> x, noise = torch.randn(2, 400, 1, generator=torch.Generator().manual_seed(0))
    >>> bound, y = NWJ(1, 1), x + noise / 2
    >>> schedule, generator = Schedule(steps=100), torch.Generator().manual_seed(0)
    >>> history = fit(bound, (x[:300], y[:300]), (x[300:], y[300:]), schedule=schedule, generator=generator)
    >>> history.steps, history.diverged
    ([0, 25, 50, 75, 100], False)
    """
    x, y = train
    bound.warm_start(x, y)
    history = History()
    best = copy.deepcopy(bound.state_dict())
    best_loss = torch.inf
    parameters = [parameter for parameter in bound.parameters() if parameter.requires_grad]
    steps = schedule.steps if parameters else 0
    optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate, fused=True) if parameters else None
    feed = from_memory(train, schedule.batch(len(x)), generator) if batches is None else batches
    for step in range(steps + 1):
        if schedule.checks(step) or step == steps:
            value, loss = validate(bound, validation)
            history.steps.append(step)
            history.validation.append(value)
            tick(min(schedule.check_every, step))
            if not math.isfinite(loss):
                history.diverged = True
                break
            if loss < best_loss:
                best_loss, history.best_step = loss, step
                best = copy.deepcopy(bound.state_dict())
            elif step - history.best_step >= schedule.patience * schedule.check_every:
                break
        if step == steps or optimizer is None:
            break
        pairs = [part.to(x.device) for part in next(feed)]
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad(set_to_none=True)
        bound.loss(pairs[0], pairs[1]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    bound.load_state_dict(best)
    bound.eval()
    return history
