"""Several processes: collective functions with gradients, and bounds on the batches of all ranks.

Imports :mod:`infomax.bounds` and what lies below it.
"""

from infomax.distributed.global_batch import GlobalBatch
from infomax.distributed.ranks import (
    RankError,
    active,
    agree,
    average_gradients,
    barrier,
    gather,
    launched,
    processes,
    rank,
    shared_out,
    together,
    world_size,
)

__all__ = [
    "GlobalBatch",
    "RankError",
    "active",
    "agree",
    "average_gradients",
    "barrier",
    "gather",
    "launched",
    "processes",
    "rank",
    "shared_out",
    "together",
    "world_size",
]
