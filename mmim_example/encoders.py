"""Encoders: from utterance vectors, frames of varying length, or text tokens to one vector for each utterance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from mmim_example.config import ENCODERS, Modality
from mmim_example.pretrained import load_transformer, pooled

E = TypeVar("E", bound=type[nn.Module])

#: Columns with a smaller relative deviation count as constant.
_LEAST_DEVIATION = 1e-6
#: Standardised values are clipped at this many deviations: one outlier would dominate every bound on its row.
_FARTHEST = 5.0


class Standardize(nn.Module):
    """Standardise and clip columns, by statistics that :meth:`fit` sets; the identity before that."""

    mean: Tensor
    scale: Tensor
    limit: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("limit", torch.tensor(torch.inf))

    @torch.no_grad()
    def fit(self, blocks: Iterable[Tensor]) -> None:
        """Set mean and deviation from the rows of all blocks ``(n, dim)``. A constant column is only centred."""
        count, total, squares = 0, torch.zeros_like(self.mean).double(), torch.zeros_like(self.mean).double()
        for block in blocks:
            rows = block.to(total)
            count, total, squares = count + len(rows), total + rows.sum(0), squares + rows.square().sum(0)
        if not count:
            return
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        # Relative to the mean: rounding errors in a constant column must not be scaled to unit variance.
        constant = deviation <= _LEAST_DEVIATION * (1 + mean.abs())
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, torch.ones_like(deviation), deviation))
        self.limit.fill_(_FARTHEST)

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.scale).clamp(-self.limit, self.limit)


class VectorEncoder(nn.Module):
    """Utterance vectors ``(B, D)`` → ``(B, out_dim)``: linear, with one hidden layer, or unchanged."""

    def __init__(self, dim: int, spec: Modality) -> None:
        super().__init__()
        self.standardize = Standardize(dim) if spec.standardize else nn.Identity()
        layers: list[nn.Module] = []
        if spec.hidden:
            layers += [nn.Linear(dim, spec.hidden), nn.ReLU()]
        if spec.out:
            layers += [nn.Dropout(spec.dropout), nn.Linear(spec.hidden or dim, spec.out)]
        self.net = nn.Sequential(*layers)
        self.out_dim = spec.out or spec.hidden or dim

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        encoded: Tensor = self.net(self.standardize(x))
        return encoded


class FrameEncoder(nn.Module):
    """Right-padded frames ``(B, T, D)`` with lengths ``(B,)`` → ``(B, out_dim)``: the last state of an LSTM.

    The LSTM runs over the padded batch, and the state at the last valid frame of each row is used. The result equals
    that of packed sequences, and is several times faster on a CPU, with one fused kernel for each layer. Each direction
    and layer is a separate LSTM, because the backward one has to start at the last valid frame. No padding enters a
    state that is used. It computes in float32 also with ``amp="bf16"``: rounding errors would accumulate over frames,
    and many CPUs have no LSTM in bfloat16.
    """

    def __init__(self, dim: int, spec: Modality) -> None:
        super().__init__()
        self.standardize = Standardize(dim) if spec.standardize else nn.Identity()
        self.bidirectional = spec.bidirectional
        directions = 2 if spec.bidirectional else 1
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.LSTM(directions * spec.hidden if layer else dim, spec.hidden) for _ in range(directions))
            for layer in range(spec.layers)
        )
        self.dropout = nn.Dropout(spec.dropout)
        self.project = nn.Linear(directions * spec.hidden, spec.out)
        self.out_dim = spec.out

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            final = self._final(x, lengths)
        encoded: Tensor = self.project(self.dropout(final))
        return encoded

    def _final(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The last layer's state at the last valid frame, of all directions: ``(B, directions · hidden)``."""
        outputs = [self.standardize(x).transpose(0, 1)]  # (T, B, D), the layout of the kernels
        last = (lengths - 1).clamp_min(0)[None, :, None]
        backwards = last
        if self.bidirectional:  # from the last valid frame to the first, then padding
            steps = torch.arange(x.shape[1], device=x.device)[:, None, None]
            backwards = (last - steps).clamp_min(0)
        for depth, layer in enumerate(self.layers):
            states = self.dropout(torch.cat(outputs, -1)) if depth else outputs[0]
            directions = list(layer.children())
            outputs = [directions[0](states)[0]]
            if self.bidirectional:
                reverse = directions[1](_take(states, backwards))[0]
                final = torch.cat([_take(outputs[0], last), _take(reverse, last)], -1)
                outputs.append(_take(reverse, backwards))
            else:
                final = _take(outputs[0], last)
        return final[0]


class TransformerEncoder(nn.Module):
    """Tokens ``(B, 3, T)`` (ids, mask, types) → ``(B, out_dim)`` by a Hugging Face model, fine-tuned or frozen.

    Raises:
        ImportError: without the package ``transformers``.
        ValueError: if the model ``spec.pretrained`` cannot be loaded.
    """

    def __init__(self, spec: Modality) -> None:
        super().__init__()
        self.model = load_transformer(spec.pretrained)
        self.frozen, self.pooling = spec.frozen, spec.pooling
        if spec.frozen:
            self.model.requires_grad_(False)
        width = int(self.model.config.hidden_size)
        self.project = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(width, spec.out)) if spec.out else None
        self.out_dim = spec.out or width

    def train(self, mode: bool = True) -> TransformerEncoder:
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            text = pooled(self.model, tokens, self.pooling)
        return text if self.project is None else self.project(text)


_KINDS: dict[str, type[nn.Module]] = {
    "vector": VectorEncoder,
    "frames": FrameEncoder,
    "transformer": TransformerEncoder,
}


def register(name: str, *, axes: int) -> Callable[[E], E]:
    """Class decorator: make an encoder known as ``kind`` of a modality.

    The class is made as ``cls(dim, spec)`` from the number of columns and the :class:`~mmim_example.config.Modality`.
    It has ``out_dim``, and ``forward(x, lengths)`` gives ``(B, out_dim)``. A :class:`Standardize` that is its attribute
    ``standardize`` gets the statistics of the training split.

    Args:
        axes: 2 for vectors ``(B, D)``, without lengths, or 3 for frames ``(B, T, D)`` with lengths ``(B,)``.

    Raises:
        ValueError: if the name is taken, or there are other axes.
    """

    def add(cls: E) -> E:
        if name in _KINDS:
            raise ValueError(f"an encoder named {name!r} is registered already")
        if axes not in (2, 3):
            raise ValueError(f"axes must be 2 or 3; got {axes}")
        _KINDS[name], ENCODERS[name] = cls, axes
        return cls

    return add


def kind(name: str) -> type[nn.Module]:
    """The class of an encoder."""
    return _KINDS[name]


def make(spec: Modality, dim: int | None) -> nn.Module:
    """Make the encoder of a modality whose input has ``dim`` columns; ``None`` for a transformer.

    Raises:
        ValueError: if there are no columns, or an encoder has no ``out_dim``.
    """
    if spec.kind == "transformer":
        return TransformerEncoder(spec)
    if dim is None:
        raise ValueError(f"dim must be given for an encoder of kind {spec.kind!r}; got None")
    encoder = _KINDS[spec.kind](dim, spec)
    if not isinstance(getattr(encoder, "out_dim", None), int):
        raise ValueError(f"out_dim must be an integer attribute of the encoder {spec.kind!r}; got none")
    return encoder


def _take(states: Tensor, index: Tensor) -> Tensor:
    """``states (T, B, D)`` at the time steps ``index (S, B, 1)``: ``(S, B, D)``."""
    return states.gather(0, index.expand(-1, -1, states.shape[-1]))
