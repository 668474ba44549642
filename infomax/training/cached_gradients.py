"""Gradients of a loss of large batches, with the encoders' activations of one chunk in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Encoder = Callable[..., Tensor]
#: Embeddings of the two passes differ by less than this share of their length.
_SAME = 1e-3


@dataclass(frozen=True)
class _Job:
    """One chunk of the input of an encoder."""

    encoder: Encoder
    arguments: tuple[Tensor, ...]
    keywords: dict[str, Tensor]

    def embed(self) -> Tensor:
        embedding = self.encoder(*self.arguments, **self.keywords)
        if not isinstance(embedding, Tensor):
            raise TypeError(f"encoders must return a tensor; got {type(embedding).__name__}")
        return embedding


@dataclass(frozen=True)
class _First:
    """What the first pass did: the state of the generators before it, and the embedding."""

    restore: Callable[[], None]
    job: _Job
    embedding: Tensor


def cached_backward(
    loss: Callable[..., Tensor],
    encoders: Encoder | Sequence[Encoder],
    inputs: Any,
    *,
    chunk: int,
) -> Tensor:
    r"""``loss(*embeddings).backward()`` for a batch whose activations do not fit into memory; returns the loss.

    Each encoder embeds its input twice, ``chunk`` rows at a time: without gradients, for the loss of the whole batch,
    and then with gradients, which receive those of the loss. Gradients are added to ``.grad`` as by ``backward()``;
    they equal those of the whole batch up to rounding. Memory holds the activations of one chunk, and the embeddings,
    inputs and what the loss takes for the whole batch. It costs one more pass without gradients.

    Random layers, such as dropout, draw the same numbers in both passes. Afterwards torch's generators, of the CPU
    and of the devices of encoders and inputs, are where the first pass and the loss left them.

    Args:
        loss: maps the embeddings, one tensor of all rows for each encoder, to a 0-d tensor. Its own parameters, such
            as a learned temperature, receive their gradients too. With a ``GradScaler``, return the scaled loss.
        encoders: a module, or several; the same one may be given twice, for two views. Rows must be embedded
            independently.
        inputs: the input of the encoder, or of each of several: a tensor, a tuple of tensors (arguments), or a dict of
            tensors (keyword arguments), with the rows in the first dimension. Inputs that require gradients must be
            leaves; they receive them.
        chunk: the number of rows that are embedded at a time.

    Call it inside of ``torch.autocast``, not before; backward passes leave autocast by themselves. Layers whose call
    changes their state (spectral normalisation, running means) are called twice.

    Several processes: each calls this function with its own rows and a loss such as ``GlobalBatch(bound).loss``, which
    communicates only inside of the loss. An encoder with a method ``no_sync`` (``DistributedDataParallel``) exchanges
    gradients once, with its last chunk. Parameters of the loss are averaged by
    :func:`infomax.distributed.average_gradients`.

    Returns:
        The loss, 0-d, detached.

    Raises:
        ValueError: for a chunk below 1; inputs that do not fit the encoders; layers that normalise by statistics of
            the batch, which a chunk does not have; embeddings that differ in the second pass (random numbers of
            another generator); and inputs that are results of other computations with gradients.
        TypeError: if an encoder does not return a tensor.

    Source: Gao, Zhang, Han and Callan, 2021, arXiv 2101.06983.

    >>> import torch
    >>> from infomax import CPC
    >>> encoder = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.Dropout(), torch.nn.Linear(64, 8))
    >>> cpc = CPC(8, 8, normalize=True, temperature="learned")
    >>> first, second = torch.randn(2, 1024, 20)
    >>> cached_backward(cpc.loss, [encoder, encoder], [first, second], chunk=128).ndim
    0
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1; got {chunk}")
    if callable(encoders):
        encoders, inputs = [encoders], [inputs]
    if len(encoders) != len(inputs):
        raise ValueError(f"inputs must have one entry for each encoder; got {len(inputs)} and {len(encoders)}")
    for encoder in encoders:
        _check_statistics(encoder)
    jobs = [list(_chunks(encoder, each, chunk)) for encoder, each in zip(encoders, inputs, strict=True)]
    devices = _devices([job for of_encoder in jobs for job in of_encoder])

    with torch.no_grad():
        done = [[_First(_random_state(devices), job, job.embed()) for job in of_encoder] for of_encoder in jobs]
    # Casts of parameters that autocast keeps from the first pass have no gradients.
    torch.clear_autocast_cache()
    embeddings = [torch.cat([each.embedding for each in of_encoder]).requires_grad_() for of_encoder in done]
    with torch.enable_grad():
        value = loss(*embeddings)
    with _without_autocast(devices):
        value.backward()  # type: ignore[no-untyped-call]

    after = _random_state(devices)
    try:
        _second_pass(done, [embedding.grad for embedding in embeddings], devices)
    finally:
        after()
    return value.detach()


