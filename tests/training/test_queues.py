"""A queue of earlier ys is a list of negatives that loops keep."""

import copy
import io
import math
import warnings

import pytest
import torch

from infomax import CPC, NWJ, GlobalBatch, InfoNCE, Queue, SequenceCPC

N, SIZE = 6, 10


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bound(cls=InfoNCE, **options):
    torch.manual_seed(0)
    return cls(3, 2, **options).double()


def batches(steps, rows=N):
    return [(normal(rows, 3, seed=2 * i), normal(rows, 2, seed=2 * i + 1)) for i in range(steps)]


def labels_of(step):
    return torch.randint(0, 4, (N,), generator=torch.Generator().manual_seed(100 + step))


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("cls", [InfoNCE, CPC])
def test_values_and_gradients_are_those_of_a_list_of_the_last_rows(cls, labelled, tiled):
    """Six rows a step and ten places: rows wrap around, and the oldest go first."""
    one = bound(cls)
    one.tiled_from = 2 if tiled else math.inf
    queue, rows, labels = Queue(one, SIZE), [], []
    for step, (x, y) in enumerate(batches(5)):
        x.requires_grad_()
        y.requires_grad_()
        own = {"labels": labels_of(step)} if labelled else {}
        options = {"negatives": torch.stack(rows)} if rows else {}
        if labelled:
            options["labels"] = torch.cat([own["labels"], *([torch.stack(labels)] if labels else [])])
        expected = one(x, y, **options)
        wanted = torch.autograd.grad(expected, [x, y, *one.parameters()])
        torch.testing.assert_close(queue.pointwise(x, y, **own), one.pointwise(x, y, **options), rtol=1e-12, atol=1e-12)
        assert queue.ceiling(N, **own) == pytest.approx(one.ceiling(N, **options), rel=1e-12)
        assert queue.held == len(rows)
        value = queue(x, y, **own) if step % 2 else -queue.loss(x, y, **own)
        assert queue.held == min(len(rows) + N, SIZE)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        found = torch.autograd.grad(value, [x, y, *one.parameters()])  # after the memory has changed
        for came, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(came, want, rtol=1e-10, atol=1e-12)
        rows = [*rows, *(x if cls is CPC else y).detach()][-SIZE:]
        labels = [*labels, *own.get("labels", [])][-SIZE:]
    assert sorted(queue.memory.tolist()) == sorted(torch.stack(rows).tolist())
    assert not queue.memory.requires_grad


def test_a_batch_of_more_rows_than_the_queue_leaves_its_last_rows():
    queue = Queue(bound(), 4)
    (x, y), (_, later) = batches(2)
    queue(x, y)
    assert sorted(queue.memory.tolist()) == sorted(y[2:].tolist())
    queue(x[:3], later[:3])
    assert sorted(queue.memory.tolist()) == sorted([y[5].tolist(), *later[:3].tolist()])


def test_evaluation_uses_the_queue_and_leaves_it_alone():
    queue = Queue(bound(), SIZE)
    (x, y), (other, partner) = batches(2)
    queue(x, y)
    before = copy.deepcopy(queue.state_dict())
    value = queue.eval()(other, partner)
    torch.testing.assert_close(value, queue.bound(other, partner, negatives=y), rtol=1e-12, atol=1e-12)
    after = queue.state_dict()
    assert all(after[name].equal(each) for name, each in before.items())
    assert queue.ceiling(N) == pytest.approx(math.log(2 * N))
    queue.train().clear()
    assert queue.ceiling(N) == pytest.approx(math.log(N))
    torch.testing.assert_close(queue(other, partner), queue.bound(other, partner), rtol=1e-12, atol=1e-12)


def test_the_state_continues_bit_for_bit():
    queue, data = Queue(bound(), SIZE), batches(6)
    for step in range(3):
        queue(*data[step], labels=labels_of(step))
    file = io.BytesIO()
    torch.save(queue.state_dict(), file)
    file.seek(0)
    other = Queue(InfoNCE(3, 2).double(), SIZE)
    other.load_state_dict(torch.load(file, weights_only=True))
    twin = copy.deepcopy(queue)
    for step in range(3, 6):
        values = [each(*data[step], labels=labels_of(step)) for each in (queue, other, twin)]
        assert values[0].equal(values[1])
        assert values[0].equal(values[2])
    assert all(each.equal(other.state_dict()[name]) for name, each in queue.state_dict().items())


