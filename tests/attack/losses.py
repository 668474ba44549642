"""Bounds on odd batches: any dtype, autocast, scale, layout and degenerate data, with any critic and option."""

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from attack.loss_values import gaussian_log_prob, loss_of, value_of
from attack.odd_tensors import LAYOUTS, REFUSED, SLOW
from attack.outcome import Outcome, outcome
from torch import nn

from infomax import Bound, GlobalBatch, InnerProducts, bounds, critics
from infomax.bounds import objectives
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.upper import Exchanged

TITLE = "Calls of bounds and objectives"
LARGE = 4000

X_DIM, Y_DIM = 3, 2


@dataclass(frozen=True)
class Mode:
    """Types of the module's parameters, of the inputs and of autocast; the precision of scores; the largest scale."""

    own: torch.dtype
    given: torch.dtype
    autocast_type: torch.dtype | None
    precision: float
    most: int = 6

    def autocast(self):
        return torch.autocast("cpu", self.autocast_type, enabled=self.autocast_type is not None)


MODES = {
    "float32": Mode(torch.float32, torch.float32, None, 2.0**-23),
    "float64": Mode(torch.float64, torch.float64, None, 2.0**-52),
    "float16 autocast": Mode(torch.float32, torch.float32, torch.float16, 2.0**-23),
    "bfloat16 autocast": Mode(torch.float32, torch.float32, torch.bfloat16, 2.0**-7),
    "float16 inputs in autocast": Mode(torch.float32, torch.float16, torch.float16, 2.0**-10, 2),
    "bfloat16 inputs in autocast": Mode(torch.float32, torch.bfloat16, torch.bfloat16, 2.0**-7),
    "bfloat16": Mode(torch.bfloat16, torch.bfloat16, None, 2.0**-7),
    "float16": Mode(torch.float16, torch.float16, None, 2.0**-10, 0),
}
OPTIONS = {
    "infonce": [{}, {"symmetric": True}],
    "cpc": [
        {},
        {"symmetric": True},
        {"normalize": True},
        {"temperature": "learned", "normalize": True},
        {"hidden": (8,)},
    ],
    "infonce_anchor": [{}, {"anchor": 1.0}, {"anchor": 1e-6}, {"anchor": 1e6}],
    "smile": [{}, {"tau": 0.1}, {"tau": 50.0}, {"tau": math.inf}],
    "fdime": [{"divergence": name} for name in ("gan", "kl", "hellinger")],
    "interpolated": [{"alpha": alpha} for alpha in (0.0, 1e-6, 0.5, 1.0)],
    "tuba": [{}, {"baseline": "constant"}],
    "mine": [{}, {"decay": 0.0}],
    "ba": [{}, {"entropy": 1.5}, {"entropy": "lower"}, {"entropy": "upper"}, {"capacity": 5}, {"components": 3}],
    "doe": [{}, {}, {"densities": "flow"}],
}
DATA = ("normal", "constant column", "constant", "zero", "few rows", "outlier", "offset", "equal", "alternating")
CALLS = ("forward", "forward", "loss", "pointwise", "leave_out", "global batch", "several", "objective")


class Dot(nn.Module):
    """A critic without parameters."""

    def embed(self, x, y):
        return x[:, :Y_DIM], y

    def forward(self, x, y):
        return x[:, :Y_DIM] @ y.T


CRITICS = {
    **{name: (lambda name=name: critics.make(name, X_DIM, Y_DIM)) for name in critics.names()},
    "dot": Dot,
    "concat in tiles": lambda: critics.Concat(X_DIM, Y_DIM, hidden=(8, 8), tile=37),
    "cosine, cold": lambda: critics.Cosine(X_DIM, Y_DIM, temperature=1e-4, learn_temperature=False),
    "predictor, learned": lambda: critics.Predictor(X_DIM, Y_DIM, normalize=True, temperature="learned"),
    "residual of concat": lambda: critics.GaussianResidual(X_DIM, Y_DIM, residual=critics.make("concat", X_DIM, Y_DIM)),
}


