"""Contrastive predictive coding of sequences, beside plain loops, exact expectations and processes of known MI."""

import itertools
import math
import warnings

import pytest
import torch
from torch import nn

from infomax import CPC, SequenceCPC
from infomax.bounds import sequences

N, T, D, K = 5, 7, 3, 3
LENGTHS = torch.tensor([7, 5, 0, 2, 6])
MASK = torch.rand(N, T, generator=torch.Generator().manual_seed(1)) > 0.7
PADDING = {"none": {}, "lengths": {"lengths": LENGTHS}, "mask": {"mask": MASK}}
NEGATIVES = ("batch", "sequence", "both")


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


X = normal(N, T, D)


def bound(**options):
    torch.manual_seed(0)
    return SequenceCPC(D, **({"steps": K, "context_dim": 5} | options)).double()


def kept(padding):
    return torch.arange(T) < LENGTHS[:, None] if padding == "lengths" else ~MASK if padding == "mask" else MASK | ~MASK


def naive(one, x, padding):
    """The mean over rows, and that of the logs of the numbers that were compared, straight from the definition."""
    there = kept(padding)
    x = torch.where(there[:, :, None], x, 0.0)
    contexts, _ = one.context(x)
    values, ceilings = [], []
    for k, predictor in enumerate(one.predictors, 1):
        rows = [(n, t) for n in range(N) for t in range(T - k) if there[n, t] and there[n, t + k]]
        terms, logs = [], []
        of_rows = [torch.stack(each) for each in zip(*((x[n, t + k], contexts[n, t]) for n, t in rows), strict=True)]
        scores = predictor.critic(*of_rows)
        for i, (n, t) in enumerate(rows):
            compared = {
                "batch": [j for j, (_, s) in enumerate(rows) if s == t],
                "sequence": [j for j, (m, _) in enumerate(rows) if m == n],
                "both": range(len(rows)),
            }[one.negatives]
            if len(compared) < 2:
                continue
            terms.append(scores[i, i] - scores[list(compared), i].exp().mean().log())
            logs.append(math.log(len(compared)))
        values.append(sum(terms) / len(terms))
        ceilings.append(sum(logs) / len(logs))
    return torch.stack(values), ceilings


def value_and_gradients(function, x, parameters):
    x = x.clone().requires_grad_()
    values = function(x)
    weights = torch.arange(1.0, len(values) + 1, dtype=values.dtype)
    return [values.detach(), *torch.autograd.grad(values @ weights, [x, *parameters])]


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_values_and_gradients_are_those_of_plain_loops(negatives, padding, monkeypatch):
    """In one block, in blocks that are computed again, in tiles, and by a critic that has no factors."""
    for critic in ("predictor", "concat") if padding == "lengths" else ("predictor",):
        one = bound(negatives=negatives, critic=critic)
        wanted = value_and_gradients(lambda x, one=one: naive(one, x, padding)[0], X, one.parameters())
        assert one.ceiling(N, T, **PADDING[padding]).tolist() == pytest.approx(naive(one, X, padding)[1])
        for way in ("whole", "blocks", "tiles"):
            monkeypatch.setattr(sequences, "_BLOCK_ELEMENTS", 100 if way == "blocks" else 1 << 22)
            for predictor in one.predictors:
                predictor.tiled_from, predictor.tile = (2, (8, 9)) if way == "tiles" else (math.inf, None)
            found = value_and_gradients(lambda x, one=one: one(x, **PADDING[padding]), X, one.parameters())
            for came, expected in zip(found, wanted, strict=True):
                torch.testing.assert_close(came, expected, rtol=1e-9, atol=1e-12)


def test_padding_is_not_read():
    for padding in ("lengths", "mask"):
        nothing = torch.where(kept(padding)[:, :, None], X, math.nan)
        for negatives in NEGATIVES:
            one = bound(negatives=negatives)
            assert bool((one(nothing, **PADDING[padding]) == one(X, **PADDING[padding])).all())
            assert bool(one(X, **PADDING[padding]).isfinite().all())
    one = bound()
    shorter = one(X[:, :6], lengths=LENGTHS.clamp_max(6))
    torch.testing.assert_close(one(X, lengths=LENGTHS.clamp_max(6)), shorter)
    torch.testing.assert_close(one.contexts(X[:, :5]), one.contexts(X)[:, :5])


