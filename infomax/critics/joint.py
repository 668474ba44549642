"""A multi-layer perceptron of the sums ``a_i + b_j`` of all pairs, computed tile by tile to save memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.scores.precision import check_real

#: Largest number of pairs, and of elements of a hidden layer, in a tile. On a CPU all layers then stay in the cache.
_CPU_TILE, _TILE = (1 << 11, 1 << 19), (1 << 18, 1 << 25)
#: Number of elements of a hidden layer, over all pairs, up to which plain autograd is as fast.
_FEW_ELEMENTS = 1 << 17
#: Bytes of hidden layers that are kept for the backward pass; all others are recomputed.
_KEPT_BYTES = 1 << 24

_silu: Any = torch.ops.aten.silu.out
_silu_backward: Any = torch.ops.aten.silu_backward.grad_input


def score_pairs(
    a: Tensor, b: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, tile: int | None = None
) -> Tensor:
    r"""Scores ``(N, M)`` of all pairs: linear layers, each after a SiLU, applied to the sums :math:`a_i + b_j`.

    Hidden layers are computed for one tile of pairs at a time. Most of them are recomputed in the backward pass, which
    also proceeds by tiles. Gradients are summed over pairs in float32 or wider. If one tile holds all pairs, and by
    default if there are few pairs, plain autograd is used.

    Args:
        a: ``(N, H)``. b: ``(M, H)``.
        weights, biases: ``(out, in)`` and ``(out,)`` of each layer; the last layer has one output.
        tile: number of pairs in a tile; the default suits the device.

    Raises:
        TypeError: unless a and b are dense tensors of floating-point numbers.
        torch.cuda.OutOfMemoryError: if a tile or the scores do not fit into memory.
        RuntimeError: for second derivatives, unless plain autograd is used.

    >>> import torch
    >>> a, b = torch.zeros(4, 8), torch.zeros(6, 8)
    >>> score_pairs(a, b, [torch.ones(1, 8)], [torch.tensor([0.5])])[0, 0].item()  # SiLU(0) is 0; the bias remains
    0.5
    """
    check_real(a, "a")
    check_real(b, "b")
    pairs, widest = len(a) * len(b), max(w.shape[1] for w in weights)
    weights, biases = [w.to(a.dtype) for w in weights], [c.to(a.dtype) for c in biases]
    if tile is None:
        few = pairs * widest <= _FEW_ELEMENTS
        most, elements = _CPU_TILE if a.device.type == "cpu" else _TILE
        tile = max(1, min(most, elements // widest))
    else:
        few = pairs <= tile
    if few:
        hidden = a[:, None] + b
        for weight, bias in zip(weights, biases, strict=True):
            hidden = F.linear(F.silu(hidden), weight, bias)
        return hidden.squeeze(-1)
    scores: Tensor = _ScorePairs.apply(a, b, min(tile, pairs), *weights, *biases)  # type: ignore[no-untyped-call]
    return scores


@dataclass
class _Network:
    """The layers, and buffers for the values of one tile before (``z``) and after (``s``) each SiLU."""

    a: Tensor
    b: Tensor
    tile: int
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    z: list[Tensor] = field(init=False)
    s: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.z = [self.a.new_empty(self.tile, w.shape[1]) for w in self.weights]
        self.s = [torch.empty_like(z) for z in self.z]

    def tiles(self) -> Iterator[tuple[slice, slice, int]]:
        """Rows, columns and number of pairs of each tile. A tile has whole rows, or a part of one row."""
        columns = min(self.tile, len(self.b))
        rows = self.tile // columns
        for i in range(0, len(self.a), rows):
            for j in range(0, len(self.b), columns):
                high, wide = min(rows, len(self.a) - i), min(columns, len(self.b) - j)
                yield slice(i, i + high), slice(j, j + wide), high * wide

    def hidden(
        self, rows: slice, columns: slice, known: Sequence[Tensor] = (), *, fresh: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Values before and after each SiLU, ``(pairs, H)``.

        Values before the second and all later SiLUs are taken from ``known`` if given, and written to new tensors if
        ``fresh``.
        """
        a, b = self.a[rows, None], self.b[columns]
        pairs = len(a) * len(b)
        z, s = [room[:pairs] for room in self.z], [room[:pairs] for room in self.s]
        z[1:] = known or [torch.empty_like(value) if fresh else value for value in z[1:]]
        torch.add(a, b, out=z[0].view(len(a), len(b), -1))
        _silu(z[0], out=s[0])
        for i in range(1, len(z)):
            if not known:
                torch.addmm(self.biases[i - 1], s[i - 1], self.weights[i - 1].T, out=z[i])
            _silu(z[i], out=s[i])
        return z, s


