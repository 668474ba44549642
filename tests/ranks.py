"""What the ranks of the tests do; each process runs all cases of its world and saves what it found."""

import contextlib
import io
import multiprocessing
import os
import signal
import time
import warnings
from datetime import timedelta
from functools import partial
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from rank_cases import (
    ALL,
    EXCHANGED,
    IN,
    PAIRED,
    PARTS,
    QUEUED,
    ROWS,
    TIMEOUT,
    Model,
    data,
    loss_and_pointwise,
    paired_pointwise,
    queued,
    step,
)
from torch import nn

import infomax
import infomax.command_line.commands
import infomax.command_line.main
from infomax import GlobalBatch, bounds, distributed
from infomax.training.streaming import gather_drawn


def slices(sizes):
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]


# --- Cases: each is called on every rank, and says what it found ------------------------------------------------------


def cases(rank, world, folder):
    for how, sizes in PARTS[world].items():
        part = slices(sizes)[rank]
        for case in ALL:
            yield f"{case}, {how}, gather", lambda case=case, part=part: step(case, part, shared=True)
        for case in PAIRED:
            yield f"{case}, {how}, gather", lambda case=case, part=part: step(case, part, shared=True)
            yield f"{case}, {how}, pointwise", lambda case=case, part=part: paired_pointwise(case, part, shared=True)
        for option in QUEUED:
            yield f"queue {option}, {how}", lambda option=option, part=part: queued(option, part, shared=True)
        yield f"queue inside, {how}", lambda part=part: queued("", part, inside=True)
        for case in EXCHANGED:
            yield f"{case}, {how}, ring", lambda case=case, part=part: step(case, part, shared=True, exchange="ring")
            yield (
                f"{case}, {how}, float32",
                lambda case=case, part=part: step(case, part, shared=True, dtype=torch.float32),
            )
        for case in ("infonce separable", "cpc", "infonce concat", "js", "dv", "ba"):
            yield f"{case}, {how}, loss", lambda case=case, part=part: loss_and_pointwise(case, part, shared=True)
    even, mixed = slices(PARTS[world]["even"])[rank], torch.autocast("cpu", torch.float16)(step)
    for exchange in ("gather", "ring"):
        yield (
            f"many rows, {exchange}",
            lambda e=exchange: step("cpc", slices([700] * world)[rank], shared=True, rows=700 * world, exchange=e),
        )
        yield (
            f"bfloat16, {exchange}",
            lambda e=exchange: step("cpc", even, shared=True, dtype=torch.bfloat16, exchange=e),
        )
        options = {"shared": True, "dtype": torch.float32, "exchange": exchange}
        yield f"autocast, {exchange}", lambda options=options: mixed("cpc", even, **options)
        yield f"no gradients, {exchange}", lambda e=exchange: without_gradients(even, e)
        yield (
            f"one row each, {exchange}",
            lambda e=exchange: step("cpc", slice(rank, rank + 1), shared=True, rows=world, exchange=e),
        )
    yield "only one rank needs gradients", lambda: only_one_needs_gradients(rank, even)
    yield "group", lambda: in_a_group(rank, world)
    yield "gradients that are missing", lambda: missing_gradients(rank)
    yield "DDP", lambda: with_ddp(even)
    yield "ceiling", lambda: {"ceiling": torch.tensor(GlobalBatch(infomax.InfoNCE(2, 2)).ceiling(10))}
    yield "labels", lambda: with_labels(even)
    yield "gather", lambda: gathered(rank)
    yield "warm start", lambda: warm_start(even, shared=True)
    yield "estimates", lambda: estimates(shared=True)
    yield "command", lambda: command(folder, rank, world)
    yield "command, a file is missing", lambda: command(folder, rank, world, missing=True)
    yield "command, too many rows", lambda: command(folder, rank, world, cells=300)
    yield "command, empty files", lambda: command(folder, rank, world, all_on=0)
    yield "command, nothing", lambda: command(folder, rank, world, all_on=world)
    yield "drawn", lambda: drawn(rank)
    yield "shared out", lambda: distributed.shared_out(range(5), lambda some: [10 * i for i in some])
    yield "error: other samples", lambda: other_samples(rank)
    yield "error: one rank fails", lambda: fail_on_one(rank)
    yield "error: missing values", lambda: drawn(rank, value=np.nan if rank == 1 else 0.0)
    bound = GlobalBatch(infomax.CPC(3, 2))
    nwj = GlobalBatch(infomax.NWJ(3, 2))
    other = GlobalBatch(infomax.CPC(3 + (rank == 1), 2))
    yield "error: columns", lambda: other(torch.zeros(4, 3 + (rank == 1)), torch.zeros(4, 2))
    yield (
        "error: types",
        lambda: bound.to(torch.float64 if rank else torch.float32)(
            *(torch.zeros(4, d, dtype=torch.float64 if rank else torch.float32) for d in (3, 2))
        ),
    )
    bound.float()
    yield "error: one rank's batch", lambda: bound(torch.zeros(4, 3 + (rank == 1)), torch.zeros(4, 2))
    yield "error: one rank's batch, whole", lambda: nwj(torch.zeros(4, 3 + (rank == 1)), torch.zeros(4, 2))
    yield "error: one row in all", lambda: bound(torch.zeros(int(rank == 0), 3), torch.zeros(int(rank == 0), 2))
    yield "error: gradients off", lambda: gradients_off(bound, rank)
    yield from errors_of_options(bound, nwj, rank, world)
    yield "error: twice", lambda: twice(even)
    yield "after the errors", lambda: step("cpc", even, shared=True)