def test_loss_and_a_cosine_ceiling():
    one = bound(normalize=True, temperature=0.5)
    assert one.loss(X).item() == pytest.approx(-one(X).mean().item())
    largest = math.log(N) - math.log1p((N - 1) * math.exp(-4.0))
    assert one.ceiling(N, T).tolist() == pytest.approx([largest] * K)
    assert [bound(negatives=each).kind for each in NEGATIVES] == ["lower", "estimate", "estimate"]
    assert one.predictors[0].ceiling(N) == pytest.approx(largest)


class Sum(nn.Module):
    """The sum of what has been read, up to each step."""

    def forward(self, x):
        return x.cumsum(1)


def set_to(one, factor):
    """f(x, c) = factor · xᵀc."""
    layer = one.predictors[0].critic.predict[0]
    layer.weight.copy_(factor * torch.eye(len(layer.weight)))
    layer.bias.zero_()
    return one


def test_other_sequences_give_a_lower_bound_in_exact_expectation():
    """Of a chain of two states that stays with 80 %: over all batches of two sequences of three steps."""
    states = torch.tensor(list(itertools.product(range(2), repeat=6))).view(-1, 2, 3)
    stays = (states[:, :, 1:] == states[:, :, :-1]).double()
    probability = (0.5 * (0.8 * stays + 0.2 * (1 - stays)).prod(2)).prod(1)
    truth = math.log(2) + 0.8 * math.log(0.8) + 0.2 * math.log(0.2)
    values = []
    for factor in (-2.0, 0.0, 0.7, math.log(4), 3.0):
        one = set_to(SequenceCPC(2, context=nn.Identity(), steps=1).double().requires_grad_(False), factor)
        of_batches = torch.stack([one(nn.functional.one_hot(each, 2).double())[0] for each in states])
        values.append(float(probability @ of_batches))
    assert max(values) <= truth
    assert max(values) > 0.08


def test_negatives_of_the_own_sequence_exceed_mutual_information():
    """Independent elements: it is 0. A context that has summed up what it read rejects elements that it has seen."""
    x = torch.eye(48, dtype=torch.float64)[torch.randperm(48, generator=torch.Generator().manual_seed(0))].view(
        4, 12, 48
    )
    for negatives, compared in (("batch", None), ("sequence", 11), ("both", 44)):
        one = SequenceCPC(48, context=Sum(), steps=1, negatives=negatives).double().requires_grad_(False)
        possible = [1.0 if compared is None else compared / (compared - seen) for seen in range(11)]
        assert set_to(one, -40.0)(x)[0].item() == pytest.approx(sum(map(math.log, possible)) / 11, abs=1e-12)


def test_precision():
    """Scores are float32 or wider where embeddings are not."""
    one = bound().float()
    x = X.float()
    wanted = one(x)
    for dtype, tolerance in ((torch.bfloat16, 0.02), (torch.float16, 0.003)):
        with torch.autocast("cpu", dtype):
            value = one(x)
            assert value.dtype is torch.float32
        torch.testing.assert_close(value, wanted, rtol=0, atol=tolerance)
    large = 1000 * normal(40, 5, 64, dtype=torch.float16)
    torch.manual_seed(0)
    wide = SequenceCPC(64, steps=2, context_dim=64)
    with torch.autocast("cpu", torch.float16):
        assert bool(wide(large).isfinite().all()), "inner products pass 65,504"


@pytest.mark.parametrize(
    "negatives",
    ["batch", pytest.param("sequence", marks=pytest.mark.slow), pytest.param("both", marks=pytest.mark.slow)],
)
def test_compiled(negatives):
    one = bound(negatives=negatives, steps=1)
    expected = value_and_gradients(one, X, one.parameters())
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        found = value_and_gradients(torch.compile(one, backend="aot_eager"), X, one.parameters())
    for came, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(came, wanted)