def attack(count: int, seed: int) -> Iterator[Outcome]:
    """Calls of bounds, one fifth of which must be refused."""
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        yield refusal(rng, i) if i % 5 == 4 else call(rng, i)


def pairs(rng, n, data, scale):
    """Odd pairs in float64, ``(n, 3)`` and ``(n, 2)``."""
    x = rng.normal(size=(n, X_DIM))
    y = x[:, :Y_DIM] + rng.normal(size=(n, Y_DIM))
    if data == "constant column":
        x[:, 0], y[:, 1] = 1.0, -2.0
    elif data in ("constant", "zero"):
        x[:], y[:] = (1.0, -2.0) if data == "constant" else (0.0, 0.0)
    elif data == "few rows":
        rows = rng.integers(0, min(3, n), n)
        x, y = x[rows], y[rows]
    elif data == "outlier":
        x[0], y[-1] = 1e3 * x[0], 1e3 * y[-1]
    elif data == "offset":
        x, y = x + 1e3, y - 1e3
    elif data == "equal":
        y = x[:, :Y_DIM].copy()
    elif data == "alternating":
        x, y = (np.where(np.arange(n)[:, None] % 2, 1.0, -1.0) * np.ones((n, d)) for d in (X_DIM, Y_DIM))
    return scale * x, scale * y


def make(rng, name, seed):
    """A bound with random options and parameters, and a text that names them."""
    cls = bounds.get(name)
    options = dict(OPTIONS.get(name, [{}])[rng.integers(len(OPTIONS.get(name, [{}])))])
    text = ", ".join(f"{key}={value}" for key, value in options.items())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if issubclass(cls, Contrastive) and not (name == "cpc" and set(options) - {"symmetric"}):
            chosen = rng.choice(list(CRITICS))
            options["critic"], text = CRITICS[chosen](), f"{text} {chosen}"
        bound = cls(X_DIM, Y_DIM, **options)
    return bound, f"{name}({text.strip()})"