def errors_of_options(bound, nwj, rank, world):
    x, y, labels = torch.ones(4, 3), torch.ones(4, 2), torch.arange(4) % 2
    yield "error: one rank's labels", lambda: bound(x, y, labels=labels[: 4 - (rank == 1)])
    yield "error: one rank's mask", lambda: bound(x, y, mask=torch.full((4, 4 * world), rank == 1))
    yield "error: other options", lambda: bound(x, y, labels=labels, **({"negatives": x} if rank else {}))
    yield "error: weights", lambda: bound(x, y, weights=torch.zeros(4))
    yield "error: options in a ring", lambda: GlobalBatch(bound.bound, exchange="ring")(x, y, labels=labels)
    yield "error: options of nwj", lambda: nwj(x, y, labels=labels)


def without_gradients(part, exchange):
    model = Model("cpc", True, exchange=exchange).double()
    with torch.no_grad():
        value = model(*(side[part] for side in data()))
    cpc = GlobalBatch(infomax.CPC(IN, IN), exchange=exchange).double().requires_grad_(False)
    torch.nn.init.eye_(cpc.bound.critic.predict[0].weight)
    torch.nn.init.zeros_(cpc.bound.critic.predict[0].bias)
    plain = cpc(*(side[part] for side in data()))
    assert not plain.requires_grad
    return {"value": value, "plain": plain}


def only_one_needs_gradients(rank, part):
    """Of x; the bound's parameters are fixed. By embeddings, by scores, and whole."""
    found = {}
    for name, options in (("cpc", {}), ("infonce", {"critic": "concat"}), ("nwj", {})):
        torch.manual_seed(0)
        bound = GlobalBatch(bounds.get(name)(IN, IN, **options)).double().requires_grad_(False)
        x, y = (side[part].clone() for side in data())
        x.requires_grad_(rank == 0)
        value = bound(x, y)
        if value.requires_grad:
            value.backward()
        found[name] = value.detach()
        if rank == 0:
            found[f"{name} x"] = x.grad
    return found


def with_ddp(part):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.parallel.DistributedDataParallel(Model("cpc as in mmim", True).double())
    x, y = (side[part] for side in data())
    (0.1 * model(x, y) + model.module.x(x).square().mean()).backward()
    named = {name.replace("bound.bound.", "bound."): p.grad for name, p in model.module.named_parameters()}
    return {f"parameter {name}": gradient for name, gradient in named.items()}


def with_labels(part):
    torch.manual_seed(0)
    bound = GlobalBatch(infomax.BA(IN, IN, components=2)).double()
    x, y = data()
    labels = (torch.arange(ROWS) % 2)[part]
    bound(x[part], y[part], labels)
    return {"samples": bound.bound.memory.samples, "counts": bound.bound.memory.counts}


def gathered(rank):
    flags = distributed.gather(torch.tensor([rank == 0] * (rank + 1)))
    rows = torch.full((rank + 1, 2), float(rank), requires_grad=True)
    everything = distributed.gather(rows)
    (everything * (1 + torch.arange(len(everything)))[:, None] * (rank + 1)).sum().backward()
    return {"flags": flags, "rows": everything.detach(), "gradient": rows.grad}


def warm_start(part, *, shared):
    bound = infomax.InfoNCE(IN, IN, critic="gaussian_residual").double()
    x, y = data()
    (GlobalBatch(bound) if shared else bound).warm_start(x[part], y[part])
    return {"offset": bound.critic.offset, "correlations": bound.critic.correlations}


def gradients_off(bound, rank):
    with torch.set_grad_enabled(rank == 0):
        return bound(torch.zeros(4, 3), torch.zeros(4, 2))


def twice(part):
    x, y = (side[part].clone().requires_grad_() for side in data())
    value = GlobalBatch(infomax.CPC(IN, IN)).double()(x, y)
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    gradient.sum().backward()


def samples(rows=301):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2))
    return x, x[:, :1] + rng.normal(size=(rows, 1))


BOUNDS = ["nwj", "gaussian", "default", "infonce"]


