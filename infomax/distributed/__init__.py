"""Several processes: collective functions with gradients, and bounds on the batches of all ranks.

Imports :mod:`infomax.bounds` and what lies below it.
"""

from infomax.distributed.global_batch import GlobalBatch
from infomax.distributed.ranks import (
    PATIENCE,
    RankError,
    Shares,
    active,
    agree,
    answering,
    average_gradients,
    barrier,
    check_same,
    gather,
    gathered,
    gathered_rows,
    launched,
    processes,
    rank,
    refuse_second_gradient,
    scattered_sum,
    shared_out,
    summed,
    together,
    world_size,
)

__all__ = [
    "GlobalBatch",
    "PATIENCE",
    "RankError",
    "Shares",
    "active",
    "agree",
    "answering",
    "average_gradients",
    "barrier",
    "check_same",
    "gather",
    "gathered",
    "gathered_rows",
    "launched",
    "processes",
    "rank",
    "refuse_second_gradient",
    "scattered_sum",
    "shared_out",
    "summed",
    "together",
    "world_size",
]