def test_state_dict():
    one, other = bound(), SequenceCPC(D, steps=K, context_dim=5).double()
    assert not torch.equal(one(X), other(X))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(X), other(X))


class Mean(nn.Module):
    def forward(self, x):
        return x - x.mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bound(steps=0), "steps must be a whole number of at least 1; got 0"),
        (lambda: bound(negatives="time"), "negatives must be one of batch, sequence, both; got 'time'"),
        (lambda: bound(context="lstm"), "context must be 'gru' or a torch.nn.Module; got 'lstm'"),
        (lambda: bound(context=nn.GRU(D, 4)), "context must treat sequences independently; .* batch_first=True"),
        (lambda: bound(context=nn.GRU(D, 4, batch_first=True, bidirectional=True)), "context must be causal"),
        (lambda: bound(context=Mean()), "context must be causal"),
        (lambda: bound(context=nn.Flatten()), r"context must return shape \(3, 7, C\) for \(3, 7, 3\); got \(3, 21\)"),
        (lambda: bound()(X[0]), r"x must have shape \(N, T, 3\); got \(7, 3\)"),
        (lambda: bound()(X[:, :3]), "x must have more than 3 elements in a sequence, because of steps; got 3"),
        (lambda: bound()(X[:1]), "x must have two elements to compare at the same step; step 1 has none"),
        (lambda: bound(negatives="sequence")(X[:, :4]), "compare in the same sequence; step 3 has none"),
        (lambda: bound()(X, lengths=LENGTHS.clamp_max(3)), "step 3 has none"),
        (lambda: bound()(X, lengths=LENGTHS + 1), "lengths must lie between 0 and 7; got 8"),
        (lambda: bound()(X, lengths=LENGTHS[:2]), r"lengths must have shape \(5,\); got \(2,\)"),
        (lambda: bound()(X, mask=MASK[:2]), r"mask must have shape \(5, 7\); got \(2, 7\)"),
        (lambda: bound()(X, mask=MASK, lengths=LENGTHS), "lengths and mask must not both be given"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bound(critic=nn.Identity()), "critic must be a name or a function .* got the module Identity"),
        (lambda: bound(context=len), "context must be 'gru' or a torch.nn.Module; got builtin_function_or_method"),
        (lambda: bound()(X.float()), "x must have the dtype of the bound's parameters, torch.float64"),
        (lambda: bound()(X.long()), "x must be a dense tensor of float16"),
        (lambda: bound()(X, lengths=LENGTHS.double()), "lengths must be a tensor of integers; got torch.float64"),
        (lambda: bound()(X, mask=MASK.long()), "mask must be a tensor of booleans; got torch.int64"),
    ],
)
def test_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_own_contexts_and_critics():
    """A module's training mode is kept; a critic is made for each step."""
    context = nn.LSTM(D, 7, batch_first=True)
    one = bound(context=context, critic=lambda x_dim, c_dim: CPC(x_dim, c_dim, hidden=(4,)).critic)
    assert one.context is context
    assert context.training
    assert one.context_dim == 7
    assert len({id(predictor.critic) for predictor in one.predictors}) == K
    assert one(X).shape == (K,)


# --- Processes with known mutual information --------------------------------------------------------------------------