@dataclass
class Call:
    """A bound and one batch: ``pair`` in the layout and type of the attack."""

    bound: Bound
    kind: str
    mode: Mode
    pair: tuple[torch.Tensor, torch.Tensor]
    labels: list[torch.Tensor]

    def judge(self) -> str | None:
        """What is wrong with the value or the gradients, or what was changed."""
        before = *(side.clone() for side in self.pair), torch.get_rng_state()
        bound = copy.deepcopy(self.bound)
        inputs = [side.detach().requires_grad_() for side in self.pair]
        with self.mode.autocast(), warnings.catch_warnings():
            warnings.simplefilter("error")
            result = self.evaluate(bound, *inputs)
        slopes = (
            torch.autograd.grad(result.sum() / result.numel(), [*inputs, *bound.parameters()], allow_unused=True)
            if result.requires_grad
            else ()
        )
        if not all(map(torch.equal, before, (*self.pair, torch.get_rng_state()))):
            return "inputs or the global random state were changed"
        if not result.isfinite().all():
            return f"the value is {result.detach().view(-1)[:3]}"
        # In float16 a slope can be too large for its own type.
        if not all(slope.isfinite().all() for slope in slopes if slope is not None and slope.dtype != torch.float16):
            return "a gradient is not finite"
        if result.dtype in (torch.float16, torch.bfloat16):
            return f"the result has {result.dtype}"
        with torch.no_grad():
            scored = isinstance(bound, Contrastive) or (isinstance(bound, Exchanged) and self.kind != "loss")
            return (self.judge_scores if scored else self.judge_densities)(result.detach())

    def evaluate(self, bound, x, y):
        """The result of this kind of call."""
        if self.kind == "leave_out" and len(x) > 3 and not self.labels:
            return bound.leave_out(x, y, list(torch.arange(len(x)).chunk(2)))
        if self.kind == "several" and isinstance(bound, Contrastive):
            other = bounds.get("infonce")(X_DIM, Y_DIM, critic=bound.critic)
            other.tiled_from, other.tile = bound.tiled_from, bound.tile
            return bounds.several([bound, other], x, y)
        if self.kind == "objective" and isinstance(bound, Contrastive):
            return bound.objective(bound.scores(x, y))
        if self.kind == "loss":
            return bound.loss(x, y)
        call = {"pointwise": bound.pointwise, "global batch": GlobalBatch(bound)}.get(self.kind, bound)
        return call(x, y, *self.labels)

    def exact(self):
        """The bound and its inputs in float64, in evaluation mode."""
        return copy.deepcopy(self.bound).double().eval(), [side.double().resolve_neg() for side in self.pair]

    def judge_scores(self, result):
        """Compare with the formula on the scores in float64; and scores with those of a float64 critic."""
        exact, wide = self.exact()
        scores, spread = self.matrix(copy.deepcopy(self.bound).eval(), self.pair)
        reference, _ = self.matrix(exact, wide)
        size = max(1.0, spread, np.abs(scores).max())
        if self.mode.precision < 1e-6:
            factor = 1e4 if isinstance(exact, Exchanged) else 1.0  # squares of residuals over small variances
            largest = max(size, np.abs(reference).max(), *(float(side.abs().max()) for side in wide))
            error = np.abs(scores - reference).max()
            if not error <= factor * max(100 * self.mode.precision * largest, 1e-4):
                return f"scores differ by {error:.3g} of {size:.3g}"
        if self.kind == "pointwise" or (self.kind == "leave_out" and len(scores) > 3):
            return None
        value, sensitivity = (loss_of if self.kind == "loss" else value_of)(exact, scores)
        found, rounding = float(result.view(-1)[0]), torch.finfo(result.dtype).eps
        allowed = 50 * rounding * (sensitivity * (size + math.log(len(scores)) + 1) + abs(value)) + 1e-9
        return f"{found:.9g} instead of {value:.9g}" if not abs(found - value) <= allowed else None

    def matrix(self, bound, pair):
        """Scores or log-densities as float64, and the largest size of the terms that they are summed from."""
        with self.mode.autocast():
            scores = bound.scores(*pair) if isinstance(bound, Contrastive) else bound.log_probs(*pair)
        if not isinstance(scores, InnerProducts):
            return scores.double().numpy(), 1.0
        a, b = scores.a.double(), scores.b.double()
        return (a @ b.T).numpy(), float(a.norm(dim=1).max() * b.norm(dim=1).max())

    def judge_densities(self, result):
        """Compare with the same bound in float64, and that one's log-densities with the formula."""
        exact, (x, y) = self.exact()
        own = exact.log_prob(x, y)
        reference = self.evaluate(exact.train(self.bound.training), x, y)
        error = float((result.double() - reference).abs().max())
        size = 1 + max(float(own.abs().max()), float(reference.abs().max()))
        if self.mode.precision < 1e-6 and not error <= max(3000 * self.mode.precision, 1e-9) * size:
            return f"{result.view(-1)[:3]} instead of {reference.view(-1)[:3]}"
        density = exact.density
        if hasattr(density, "moments"):
            moments = (moment.numpy() for moment in density.moments(x))
            formula = gaussian_log_prob(
                y.numpy(), *moments, None if density.regression is None else density.regression.numpy()
            )
            if not np.allclose(own, formula, rtol=1e-9, atol=1e-9):
                return "log-densities differ from the formula"
        return None