def _second_pass(done: list[list[_First]], gradients: list[Tensor | None], devices: list[torch.device]) -> None:
    """Embed all chunks again whose embeddings have gradients, and pass these on."""
    again = [
        (each, slopes)
        for of_encoder, gradient in zip(done, gradients, strict=True)
        if gradient is not None
        for each, slopes in zip(of_encoder, torch.split(gradient, [len(e.embedding) for e in of_encoder]), strict=True)
    ]
    last = {id(first.job.encoder): first for first, _ in again}
    differences = []
    for first, slopes in again:
        first.restore()
        with ExitStack() as contexts:
            if last[id(first.job.encoder)] is not first:
                contexts.enter_context(_no_sync(first.job.encoder))
            with torch.enable_grad():
                embedding = first.job.embed()
            differences.append(_difference(embedding.detach(), first.embedding))
            if embedding.requires_grad:
                contexts.enter_context(_without_autocast(devices))
                embedding.backward(slopes)  # type: ignore[no-untyped-call]
    largest = float(torch.stack(differences).max()) if differences else 0.0
    if largest > _SAME:
        raise ValueError(
            "encoders must return the same embeddings when they are called again; "
            f"they differ by {largest:.1g} of their length, and the gradients are wrong"
        )


def _difference(again: Tensor, first: Tensor) -> Tensor:
    """The relative difference of two embeddings."""
    again, first = again.float(), first.float()
    smallest = torch.finfo(torch.float32).tiny
    length = torch.linalg.vector_norm(first).clamp_min(smallest)
    difference: Tensor = torch.linalg.vector_norm(again - first) / length
    return difference


def _check_statistics(encoder: Encoder) -> None:
    """Raise ``ValueError`` for layers that normalise by statistics of the batch."""
    if not isinstance(encoder, nn.Module):
        return
    for name, part in encoder.named_modules():
        if isinstance(part, _BatchNorm) and (part.training or part.running_mean is None):
            raise ValueError(
                f"encoders must embed rows independently; {type(part).__name__} {name!r} normalises by the statistics "
                "of a chunk: use eval(), or LayerNorm or GroupNorm"
            )


def _chunks(encoder: Encoder, inputs: Any, chunk: int) -> Iterator[_Job]:
    """The calls of an encoder, in order."""
    keywords = dict(inputs) if isinstance(inputs, Mapping) else {}
    arguments: tuple[Tensor, ...] = (inputs,) if isinstance(inputs, Tensor) else () if keywords else tuple(inputs)
    tensors = [*arguments, *keywords.values()]
    for each in tensors:
        if not isinstance(each, Tensor):
            raise TypeError(f"inputs must be tensors, or tuples or dicts of tensors; got {type(each).__name__}")
        if each.requires_grad and not each.is_leaf:
            raise ValueError("inputs must be leaves or have no gradients; got the result of a computation: detach it")
    sizes = {len(each) for each in tensors}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(f"inputs of an encoder must have the same number of rows; got {sorted(sizes)}")
    for start in range(0, sizes.pop(), chunk):
        rows = slice(start, start + chunk)
        yield _Job(encoder, tuple(each[rows] for each in arguments), {k: each[rows] for k, each in keywords.items()})


def _devices(jobs: list[_Job]) -> list[torch.device]:
    """The devices of encoders and inputs, without the CPU."""
    tensors = [each for job in jobs for each in (*job.arguments, *job.keywords.values())]
    for encoder in {id(job.encoder): job.encoder for job in jobs}.values():
        if isinstance(encoder, nn.Module):
            tensors += [*encoder.parameters(), *encoder.buffers()]
    return [device for device in dict.fromkeys(each.device for each in tensors) if device.type not in ("cpu", "meta")]


def _random_state(devices: list[torch.device]) -> Callable[[], None]:
    """A function that restores the present state of torch's generators."""
    restore = [partial(torch.set_rng_state, torch.get_rng_state())]
    for device in devices:
        module = getattr(torch, device.type)
        here = () if device.type == "mps" else (device,)
        restore.append(partial(module.set_rng_state, module.get_rng_state(*here), *here))

    def restore_all() -> None:
        for each in restore:
            each()

    return restore_all


@contextmanager
def _without_autocast(devices: list[torch.device]) -> Iterator[None]:
    """Disable autocast: a backward pass has the types of its forward pass."""
    with ExitStack() as contexts:
        for kind in {"cpu", *(device.type for device in devices)}:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                contexts.enter_context(torch.autocast(kind, enabled=False))
        yield


def _no_sync(encoder: Encoder) -> AbstractContextManager[Any]:
    """Gradients of a call inside are not exchanged with other processes."""
    no_sync = getattr(encoder, "no_sync", None)
    context: AbstractContextManager[Any] = no_sync() if callable(no_sync) else nullcontext()
    return context
