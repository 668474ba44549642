"""Encoders and sequences on several ranks, for ``distributed/test_encoders.py``."""

from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from infomax import CPC, GlobalBatch, SequenceCPC, cached_backward, distributed

#: Rows of each rank.
SIZES = (5, 3)
LENGTHS = torch.tensor([7, 5, 6, 2, 7, 4, 7, 6])


def inputs():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(sum(SIZES), *shape, generator=generator, dtype=torch.float64) for shape in ((4,), (4,), (7, 3))]


def modules():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    bound = CPC(3, 3, normalize=True, temperature="learned")
    sequences = {each: SequenceCPC(3, steps=2, context_dim=4, negatives=each) for each in ("batch", "both")}
    return [module.double() for module in (encoder, bound)], {key: each.double() for key, each in sequences.items()}


def gradients(*of_modules):
    return [parameter.grad for module in of_modules for parameter in module.parameters()]


def one_process():
    """Values and gradients of the whole batch."""
    (encoder, bound), sequences = modules()
    x, y, series = inputs()
    loss = bound.loss(encoder(x), encoder(y))
    loss.backward()
    found = {"cached": [loss.detach(), *gradients(encoder, bound)]}
    for key, each in sequences.items():
        values = each(series, lengths=LENGTHS)
        values.sum().backward()
        found[key] = [values.detach(), *gradients(each)]
    return found


def run(rank, world, store, results):
    """The same with the rows of each rank."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=timedelta(seconds=120)
    )
    (encoder, bound), sequences = modules()
    x, y, series = (each.split(SIZES)[rank] for each in inputs())
    parallel = DistributedDataParallel(encoder)
    value = cached_backward(GlobalBatch(bound).loss, [parallel, parallel], [x, y], chunk=2)
    distributed.average_gradients(bound.parameters())
    found = {"cached": [value, *gradients(encoder, bound)]}
    for key, each in sequences.items():
        lengths = distributed.gather(LENGTHS.split(SIZES)[rank])
        values = each(distributed.gather(series), lengths=lengths)
        values.sum().backward()
        distributed.average_gradients(each.parameters())
        found[key] = [values.detach(), *gradients(each)]
    torch.save(found, f"{results}-{rank}")
    dist.barrier()
    dist.destroy_process_group()