def in_a_group(rank, world):
    """The last two ranks are a group, in which they have other numbers."""
    members = [world - 2, world - 1]
    group = dist.new_group(members)
    if rank not in members:
        return {}
    part = slices((11, 7))[members.index(rank)]
    found = {}
    for exchange in ("gather", "ring"):
        model = Model("cpc", True, exchange=exchange, group=group).double()
        value = model(*(side[part] for side in data()))
        value.backward()
        distributed.average_gradients(model.parameters(), group)
        found[exchange] = {"value": value.detach(), "gradient": model.y.weight.grad}
    return found


def missing_gradients(rank):
    """Of three parameters: one has a gradient on all ranks, one on the first alone, one nowhere."""
    everywhere, somewhere, nowhere = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    loss = (rank + 1) * everywhere.sum()
    if rank == 0:
        loss = loss + 6 * somewhere.sum()
    loss.backward()
    distributed.average_gradients([everywhere, nowhere, somewhere])
    return [parameter.grad for parameter in (everywhere, somewhere, nowhere)]


def estimates(shared):
    """Few bounds, whose folds are shared out, and many, which are shared out themselves."""
    options = {"progress": False, "shared": shared, "schedule": infomax.Schedule(steps=30)}
    few = [infomax.estimate(*samples(), bound=bound, folds=4, **options) for bound in BOUNDS]
    many = infomax.estimate(*samples(), bound=BOUNDS, quick=True, **options)
    return {"few": [result.to_dict() for result in few], "many": [result.to_dict() for result in many]}


def other_samples(rank):
    x, y = samples()
    infomax.estimate(x + (rank == 1), y, bound="gaussian", shared=True)


def drawn(rank, value=0.0):
    """Of 100, 200, … numbers that say whose they are, as many as 90 cells hold; and of few, all."""
    rows = 1000 * rank + np.arange(100.0 * (rank + 1))[:, None]
    rows[7] += value
    given = {"x": rows, "y": np.hstack([-rows, 2 * rows])}
    few, total = gather_drawn(given, seed=0, cells=90)
    everything, _ = gather_drawn(given, seed=0)
    return {"few": few, "total": total, "everything": everything}


def command(folder, rank, world, *, missing=False, cells=None, all_on=None):
    """``infomax estimate`` of a file for each rank, in processes that are a group already; its status and output."""
    rows = np.hstack(samples())
    if all_on is not None:
        np.save(folder / f"part-{rank}.npy", rows if rank == all_on else rows[:0])
    elif not missing:
        np.save(folder / f"part-{rank}.npy", np.array_split(rows, world)[rank])
    out, err = io.StringIO(), io.StringIO()
    name = "none" if missing and rank == 1 else "part"
    words = ["estimate", str(folder / f"{name}-{{rank}}.npy"), "--x", "0,1", "--y", "2", "--quick", "--json"]
    gather = gather_drawn if cells is None else partial(gather_drawn, cells=cells)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(infomax.command_line.commands, "gather_drawn", gather),
    ):
        status = infomax.command_line.main.main([*words, "--bound", "gaussian", "--no-progress"])
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


def fail_on_one(rank):
    def work():
        if rank == 1:
            raise ValueError("of its own")

    distributed.together(work)


def run(rank, world, store, results):
    """All cases, in their order; errors are kept by their text."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=timedelta(seconds=120)
    )
    found = {}
    for name, case in cases(rank, world, store.parent):
        try:
            found[name] = case()
        except Exception as error:
            if not name.startswith("error"):
                raise RuntimeError(f"case {name!r} on rank {rank}") from error
            found[name] = f"{type(error).__name__}: {error}"
    torch.save(found, f"{results}-{rank}")
    dist.barrier()
    dist.destroy_process_group()


def die(rank, world, store, results):
    """The last rank is killed from outside while the others wait for it; they say what they were told."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=timedelta(seconds=120)
    )
    bound = GlobalBatch(infomax.CPC(3, 2))
    bound(torch.randn(8, 3), torch.randn(8, 2))
    if rank == world - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        bound(torch.randn(8, 3), torch.randn(8, 2))
    except infomax.RankError as error:
        results.with_name(f"{results.name}-{rank}").write_text(str(error))
        os._exit(3)


def run_command(rank, world, port, words, results):
    """The command in a process that finds its place in its environment; what it prints."""
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    with results.with_name(f"{results.name}-{rank}").open("w") as file, contextlib.redirect_stdout(file):
        raise SystemExit(infomax.command_line.main.main(words))


def start(program, world, *arguments, wait=TIMEOUT):
    """Start the ranks, and end them all if they are not done in time; their exit codes.

    They are forked from one server, which loads PyTorch once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "infomax.command_line.commands"])
    processes = [context.Process(target=program, args=(i, world, *arguments), daemon=True) for i in range(world)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + wait
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    late = [i for i, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
        process.join()
    assert not late, f"ranks {late} hang"
    return [process.exitcode for process in processes]