def noisy_autoregression(n, length, seed, *, decay, noise, dim):
    """A stationary autoregression of order 1 with variance 1, observed with noise: one step is not all of the past."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(n, dim, generator=generator)
    steps = []
    for _ in range(length):
        steps.append(state + noise * torch.randn(n, dim, generator=generator))
        state = decay * state + (1 - decay**2) ** 0.5 * torch.randn(n, dim, generator=generator)
    return torch.stack(steps, 1)


def information(past, ahead, *, decay, noise, dim):
    """I(the last ``past`` observations; the one ``ahead`` later) in nats, from the covariance."""
    times = torch.tensor([*range(past), past - 1 + ahead], dtype=torch.float64)
    covariance = decay ** (times[:, None] - times).abs() + noise**2 * torch.eye(past + 1, dtype=torch.float64)
    joint, seen = torch.logdet(covariance), torch.logdet(covariance[:-1, :-1])
    return dim * 0.5 * float(seen + covariance[-1, -1].log() - joint)


@pytest.mark.slow
def test_a_trained_context_reaches_the_information_of_a_gaussian_process():
    """It finds what all of the past says, which is more than the last element does, and never exceeds it."""
    process = {"decay": 0.95, "noise": 0.6, "dim": 2}
    steps, length = 3, 24
    torch.manual_seed(0)
    one = SequenceCPC(2, steps=steps, context_dim=32, critic="separable")
    optimizer = torch.optim.Adam(one.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=1200)
    for i in range(1200):
        optimizer.zero_grad()
        one.loss(noisy_autoregression(128, length, i, **process)).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = torch.stack([one(noisy_autoregression(256, length, 10_000 + i, **process)) for i in range(40)])
    value, error = found.mean(0).tolist(), (found.std(0) / len(found) ** 0.5).tolist()
    for k in range(1, steps + 1):
        truth = sum(information(past, k, **process) for past in range(1, length - k + 1)) / (length - k)
        last = information(1, k, **process)
        assert value[k - 1] < truth + 3 * error[k - 1]
        assert value[k - 1] > truth - 0.02
        assert value[k - 1] > last + 0.08


def words(n, seed):
    """Six words, the orders of three phones of random durations, by speakers who shift all frames; with lengths."""
    generator = torch.Generator().manual_seed(seed)
    phones = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    orders = torch.tensor(list(itertools.permutations(range(3))))
    labels = torch.randint(6, (n,), generator=generator)
    durations = torch.randint(4, 8, (n, 3), generator=generator)
    ends, lengths = durations.cumsum(1), durations.sum(1)
    place = (torch.arange(21) >= ends[:, :, None]).sum(1).clamp_max(2)
    frames = phones[orders[labels].gather(1, place)]
    speakers = 0.3 * torch.randn(n, 1, 8, generator=generator)
    return frames + speakers + 0.5 * torch.randn(n, 21, 8, generator=generator), lengths, labels


@pytest.mark.slow
def test_contexts_of_words_know_the_order_of_their_phones():
    """A linear probe of mean contexts recognises words whose mean frames are alike."""
    from sklearn.linear_model import LogisticRegression

    torch.manual_seed(0)
    one = SequenceCPC(8, steps=6, context_dim=48, critic="separable")
    optimizer = torch.optim.Adam(one.parameters(), 2e-3)
    start = [p.detach().clone() for p in one.parameters()]
    for i in range(300):
        x, lengths, _ = words(64, i)
        optimizer.zero_grad()
        one.loss(x, lengths=lengths).backward()
        optimizer.step()

    def accuracy(features_of):
        found = []
        for seed in (10_001, 10_002):
            x, lengths, labels = words(600, seed)
            there = (torch.arange(21) < lengths[:, None])[:, :, None]
            with torch.no_grad():
                means = torch.where(there, features_of(x, lengths), 0.0).sum(1) / lengths[:, None]
            found.append((means.numpy(), labels.numpy()))
        return LogisticRegression(max_iter=2000).fit(*found[0]).score(*found[1])

    x, lengths, _ = words(256, 10_000)
    values, ceilings = one(x, lengths=lengths), one.ceiling(*x.shape[:2], lengths=lengths)
    assert bool((values > 0.3).all() and (values < ceilings).all())
    frames = accuracy(lambda x, _: x)
    trained = accuracy(lambda x, lengths: one.contexts(x, lengths=lengths))
    with torch.no_grad():
        for parameter, first in zip(one.parameters(), start, strict=True):
            parameter.copy_(first)
    untrained = accuracy(lambda x, lengths: one.contexts(x, lengths=lengths))
    assert frames < 0.35
    assert trained > 0.95
    assert trained > untrained, (frames, untrained, trained)
