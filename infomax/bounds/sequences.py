"""Contrastive predictive coding of sequences: predict later steps of a series from a context of its past."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from infomax.bounds.base import Kind
from infomax.bounds.candidates import readable
from infomax.bounds.contexts import checked_context, output_of
from infomax.bounds.nce import CPC
from infomax.critics import networks as critics
from infomax.critics.networks import check_dimensions
from infomax.critics.temperature import TEMPERATURES
from infomax.scores.gradients import not_compiled
from infomax.scores.pairs import lowest
from infomax.scores.precision import check_real, widened, without_autocast

Negatives = Literal["batch", "sequence", "both"]
_WITHIN = {"batch": "at the same step", "sequence": "in the same sequence", "both": "in all sequences"}
#: Elements of the scores that are in memory at a time.
_BLOCK_ELEMENTS = 1 << 22


class SequenceCPC(nn.Module):
    r"""Contrastive predictive coding of sequences: the context of steps 1 to t predicts steps t + 1 to t + K.

    .. math:: c_t = g(x_1, \dots, x_t), \qquad
        v_k = \frac1R \sum_{(n, t)} \log \frac{e^{f_k(x^n_{t+k}, c^n_t)}}
        {\frac1{|J|} \sum_{(m, s) \in J} e^{f_k(x^m_{s+k}, c^n_t)}}, \quad k = 1, \dots, K

    A call maps sequences ``(N, T, D)`` to the values of the steps, ``(K,)``, in nats. For step k, the R rows are the
    pairs of a context and the element k steps later; J is the set of rows whose elements are compared. A row without
    any other element to compare is left out. :math:`x` is usually the output of an encoder, which is trained together
    with the context. Elements that an encoder makes from overlapping windows share information without prediction.

    What the value is depends on ``negatives``:

    - "batch": the same step of the other sequences. A lower bound on :math:`I(c_t; x_{t+k})`, in expectation, averaged
      over the rows, if the sequences are independent draws from one distribution. They need not be stationary. With
      ``lengths`` or ``mask`` it holds if these do not depend on the values of the elements.
    - "sequence": the other steps of the same sequence. **No bound.** Negatives and context depend on each other, in
      two ways. A context can remember the elements that it has read and reject them: the value can then exceed MI, up
      to its ceiling even if MI is 0. And what all steps of a sequence share (as a speaker) does not distinguish them:
      the value leaves that information out.
    - "both": all steps of all sequences. **No bound**, for the same reasons, and because steps of another sequence
      depend on each other. Only 1/N of the negatives are of the same sequence. The step in the sequence also
      distinguishes elements, so the value contains the information in it.

    Args:
        dim: D, the dimension of an element.
        context: "gru", or a module that maps ``(N, T, D)`` to ``(N, T, C)``, or to a tuple that begins with that, as
            ``torch.nn.GRU(…, batch_first=True)``. It must be causal, and treat sequences independently. It is called
            once here with random sequences, in evaluation mode, to test that.
        steps: K, the number of steps ahead; there is one critic for each.
        negatives: which elements are compared, see above.
        context_dim: C of "gru".
        critic: a name, or a function of ``(D, C)`` that returns a critic of ``(x, c)``; called once for each step.
        hidden, normalize, temperature, temperature_limits: options of the predictor, see :class:`CPC`.

    Attributes:
        kind: "lower" for "batch", otherwise "estimate".
        predictors: a :class:`CPC` for each step.

    Scores are computed in float32 or wider, also under autocast, and in memory that grows as N T; from
    ``predictors[k].tiled_from`` compared elements in tiles, if the critic has ``embed``.

    Several processes: gather the sequences first, ``bound(infomax.distributed.gather(x))`` (and ``lengths`` likewise).
    Every process then computes the value of all sequences; gradients are averaged as for
    :class:`~infomax.distributed.GlobalBatch`.

    Raises:
        ValueError: for an option that is unknown, a context that is not causal, shapes that do not fit, and sequences
            in which a step has nothing to compare.
        TypeError: unless the sequences have the dtype of the parameters, or one that autocast converts.

    Source: van den Oord, Li and Vinyals, 2018, arXiv 1807.03748.

    >>> import torch
    >>> bound = SequenceCPC(5, steps=3)
    >>> x = torch.randn(32, 20, 5)
    >>> bound(x).shape, [round(value, 2) for value in bound.ceiling(32, 20).tolist()]
    (torch.Size([3]), [3.47, 3.47, 3.47])
    >>> bound.contexts(x).shape  # for a task after training
    torch.Size([32, 20, 256])
    """

    kind: Kind
    reference = "van den Oord, Li, Vinyals 2018, arXiv 1807.03748"

    def __init__(
        self,
        dim: int,
        *,
        context: str | nn.Module = "gru",
        steps: int = 12,
        negatives: Negatives = "batch",
        context_dim: int = 256,
        critic: str | Callable[[int, int], nn.Module] = "predictor",
        hidden: Sequence[int] = (),
        normalize: bool = False,
        temperature: float | str | None = None,
        temperature_limits: tuple[float, float] = TEMPERATURES,
    ) -> None:
        super().__init__()
        check_dimensions(dim=dim, steps=steps, context_dim=context_dim)
        if negatives not in get_args(Negatives):
            raise ValueError(f"negatives must be one of {', '.join(get_args(Negatives))}; got {negatives!r}")
        if isinstance(critic, nn.Module):
            raise TypeError(
                "critic must be a name or a function that returns one critic for each step; "
                f"got the module {type(critic).__name__}"
            )
        self.dim, self.steps, self.negatives = dim, steps, negatives
        self.kind = "lower" if negatives == "batch" else "estimate"
        if isinstance(context, str):
            if context != "gru":
                raise ValueError(f"context must be 'gru' or a torch.nn.Module; got {context!r}")
            self.context: nn.Module = nn.GRU(dim, context_dim, batch_first=True)
        else:
            self.context, context_dim = context, checked_context(context, dim, steps)
        self.context_dim = context_dim

        def predictor() -> CPC:
            return CPC(
                dim,
                context_dim,
                critic=critic if isinstance(critic, str) else critic(dim, context_dim),
                hidden=hidden,
                normalize=normalize,
                temperature=temperature,
                temperature_limits=temperature_limits,
            )

        self.predictors = nn.ModuleList([predictor() for _ in range(steps)])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, steps={self.steps}, negatives={self.negatives!r}"

    def forward(self, x: Tensor, *, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The values of steps 1 to K, ``(K,)``, in nats.

        Args:
            x: sequences, ``(N, T, D)``.
            lengths: the number of elements of each sequence, integers ``(N,)``; later ones are padding.
            mask: true for padding, boolean ``(N, T)``. Padding is read as zeros by the context, and is never compared.
        """
        x, kept = self._checked(x, lengths, mask)
        rows = self._rows(len(x), x.shape[1], kept)
        contexts = self._contexts(x)
        values = []
        for k, (predictor, of_step) in enumerate(zip(self._bounds(), rows, strict=True), 1):
            step = x[:, k:], contexts[:, :-k], of_step.to(x.device)
            values.append(_value(predictor, *map(self._grouped, step)))
        return torch.stack(values)

    def loss(self, x: Tensor, *, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """What to minimise: the negative mean of the values, 0-d."""
        loss: Tensor = -self(x, lengths=lengths, mask=mask).mean()
        return loss

    def contexts(self, x: Tensor, *, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The contexts :math:`c_t`, ``(N, T, C)``; those of padding mean nothing."""
        return self._contexts(self._checked(x, lengths, mask)[0])

    def ceiling(self, n: int, length: int, *, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The largest value of each step that n sequences of this length can give, ``(K,)``, in nats, on the CPU.

        The logarithm of the number of compared elements, the row's own included; where rows have different numbers, the
        mean of the logarithms over the rows. It is less for cosine scores, see :meth:`CPC.ceiling`.
        """
        rows = self._rows(n, length, _kept(n, length, lengths, mask))
        ceilings = []
        for predictor, of_step in zip(self._bounds(), rows, strict=True):
            sizes = self._grouped(of_step).sum(1).tolist()
            ceilings.append(sum(size * (predictor.ceiling(size) or 0.0) for size in sizes if size) / sum(sizes))
        return torch.tensor(ceilings, dtype=torch.float64)

    def _checked(self, x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The sequences with zeros as padding, and what is no padding, ``(N, T)``; ``None`` for everything."""
        check_real(x, "x")
        if x.ndim != 3 or x.shape[2] != self.dim:
            raise ValueError(f"x must have shape (N, T, {self.dim}); got {tuple(x.shape)}")
        self._bounds()[0].check_dtypes(x=x)
        kept = _kept(len(x), x.shape[1], lengths, mask)
        if kept is None:
            return x, None
        kept = kept.to(x.device)
        return torch.where(kept[:, :, None], x, 0.0), kept

    def _bounds(self) -> list[CPC]:
        return cast("list[CPC]", list(self.predictors))

    def _contexts(self, x: Tensor) -> Tensor:
        contexts = output_of(self.context, x)
        if contexts.shape != (*x.shape[:2], self.context_dim):
            wanted = (*x.shape[:2], self.context_dim)
            raise ValueError(f"context must return shape {wanted}; got {tuple(contexts.shape)}")
        return contexts

    def _rows(self, n: int, length: int, kept: Tensor | None) -> list[Tensor]:
        """Which rows are compared, ``(N, T − k)`` for each step: both ends are there, and another row is.

        Raises:
            ValueError: for a step without any.
        """
        if length <= self.steps:
            raise ValueError(
                f"x must have more than {self.steps} elements in a sequence, because of steps; got {length}"
            )
        every = torch.ones(n, length, dtype=torch.bool) if kept is None else kept
        found = []
        for k in range(1, self.steps + 1):
            rows = every[:, k:] & every[:, :-k]
            groups = self._grouped(rows)
            found.append(rows & self._grouped(groups & (groups.sum(1, keepdim=True) > 1), like=rows))
        if readable(every.device):
            for k, some in enumerate(torch.stack([rows.any() for rows in found]).tolist(), 1):
                if not some:
                    raise ValueError(
                        f"x must have two elements to compare {_WITHIN[self.negatives]}; step {k} has none"
                    )
        return found

    def _grouped(self, values: Tensor, like: Tensor | None = None) -> Tensor:
        """Values ``(N, T', …)`` by groups of rows that are compared, ``(groups, rows, …)``; or the inverse."""
        if self.negatives == "batch":
            return values.transpose(0, 1)
        if self.negatives == "both":
            return values.flatten(0, 1)[None] if like is None else values.view(like.shape)
        return values


def _value(predictor: CPC, targets: Tensor, contexts: Tensor, rows: Tensor) -> Tensor:
    """The mean of all rows, each compared with those of its group, 0-d.

    Args:
        targets, contexts, rows: ``(G, M, D)``, ``(G, M, C)``, and which rows there are, ``(G, M)``.
    """
    if rows.shape[1] < predictor.tiled_from and len(rows) > 1:
        flat = targets.flatten(0, 1), contexts.flatten(0, 1)
        found = predictor.in_range(partial(critics.embedding, predictor.critic), *flat)
        if found is not None:
            a, b = (widened(side).view(*rows.shape, side.shape[1]) for side in found)
            return _in_blocks(a, b, rows)
    return _one_by_one(predictor, targets, contexts, rows)


@not_compiled
def _one_by_one(predictor: CPC, targets: Tensor, contexts: Tensor, rows: Tensor) -> Tensor:
    """The same, by the bound of each group."""
    sizes = rows.sum(1).tolist()
    groups = zip(targets, contexts, rows, sizes, strict=True)
    values = [predictor(x[kept], c[kept]) * size for x, c, kept, size in groups if size]
    total: Tensor = torch.stack(values).sum() / sum(sizes)
    return total


def _in_blocks(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """The same, from factors ``(G, M, E)`` of targets and contexts, for some groups at a time."""
    blocks = list(_blocks(*rows.shape))
    if len(blocks) == 1:
        total = _sum_of_block(a, b, rows)
    else:
        total = torch.stack([_again(a[block], b[block], rows[block]) for block in blocks]).sum()
    return total / rows.sum()


def _blocks(groups: int, size: int) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // size**2)
    for start in range(0, groups, step):
        yield slice(start, min(start + step, groups))


@not_compiled
def _again(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """The sum of a block, whose scores are computed again in the backward pass."""
    total: Tensor = checkpoint(_sum_of_block, a, b, rows, use_reentrant=False, preserve_rng_state=False)
    return total


def _sum_of_block(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """The sum of all rows' values in nats, from the scores ``(G, M, M)`` of contexts (rows) with targets (columns)."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    with without_autocast(a):
        scores = b.to(dtype) @ a.to(dtype).transpose(1, 2)
        own = scores.diagonal(dim1=1, dim2=2)
        joint = scores.masked_fill(~rows[:, None], lowest(dtype)).logsumexp(2)
        values = own - joint + rows.sum(1, keepdim=True).clamp_min(1).to(dtype).log()
    return torch.where(rows, values, 0.0).sum()


def _kept(n: int, length: int, lengths: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """What is no padding, ``(N, T)``; ``None`` for everything.

    Raises:
        TypeError, ValueError: for lengths or a mask of another type or shape, and if both are given.
    """
    if lengths is not None and mask is not None:
        raise ValueError("lengths and mask must not both be given: each says what is padding")
    if lengths is not None:
        lengths = torch.as_tensor(lengths)
        if lengths.dtype.is_floating_point or lengths.dtype.is_complex or lengths.dtype is torch.bool:
            raise TypeError(f"lengths must be a tensor of integers; got {lengths.dtype}")
        if lengths.shape != (n,):
            raise ValueError(f"lengths must have shape ({n},); got {tuple(lengths.shape)}")
        if n and readable(lengths.device):
            low, high = (int(end) for end in lengths.aminmax())
            if low < 0 or high > length:
                raise ValueError(f"lengths must lie between 0 and {length}; got {low if low < 0 else high}")
        return torch.arange(length, device=lengths.device) < lengths[:, None]
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.dtype is not torch.bool:
        came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a tensor of booleans; got {came}")
    if mask.shape != (n, length):
        raise ValueError(f"mask must have shape ({n}, {length}); got {tuple(mask.shape)}")
    return ~mask
