"""The interface of all bounds, and their registry."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from infomax.critics.networks import check_dimensions
from infomax.io.naming import unknown
from infomax.scores.precision import HALF, autocast_type, check_real, widened, without_autocast

Kind = Literal["lower", "upper", "estimate"]
#: Kinds in words.
KIND_NAMES: dict[Kind, str] = {"lower": "lower bound", "upper": "upper bound", "estimate": "estimate"}
B = TypeVar("B", bound="type[Bound]")
T = TypeVar("T")


class Bound(nn.Module, abc.ABC):
    """Mutual information of paired samples, in nats. Maximise ``bound(x, y)``; minimise ``loss(x, y)`` to tighten it.

    A call checks shapes and dtypes. It does not check values, because a GPU would have to synchronise at every step.
    A NaN or an infinity in a batch therefore makes the value NaN, and an optimiser step then makes the parameters NaN.
    :func:`infomax.estimate` does check values.

    A subclass defines the class attributes below, implements :meth:`forward` and :meth:`pointwise`, and is decorated
    with :func:`register`. The command line, the tables, the benchmark and the contract tests read that registry.

    >>> import torch
    >>> from infomax import InfoNCE
    >>> bound = InfoNCE(3, 2)  # one of its subclasses
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> bound(x, x[:, :2]).ndim, bound.pointwise(x, x[:, :2]).shape
    (0, torch.Size([64]))
    >>> bound.kind, round(bound.ceiling(64), 2)
    ('lower', 4.16)
    """

    #: The name in the registry, set by :func:`infomax.bounds.register`.
    name: ClassVar[str] = ""
    #: Whether the value is a "lower" or an "upper" bound on MI in expectation, or neither (an "estimate").
    kind: Kind
    #: Authors, year, arXiv identifier.
    reference: ClassVar[str]
    #: The cost of one call, and when to choose this bound, in a few words.
    cost: ClassVar[str]
    use_when: ClassVar[str]
    #: The largest value that N pairs can give, as text for tables; :meth:`ceiling` returns the number.
    ceiling_formula: ClassVar[str] = "none"
    #: Whether the value is MI itself, given the exact log-ratio or density and enough pairs.
    tight: ClassVar[bool] = True
    #: Whether the bound models a density of y, which repeated values do not have.
    density_of_y: ClassVar[bool] = False

    def __init__(self, x_dim: int, y_dim: int) -> None:
        super().__init__()
        check_dimensions(x_dim=x_dim, y_dim=y_dim)
        self.x_dim, self.y_dim = x_dim, y_dim

    @abc.abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The bound on this batch, ``x (N, Dx)``, ``y (N, Dy)``: a 0-d tensor, in nats."""

    @abc.abstractmethod
    def pointwise(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-ratio of each pair, ``(N,)``, in nats."""

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss that tightens the bound's own parameters, a 0-d tensor."""
        loss: Tensor = -self(x, y)
        return loss

    def validation_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss on held-out rows that selects the parameters; by default the same as :meth:`loss`."""
        return self.loss(x, y)

    def ceiling(self, n: int) -> float | None:
        """The largest value, in nats, that a batch of ``n`` pairs can give; ``None`` if there is no limit.

        >>> round(get("infonce")(3, 2).ceiling(64), 2), get("nwj")(3, 2).ceiling(64)  # log 64; none
        (4.16, None)
        """
        return None

    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Fit the parts that have a closed form to samples, before training. By default does nothing."""

    def fixed_units(self) -> bool:
        """Whether the value depends on the units of y; y must then not be standardised."""
        return False

    @classmethod
    def for_estimation(cls, x_dim: int, y_dim: int, n: int) -> Bound:
        """The bound that :func:`infomax.estimate` builds from its name, to be fitted on ``n`` pairs."""
        return cls(x_dim, y_dim)

    @torch.no_grad()
    def leave_out(self, x: Tensor, y: Tensor, groups: list[Tensor]) -> Tensor:
        """The bound without each group of rows (index tensors) in turn, ``(len(groups),)``, nats, for a jackknife.

        >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        >>> groups = [torch.arange(32), torch.arange(32, 64)]
        >>> get("infonce")(2, 2).leave_out(x, x, groups).shape
        torch.Size([2])
        """
        training = self.training
        self.eval()  # the memories of entropies must not change
        value_of = self.value_of_rows(x, y)
        values = []
        for group in groups:
            kept = torch.ones(len(x), dtype=torch.bool, device=x.device)
            kept[group] = False
            values.append(value_of(kept))
        self.train(training)
        return torch.stack(values)

    def value_of_rows(self, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        """The bound as a function of the rows that are kept, a boolean tensor ``(N,)``."""
        return lambda kept: self(x[kept], y[kept])

    def check_pair(self, x: Tensor, y: Tensor, *, least: int = 1) -> None:
        """Check shapes and dtypes of pairs; values are not checked.

        Raises:
            ValueError: unless x is (N, x_dim), y is (N, y_dim) and N is at least ``least``.
            TypeError: unless both are dense tensors of floating-point numbers, of the dtype of a parameter. Under
                autocast half precision and float32 may be mixed.
        """
        for argument, value, dim in (("x", x, self.x_dim), ("y", y, self.y_dim)):
            check_real(value, argument)
            if value.ndim != 2 or value.shape[1] != dim:
                raise ValueError(f"{argument} must have shape (N, {dim}); got {tuple(value.shape)}")
        if len(x) != len(y):
            raise ValueError(f"y must have as many rows as x; got {len(y)} and {len(x)}")
        if len(x) < least:
            raise ValueError(f"x must have at least {least} rows for {type(self).__name__}; got {len(x)}")
        first = next(self.parameters(), None)
        if first is not None and not x.dtype == y.dtype == first.dtype:
            self.check_dtypes(x=x, y=y)

    def in_range(self, function: Callable[..., T], *inputs: Tensor) -> T:
        """``function(*inputs)``, for a network of the bound: in float32 under float16 autocast.

        The range of float16 is too small for squared residuals, and for slopes of exponentials on their way back.
        """
        if autocast_type(inputs[0]) is not torch.float16 or any(p.dtype in HALF for p in self.parameters()):
            return function(*inputs)
        with without_autocast(inputs[0]):
            return function(*map(widened, inputs))

    def check_dtypes(self, **values: Tensor) -> None:
        """Raise ``TypeError`` for a dtype that no parameter has, and that autocast does not convert."""
        own = list(dict.fromkeys(p.dtype for p in self.parameters() if p.is_floating_point()))
        for argument, value in values.items():
            mixed = autocast_type(value) is not None and torch.float64 not in (value.dtype, *own)
            if own and value.dtype not in own and not mixed:
                raise TypeError(
                    f"{argument} must have the dtype of the bound's parameters, {own[0]}; got {value.dtype}: convert "
                    f"one of them, {argument}.to({own[0]}) or bound.to({value.dtype})"
                )


_REGISTRY: dict[str, type[Bound]] = {}
_ALIASES: dict[str, str] = {}


def register(name: str, *aliases: str) -> Callable[[B], B]:
    """Class decorator: register a bound under ``name``; :func:`get` also finds it under the aliases.

    >>> import torch
    >>> @register("nothing")
    ... class Nothing(Bound):
    ...     kind = "lower"
    ...     def pointwise(self, x, y):
    ...         return torch.zeros(len(x))
    ...     def forward(self, x, y):
    ...         return self.pointwise(x, y).mean()
    >>> get("nothing") is Nothing  # and estimate(x, y, bound="nothing") uses it
    True
    >>> del _REGISTRY["nothing"]
    """

    def add(cls: B) -> B:
        for key in (name, *aliases):
            if key in _REGISTRY or key in _ALIASES:
                raise ValueError(f"a bound named {key!r} is registered already")
        cls.name = name
        _REGISTRY[name] = cls
        _ALIASES.update(dict.fromkeys(aliases, name))
        return cls

    return add


def names() -> list[str]:
    """The names of the registered bounds, in alphabetical order.

    >>> names()[:4]
    ['ba', 'club', 'cpc', 'doe']
    """
    return sorted(_REGISTRY)


def get(name: str) -> type[Bound]:
    """The registered bound with that name or alias.

    Raises:
        ValueError: if there is none; the message names close matches.

    >>> get("infonce").reference
    'van den Oord, Li, Vinyals 2018, arXiv 1807.03748'
    """
    found = _REGISTRY.get(_ALIASES.get(name, name))
    if found is None:
        raise ValueError(unknown("bound", name, names()))
    return found