def test_matrices_are_about_the_batch():
    """Also where the queue holds as many ys as the batch has."""
    one = bound()
    queue, ((x, y), (other, partner)) = Queue(one, N), batches(2)
    queue(x, y)
    queue.eval()
    mask = (normal(N, N, seed=9) > 0.5) & ~torch.eye(N, dtype=torch.bool)
    weights, positives = normal(N, N, seed=10).abs(), mask | torch.eye(N, dtype=torch.bool)
    none, ones = torch.zeros(N, N, dtype=torch.bool), torch.ones(N, N)
    for name, matrix, further in (("mask", mask, none), ("weights", weights, ones), ("positives", positives, none)):
        expected = one(other, partner, negatives=y, **{name: torch.cat([matrix, further.to(matrix)], 1)})
        torch.testing.assert_close(queue(other, partner, **{name: matrix}), expected, rtol=1e-12, atol=1e-12)


def test_a_mask_of_the_whole_batch_is_moco():
    """Cross-entropy of each row's own pair among that pair and the queue."""
    torch.manual_seed(0)
    queue = Queue(InfoNCE(3, 3, critic="bilinear", temperature=0.5).double(), SIZE)
    x, y, held = normal(N, 3), normal(N, 3, seed=1), normal(SIZE, 3, seed=2)
    queue(held, held)
    with torch.no_grad():
        a = queue.bound.critic.embed(x, y)[0]  # divided by the temperature
        logits = torch.cat([(a * y).sum(1, keepdim=True), a @ held.T], 1)
        expected = torch.nn.functional.cross_entropy(logits, torch.zeros(N, dtype=torch.long))
    loss = queue.loss(x, y, mask=torch.ones(N, N, dtype=torch.bool))
    assert loss.item() == pytest.approx(expected.item() - math.log(SIZE + 1), rel=1e-12)


@pytest.mark.slow
def test_compiled():
    queue = Queue(CPC(3, 2), SIZE).double()
    twin = copy.deepcopy(queue)
    torch._dynamo.reset()
    compiled = torch.compile(twin, backend="aot_eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        for x, y in batches(5):
            torch.testing.assert_close(compiled(x, y), queue(x, y), rtol=1e-10, atol=1e-12)
    assert twin.memory.equal(queue.memory)


def test_autocast_and_types():
    queue = Queue(InfoNCE(3, 2), SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        for x, y in batches(3):
            value = queue(x.float(), y.bfloat16())
            value.backward()
    assert value.dtype is queue.memory.dtype is torch.float32
    assert queue.to(torch.float64).memory.dtype is torch.float64
    assert queue.labels.dtype is torch.int64


def test_errors():
    for other in (NWJ(3, 2), SequenceCPC(3), GlobalBatch(NWJ(3, 2)), torch.nn.Linear(3, 2)):
        with pytest.raises(TypeError, match="bound must be InfoNCE, CPC, or GlobalBatch"):
            Queue(other, 5)
    for size in (0, -1, 2.5, None):
        with pytest.raises(ValueError, match="size must be a whole number of at least 1"):
            Queue(bound(), size)
    with pytest.raises(ValueError, match="exchange must be 'gather' with a queue"):
        Queue(GlobalBatch(bound(), exchange="ring"), 5)
    queue, (x, y) = Queue(bound(), SIZE), batches(1)[0]
    with pytest.raises(ValueError, match=r"y must have shape \(N, 2\)"):
        queue(x, x)
    assert queue.held == 0
    with pytest.raises(ValueError, match="negatives must not be given"):
        queue(x, y, negatives=y)
    queue(x, y)
    with pytest.raises(ValueError, match="or in none; earlier calls had none; got labels"):
        queue(x, y, labels=labels_of(0))
    queue.clear()
    queue(x, y, labels=labels_of(0))
    with pytest.raises(ValueError, match="or in none; earlier calls had labels; got none"):
        queue(x, y)
    with pytest.raises(ValueError, match=r"labels must have shape"):
        queue(x, y, labels=labels_of(0)[:3])
    with pytest.raises(RuntimeError, match="size mismatch for memory"):
        Queue(bound(), SIZE + 1).load_state_dict(queue.state_dict())
