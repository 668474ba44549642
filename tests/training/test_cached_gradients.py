"""Gradients in chunks are those of the whole batch, with the activations of one chunk in memory."""

import copy

import pytest
import torch
from torch import nn

from infomax import CPC, InfoNCE, SequenceCPC, cached_backward

N = 24


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def encoder(in_dim=5, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(in_dim, 16), nn.LayerNorm(16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4)]
    return nn.Sequential(*layers).double()


def loss_of(cls=CPC):
    torch.manual_seed(1)
    options = {"normalize": True} if cls is CPC else {"critic": "cosine"}
    return cls(4, 4, temperature="learned" if cls is CPC else None, **options).double()


def gradients(modules):
    parameters = {id(p): p for module in modules for p in module.parameters()}.values()
    return [p.grad for p in parameters]


def assert_same(found, wanted, **tolerances):
    assert len(found) == len(wanted)
    for came, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(came, expected, **({"rtol": 1e-9, "atol": 1e-12} | tolerances))


@pytest.mark.parametrize("chunk", [1, 7, 24, 100])
@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_those_of_the_whole_batch(chunk, shared):
    """Of two encoders, or one with two views, of a learned temperature, and of an input; added to what was there."""
    found = []
    for cached in (False, True):
        a = encoder()
        b = a if shared else encoder(seed=3)
        bound = loss_of()
        x, y = normal(N, 5, seed=4).requires_grad_(), normal(N, 5, seed=5)
        bound(a(x), b(y)).backward()  # an earlier gradient
        if cached:
            value = cached_backward(bound.loss, [a, b], [x, y], chunk=chunk)
            assert not value.requires_grad
        else:
            value = bound.loss(a(x), b(y))
            value.backward()
        found.append([value.detach(), x.grad, *gradients([a, b, bound])])
    assert_same(found[1], found[0])


def test_float32_to_one_in_a_million():
    found = []
    for cached in (False, True):
        a, bound = encoder().float(), loss_of(InfoNCE).float()
        x = normal(600, 5, seed=6).float()
        if cached:
            cached_backward(lambda z, bound=bound: bound.loss(z, z), a, x, chunk=64)
        else:
            z = a(x)
            bound.loss(z, z).backward()
        found.append(torch.cat([each.flatten() for each in gradients([a, bound])]))
    assert (found[1] - found[0]).norm() <= 1e-6 * found[0].norm()


def test_arguments_keywords_and_other_numbers_of_rows():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = encoder(7)

        def forward(self, x, more):
            return self.layer(torch.cat([x, more], 1))

    x, more, y, further = (normal(n, d, seed=i) for i, (n, d) in enumerate([(N, 5), (N, 2), (N, 5), (31, 5)]))
    for inputs in ((x, more), {"x": x, "more": more}):
        found = []
        for cached in (False, True):
            a, b, bound = Joined(), encoder(seed=2), loss_of(InfoNCE)

            def loss(z, w, v, bound=bound):
                return bound.loss(z, w, negatives=v)

            if cached:
                cached_backward(loss, [a, b, b], [inputs, y, further], chunk=10)
            else:
                loss(a(x, more), b(y), b(further)).backward()
            found.append(gradients([a, b, bound]))
        assert_same(found[1], found[0])


def test_dropout_draws_the_same_masks_again():
    """One chunk is the whole batch bit for bit; several chunks are the same chunks with their graphs kept."""
    for chunk in (N, 7):
        found = []
        for cached in (False, True):
            a, bound = encoder(dropout=0.5), loss_of()
            noise = nn.Dropout(0.2)

            def loss(z, w, bound=bound, noise=noise):
                return bound.loss(noise(z), w)

            x, y = normal(N, 5, seed=4), normal(N, 5, seed=5)
            torch.manual_seed(7)
            if cached:
                cached_backward(loss, [a, a], [x, y], chunk=chunk)
            else:
                loss(*(torch.cat([a(part) for part in each.split(chunk)]) for each in (x, y))).backward()
            found.append([*gradients([a, bound]), torch.rand(3)])  # the generator goes on as after one pass
        assert_same(found[1], found[0])


def test_autocast():
    """In bfloat16, where autocast keeps casts of the weights."""
    found = []
    for cached in (False, True):
        a, bound = encoder().float(), loss_of(InfoNCE).float()
        x = normal(N, 5, seed=6).float()
        with torch.autocast("cpu", torch.bfloat16):
            if cached:
                cached_backward(lambda z, bound=bound: bound.loss(z, z), a, x, chunk=6)
            else:
                z = torch.cat([a(part) for part in x.split(6)])
                loss = bound.loss(z, z)
        if not cached:
            loss.backward()
        found.append(gradients([a, bound]))
    assert_same(found[1], found[0], rtol=0.02, atol=1e-3)


