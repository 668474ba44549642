"""Bounds with their options, and one step of each on rows of a rank or of all."""

import torch
from torch import nn

import infomax
import infomax.command_line.commands
import infomax.command_line.main
from infomax import GlobalBatch, Queue, bounds, distributed

ROWS = 18
#: Seconds after which ranks count as hanging.
TIMEOUT = 600
#: Rows of each rank.
PARTS = {
    2: {"even": (9, 9), "uneven": (13, 5)},
    3: {"even": (6, 6, 6), "uneven": (7, 1, 10), "one without": (8, 0, 10)},
}
EXCHANGED = {
    "infonce separable": ("infonce", {}),
    "infonce bilinear symmetric": ("infonce", {"critic": "bilinear", "symmetric": True}),
    "infonce cosine": ("infonce", {"critic": "cosine"}),
    "cpc": ("cpc", {}),
    "cpc as in mmim": ("cpc", {"hidden": (7,), "normalize": True, "temperature": "learned", "symmetric": True}),
}
SCORED = {
    "infonce concat": ("infonce", {"critic": "concat"}),
    "infonce gaussian_residual symmetric": ("infonce", {"critic": "gaussian_residual", "symmetric": True}),
    "cpc concat": ("cpc", {"critic": "concat"}),
    "nwj concat": ("nwj", {"critic": "concat"}),
}
WHOLE = {name: (name, {}) for name in bounds.names() if name not in ("infonce", "cpc")}
ALL = EXCHANGED | SCORED | WHOLE
#: Bounds with options of a call, by their names in :func:`options_of`.
PAIRED = {
    "infonce negatives labels": ("infonce", {"critic": "cosine"}, ("negatives", "labels")),
    "infonce symmetric mask": ("infonce", {"symmetric": True}, ("mask",)),
    "infonce each weights": ("infonce", {"hardness": 0.5}, ("each", "weights")),
    "infonce concat labels": ("infonce", {"critic": "concat"}, ("negatives", "labels", "mask")),
    "cpc debiased": ("cpc", {"normalize": True, "debias": 0.1, "symmetric": True}, ()),
    "cpc in positives": ("cpc", {"placement": "in"}, ("positives", "row_weights")),
    "cpc negatives": ("cpc", {}, ("negatives",)),
    "nwj negatives mask": ("nwj", {}, ("negatives", "mask")),
    "smile weights": ("smile", {"critic": "concat"}, ("weights",)),
    "tuba each row_weights": ("tuba", {}, ("each", "row_weights")),
    "siglip negatives labels": ("siglip", {"bias": None}, ("negatives", "labels")),
    "siglip positives mask": ("siglip", {}, ("positives", "mask")),
}
X_DIM, Y_DIM, IN = 6, 5, 4


class Model(nn.Module):
    """Two encoders and a bound of what they make."""

    def __init__(self, case, shared=None, **options):
        super().__init__()
        torch.manual_seed(0)
        self.x, self.y = nn.Linear(IN, X_DIM), nn.Linear(IN, Y_DIM)
        name, settings = (ALL | PAIRED)[case][:2]
        bound = bounds.get(name)(X_DIM, Y_DIM, **settings)
        self.bound = GlobalBatch(bound, **options) if shared else bound
        self.name = name

    def further(self, negatives):
        return self.x(negatives) if self.name == "cpc" else self.y(negatives)

    def forward(self, x, y, **options):
        if "negatives" in options:
            options["negatives"] = self.further(options["negatives"])
        return self.bound(self.x(x), self.y(y), **options)


def options_of(case, part, dtype):
    """The options of a case for some rows."""
    if case not in PAIRED:
        return {}
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    found = {
        "negatives": normal(ROWS, IN)[part],
        "each": normal(ROWS, 3, IN)[part],
        "mask": (normal(ROWS, ROWS) > 0.5)[part],
        "positives": (normal(ROWS, ROWS) > 0.8)[part],
        "weights": normal(ROWS, ROWS).abs()[part],
        "row_weights": normal(ROWS).abs()[part],
        "labels": (torch.arange(ROWS) % 5)[part],
    }
    if {"negatives", "mask"} <= set(PAIRED[case][2]):  # as many pairs as negatives: of all candidates
        found["mask"] = torch.nn.functional.pad(found["mask"], (0, ROWS))
    renamed = {"each": "negatives", "row_weights": "weights"}
    return {renamed.get(name, name): found[name] for name in PAIRED[case][2]}


def data(dtype=torch.float64, rows=ROWS):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, IN, generator=generator, dtype=torch.float64)
    return x.to(dtype), (x + torch.randn(rows, IN, generator=generator, dtype=torch.float64)).to(dtype)


def step(case, part=slice(None), *, shared=False, dtype=torch.float64, rows=ROWS, **options):
    """Value and gradients of one batch, of which this process has a part."""
    model = Model(case, shared, **options).to(dtype)
    x, y = (side[part].clone().requires_grad_() for side in data(dtype, rows))
    torch.manual_seed(2)  # of bounds that draw
    value = model(x, y, **options_of(case, part, dtype))
    value.backward()
    distributed.average_gradients(model.parameters())
    named = {name.replace("bound.bound.", "bound."): p for name, p in model.named_parameters()}
    found = {f"parameter {name}": p.grad for name, p in named.items() if p.grad is not None}
    return found | {"value": value.detach(), "x": x.grad, "y": y.grad}


def loss_and_pointwise(case, part=slice(None), *, shared=False):
    model = Model(case, shared).double()
    x, y = data()
    torch.manual_seed(2)
    loss = model.bound.loss(model.x(x[part]), model.y(y[part]))
    loss.backward()
    distributed.average_gradients(model.parameters())
    torch.manual_seed(2)
    pointwise = model.eval().bound.pointwise(model.x(x[part]), model.y(y[part]))
    return {"loss": loss.detach(), "pointwise": pointwise.detach(), "x": model.x.weight.grad.clone()}


def paired_pointwise(case, part=slice(None), *, shared=False):
    model = Model(case, shared).double()
    x, y = data()
    options = options_of(case, part, torch.float64)
    if "negatives" in options:
        options["negatives"] = model.further(options["negatives"])
    with torch.no_grad():
        return {"pointwise": model.bound.pointwise(model.x(x[part]), model.y(y[part]), **options)}


#: Options of the calls of a queue.
QUEUED = ("", "labels", "mask")


def queued(option, part=slice(None), *, shared=False, inside=False):
    """The third of three steps with a queue of 25 ys, and its memory afterwards."""
    torch.manual_seed(0)
    bound = infomax.InfoNCE(IN, IN, critic="cosine").double()
    queue = Queue(GlobalBatch(bound) if shared and not inside else bound, 25)
    called = GlobalBatch(queue) if inside else queue
    options = {"labels": torch.arange(ROWS) % 5, "mask": data()[0] @ data()[1].T > 2.0}
    own = {option: options[option][part]} if option else {}
    for step in range(3):
        x, y = (side[ROWS * step :][:ROWS][part].clone().requires_grad_() for side in data(rows=3 * ROWS))
        value = called(x, y, **own)
    value.backward()
    distributed.average_gradients(queue.parameters())
    found = {f"parameter {name.rpartition('.critic.')[2]}": p.grad for name, p in queue.named_parameters()}
    return found | {"value": value.detach(), "x": x.grad, "y": y.grad, "memory": queue.memory, "labels": queue.labels}