def call(rng, i) -> Outcome:
    """A bound on one batch: its value, its gradients, and what it leaves alone."""
    name = bounds.names()[i % len(bounds.names())]
    bound, text = make(rng, name, i)
    chosen, data, kind, layout = (rng.choice(list(of)) for of in (MODES, DATA, CALLS, LAYOUTS))
    if "densities=flow" in text and chosen in ("bfloat16", "float16"):
        chosen = "float32"  # the splines of the package zuko need more digits
    mode = MODES[chosen]
    scale = 10.0 ** rng.integers(-6, mode.most + 1)
    n = int(rng.choice([2, 3, 5, 16, 17, 40, 64] * 3 + [100, 200, 600]))
    x, y = pairs(rng, n, data, scale)
    if mode.given is torch.float16:
        x, y = np.clip(x, -1e4, 1e4), np.clip(y, -1e4, 1e4)
    bound.train(bool(rng.random() < 0.5))
    warm = bool(rng.random() < 0.5) and data not in ("zero", "constant") and n > 3 and chosen != "float16"
    if isinstance(bound, Contrastive) and rng.random() < 0.6:
        tiles = [(7, 9), (1, 1) if n < 50 else (60, 7), (64, 50), (600, 3), None]
        bound.tiled_from, bound.tile = 2, tiles[rng.integers(len(tiles))]
        bound.narrow = torch.bfloat16 if rng.random() < 0.2 else None
    labels = [torch.arange(n) % 3] if "components=3" in text else []
    pair = tuple(LAYOUTS[layout](torch.tensor(side).to(mode.given)).detach() for side in (x, y))
    case = (
        f"{i}: {text} {chosen}, {data} * {scale:.0e}, N={n}, {kind}, {layout}, {'train' if bound.training else 'eval'}"
        f"{', warm' * warm}, tiles {bound.tile if getattr(bound, 'tiled_from', 0) == 2 else 'no'}"
    )

    def judge() -> str | None:
        if warm:
            bound.warm_start(*(torch.tensor(side, dtype=torch.float32) for side in (x, y)))
        return Call(bound.to(mode.own), kind, mode, pair, labels).judge()

    return outcome(case, judge)


def refusal(rng, i) -> Outcome:
    """Something that is no dense tensor of floating-point numbers, in place of one of the arguments."""
    tensors = REFUSED | SLOW if i > 500 else REFUSED
    odd = tensors[chosen := str(rng.choice(list(tensors)))]
    n = int(rng.choice([4, 16, 600]))
    x, y = (torch.randn(n, d, generator=torch.Generator().manual_seed(i)) for d in (X_DIM, Y_DIM))
    place = rng.choice(["x", "y", "scores", "log_probs", "a", "b", "memory"])
    if place in ("x", "y"):
        bound, text = make(rng, rng.choice(bounds.names()), i)
        how = rng.choice(["forward", "loss", "pointwise"])
        target = getattr(GlobalBatch(bound) if rng.random() < 0.2 else bound, how)

        def run():
            value = odd(x if place == "x" else y)
            target(value, y) if place == "x" else target(x, value)

    elif place in ("a", "b"):
        text, how = "InnerProducts", ""

        def run():
            value = odd(x)
            InnerProducts(value, x) if place == "a" else InnerProducts(x, value)

    elif place == "memory":
        bound, text, how = bounds.get("ba")(X_DIM, Y_DIM), "memory", rng.choice(["forward", "update", "log_prob"])
        place = "y"

        def run():
            getattr(bound.memory, how)(odd(y))

    else:
        name = rng.choice(["club_pointwise", "l1out_pointwise"] if place == "log_probs" else list(OBJECTIVES))
        text, how = f"objectives.{name}", ""
        square = torch.randn(16, 16, generator=torch.Generator().manual_seed(i))

        def run():
            getattr(objectives, name)(odd(square), *OBJECTIVES.get(name, ()))

    def must_fail() -> str:
        run()
        return "accepted"

    return outcome(f"{i}: {text} {how} with {chosen} as {place}", must_fail, names=(f"{place} must",))


#: Objectives with their further arguments.
OBJECTIVES = {
    **dict.fromkeys(("infonce", "infonce_both", "infonce_pointwise", "nwj", "donsker_varadhan"), ()),
    **dict.fromkeys(("donsker_varadhan_pointwise", "jensen_shannon", "squared_hellinger"), ()),
    "mine": (torch.zeros(()),),
    "interpolated": (0.5,),
    "interpolated_pointwise": (0.5,),
    "anchored_classification": (1.0,),
    "smile_pointwise": (5.0,),
}