class Kept:
    """The largest number of bytes that are saved for backward passes at a time."""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, tensor):
        return Saved(self, tensor)

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda saved: saved.tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)


class Saved:
    def __init__(self, kept, tensor):
        self.kept, self.tensor = kept, tensor
        of_weights = isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)
        self.size = 0 if of_weights else tensor.numel() * tensor.element_size()
        kept.now += self.size
        kept.most = max(kept.most, kept.now)

    def __del__(self):
        self.kept.now -= self.size


def test_memory_is_that_of_one_chunk():
    """What is saved for the backward pass, at its peak: that of the loss, or that of a chunk in one encoder."""

    def peak(n, chunk):
        a = nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.Tanh()))).double()
        x = normal(n, 64)
        with Kept() as kept:
            if chunk:
                cached_backward(lambda z: z.square().mean(), a, x, chunk=chunk)
            else:
                a(x).square().mean().backward()
        return kept.most

    whole, of_chunk = peak(512, None), peak(32, None)
    assert whole == 16 * of_chunk
    embeddings = 512 * 64 * 8
    assert of_chunk <= peak(512, 32) <= max(of_chunk, embeddings)
    assert peak(1024, 32) <= max(of_chunk, 2 * embeddings)


def test_sequences_and_encoders_without_parameters():
    found = []
    for cached in (False, True):
        a = encoder()
        torch.manual_seed(0)
        bound = SequenceCPC(4, steps=2, context_dim=6).double()
        x = normal(N, 8, 5)
        if cached:
            cached_backward(lambda z, w, bound=bound: bound.loss(z + w), [a, torch.tanh], [x, x[..., :4]], chunk=5)
        else:
            bound.loss(a(x) + torch.tanh(x[..., :4])).backward()
        found.append(gradients([a, bound]))
    assert_same(found[1], found[0])


class Exchanging(nn.Module):
    """Counts the backward passes that would exchange gradients, as DistributedDataParallel does."""

    def __init__(self):
        super().__init__()
        self.inner, self.exchanges, self.syncs = encoder(), 0, True

    def no_sync(self):
        one = self

        class Without:
            def __enter__(self):
                one.syncs = False

            def __exit__(self, *error):
                one.syncs = True

        return Without()

    def forward(self, x):
        if torch.is_grad_enabled():
            self.exchanges += self.syncs
        return self.inner(x)


def test_gradients_are_exchanged_once():
    a, bound = Exchanging(), loss_of()
    cached_backward(bound.loss, [a, a], [normal(N, 5), normal(N, 5, seed=1)], chunk=7)
    assert a.exchanges == 1
    cached_backward(lambda z, w: z.square().mean(), [a, a], [normal(N, 5), normal(N, 5, seed=1)], chunk=7)
    assert a.exchanges == 2


class OwnNoise(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator, self.layer = torch.Generator().manual_seed(0), encoder()

    def forward(self, x):
        return self.layer(x + torch.randn(x.shape, generator=self.generator, dtype=x.dtype))


def normalised():
    return nn.Sequential(encoder(), nn.BatchNorm1d(4)).double()


@pytest.mark.parametrize(
    ("encoders", "inputs", "chunk", "message"),
    [
        (encoder(), normal(N, 5), 0, "chunk must be at least 1; got 0"),
        ([encoder()], [normal(N, 5)] * 2, 4, "inputs must have one entry for each encoder; got 2 and 1"),
        (normalised(), normal(N, 5), 4, "BatchNorm1d '1' normalises by the statistics of a chunk"),
        (OwnNoise(), normal(N, 5), 4, "encoders must return the same embeddings when they are called again"),
        (encoder(), (normal(N, 5), normal(3, 5)), 4, r"same number of rows; got \[3, 24\]"),
        (encoder(), normal(N, 5).requires_grad_() * 2, 4, "inputs must be leaves or have no gradients"),
    ],
)
def test_errors(encoders, inputs, chunk, message):
    with pytest.raises(ValueError, match=message):
        cached_backward(lambda z: z.square().mean(), encoders, inputs, chunk=chunk)


def test_other_errors():
    with pytest.raises(TypeError, match="encoders must return a tensor; got tuple"):
        cached_backward(lambda z: z.mean(), lambda x: (x, x), normal(N, 5), chunk=4)
    with pytest.raises(TypeError, match="inputs must be tensors, or tuples or dicts of tensors; got int"):
        cached_backward(lambda z: z.mean(), encoder(), (normal(N, 5), 3), chunk=4)
    evaluated = copy.deepcopy(normalised()).eval()
    assert cached_backward(lambda z: z.square().mean(), evaluated, normal(N, 5), chunk=4) > 0