class _ScorePairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, tile: int, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[: len(parameters) // 2], parameters[len(parameters) // 2 :]
        room = _KEPT_BYTES if any(ctx.needs_input_grad) else 0
        kept: list[Tensor] = []  # values before each SiLU but the first, for the first tiles
        with _name_missing_memory(len(a), len(b), tile):
            scores = a.new_empty(len(a), len(b))
            network = _Network(a, b, tile, weights, biases)
            for rows, columns, pairs in network.tiles():
                room -= pairs * sum(z.shape[1] * z.itemsize for z in network.z[1:])
                z, s = network.hidden(rows, columns, fresh=room >= 0)
                kept += z[1:] if room >= 0 else []
                block = scores[rows, columns]
                block.copy_(torch.addmv(biases[-1], s[-1], weights[-1][0]).view(block.shape))
        ctx.save_for_backward(a, b, *parameters, *kept)
        ctx.tile, ctx.parameters = tile, len(parameters)
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "second derivatives are not available if pairs are scored in tiles; "
                "set tile= of the critic to at least N x M, which uses plain autograd and more memory"
            )
        a, b, *saved = ctx.saved_tensors
        parameters, kept = saved[: ctx.parameters], iter(saved[ctx.parameters :])
        weights, biases = parameters[: ctx.parameters // 2], parameters[ctx.parameters // 2 :]
        with _name_missing_memory(len(a), len(b), ctx.tile):
            return _gradients(_Network(a, b, ctx.tile, weights, biases), gradient, kept, ctx.needs_input_grad)


def _gradients(
    network: _Network, gradient: Tensor, kept: Iterator[Tensor], needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients with respect to a, b, the tile (``None``), all weights and all biases, given that of the scores.

    The gradients of hidden layers' weights are matrix products; they are skipped if they are not needed.
    """
    wide = torch.promote_types(network.a.dtype, torch.float32)
    da, db, *of_parameters = (
        torch.zeros_like(value, dtype=wide) for value in (network.a, network.b, *network.weights, *network.biases)
    )
    last = len(network.weights) - 1
    of_weights, of_biases = of_parameters[: last + 1], of_parameters[last + 1 :]
    for rows, columns, pairs in network.tiles():
        z, s = network.hidden(rows, columns, list(islice(kept, last)))
        ds = gradient[rows, columns].reshape(pairs)
        of_weights[last][0] += torch.mv(s[last].T, ds)
        of_biases[last] += ds.sum(dtype=wide)
        torch.mul(ds[:, None], network.weights[last], out=s[last])
        for i in range(last, 0, -1):
            dz = _silu_backward(s[i], z[i], grad_input=network.z[i][:pairs])
            of_biases[i - 1] += dz.sum(0, dtype=wide)
            if needed[3 + i - 1]:
                _add_product(of_weights[i - 1], dz, s[i - 1])
            torch.mm(dz, network.weights[i - 1], out=s[i - 1])
        dz = _silu_backward(s[0], z[0], grad_input=network.z[0][:pairs]).view(rows.stop - rows.start, -1, z[0].shape[1])
        da[rows] += dz.sum(1, dtype=wide)
        db[columns] += dz[0] if len(dz) == 1 else dz.sum(0, dtype=wide)
    return (da.to(network.a), db.to(network.b), None, *(d.to(network.a) for d in of_parameters))


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left.T @ right``."""
    if total.dtype == left.dtype:
        total.addmm_(left.T, right)
    else:
        total += left.T @ right


@contextmanager
def _name_missing_memory(n: int, m: int, tile: int) -> Iterator[None]:
    """Raise errors of missing memory with the number of pairs and the tile."""
    try:
        yield
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        raise torch.cuda.OutOfMemoryError(
            f"scores of {n} x {m} pairs in tiles of {tile} do not fit in memory: "
            f"reduce tile= of the critic, or score fewer pairs ({str(error).splitlines()[0]})"
        ) from error
