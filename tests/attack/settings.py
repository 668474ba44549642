"""Estimates from several threads at once, under settings of torch and numpy that are none of their business."""

import contextlib
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from attack.outcome import Outcome

import infomax

TITLE = "Calls from 4 threads, under settings of torch"
LARGE = 600


@contextlib.contextmanager
def put(change, inside, afterwards):
    change(inside)
    try:
        yield
    finally:
        change(afterwards)


SETTINGS = {
    "bfloat16 autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float16 autocast": lambda: torch.autocast("cpu", dtype=torch.float16),
    "default dtype": lambda: put(torch.set_default_dtype, torch.float64, torch.float32),
    "narrow default dtype": lambda: put(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "default device": lambda: put(torch.set_default_device, "meta", None),
    "device block": lambda: torch.device("meta"),
    "deterministic": lambda: put(torch.use_deterministic_algorithms, True, False),
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "numpy errors": lambda: np.errstate(all="raise"),
    "flushed denormals": lambda: put(torch.set_flush_denormal, True, False),
    "threads": lambda: put(torch.set_num_threads, 3, torch.get_num_threads()),
}


def numbers(result):
    """All numbers of an estimate that could differ."""
    local = None if result.local is None else result.local.tobytes()
    return result.mi, result.stderr, result.gap, result.pvalue, local, [fold.validation for fold in result.history]


def in_threads(calls, workers=4):
    """Results of calls that start at the same time."""
    start = threading.Barrier(workers)

    def run(own):
        start.wait()
        return [call() for call in own]

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(run, [calls[i::workers] for i in range(workers)]))
    return [found[i % workers][i // workers] for i in range(len(calls))]


#: Settings that each thread has for itself.
OWN = ("bfloat16 autocast", "float16 autocast", "default device", "device block", "inference mode", "no_grad")
NAMES = (*infomax.bounds.names(), *infomax.estimators.names())
TASKS = ("multinormal-dense-3-3-0.5", "normal-1d-1", "1v1-X-0.9", "student-identity-3-3-2", "channel-5-1")


def attack(count, seed=0):
    """Every third input has settings of the whole process on top of those of its thread."""
    rng = np.random.default_rng(seed)
    shared = [name for name in SETTINGS if name not in OWN]
    warnings.simplefilter("ignore", infomax.InfomaxWarning)
    for start in range(0, count, 24):
        cases = [_case(rng) for _ in range(min(24, count - start))]
        expected = [_result(case, ()) for case in cases]
        state = torch.get_rng_state()
        with contextlib.ExitStack() as stack:
            whole = [str(name) for name in rng.choice(shared, 2, replace=False) if start // 24 % 3 == 0]
            for name in whole:
                stack.enter_context(SETTINGS[name]())
            found = in_threads([lambda case=case: _result(case, case[3]) for case in cases], min(4, len(cases)))
        touched = not torch.equal(state, torch.get_rng_state())
        for case, one, other in zip(cases, expected, found, strict=True):
            name = f"{case} {whole}"
            fault = "another number" if one != other else "the global generator changed" if touched else ""
            yield Outcome(name, "wrong", f"{fault}: {one} {other}") if fault else Outcome(name, "right")


def _case(rng):
    settings = [name for name in OWN if rng.random() < 0.3]
    bound, task = str(rng.choice(NAMES)), str(rng.choice(TASKS))
    return bound, task, int(rng.integers(1000)), tuple(settings), int(rng.integers(40, 200))


def _result(case, settings):
    bound, task, seed, _, n = case
    x, y = infomax.tasks.get(task).sample(n, seed)
    schedule = infomax.Schedule(steps=10, check_every=5)
    with contextlib.ExitStack() as stack:
        for name in settings:
            stack.enter_context(SETTINGS[name]())
        return str(
            numbers(infomax.estimate(x, y, bound=bound, seed=seed, quick=True, progress=False, schedule=schedule))
        )
