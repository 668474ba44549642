"""One modality in, one vector an utterance out: utterance vectors, frames of any true length, or tokens of a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmim_example.config import Modality

_LEAST_DEVIATION = 1e-6
#: Deviations at which a standardised value is cut: one wild number would rule every bound that its row is in.
_FARTHEST = 5.0


class Standardize(nn.Module):
    """Centre and scale columns by statistics that are set once, and cut what is far out; before that, the identity."""

    mean: Tensor
    scale: Tensor
    limit: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("limit", torch.tensor(torch.inf))

    @torch.no_grad()
    def fit(self, blocks: Iterable[Tensor]) -> None:
        """Take mean and deviation over the rows of all blocks ``(n, dim)``; a constant column is only centred."""
        count, total, squares = 0, torch.zeros_like(self.mean).double(), torch.zeros_like(self.mean).double()
        for block in blocks:
            rows = block.to(total)
            count, total, squares = count + len(rows), total + rows.sum(0), squares + rows.square().sum(0)
        if not count:
            return
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        # Relative to the mean, so that a constant column's rounding error is not blown up to unit variance.
        constant = deviation <= _LEAST_DEVIATION * (1 + mean.abs())
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, torch.ones_like(deviation), deviation))
        self.limit.fill_(_FARTHEST)

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.scale).clamp(-self.limit, self.limit)


class VectorEncoder(nn.Module):
    """Utterance vectors ``(B, D)`` → ``(B, out_dim)``: linear, with one hidden layer, or as they are."""

    def __init__(self, dim: int, spec: Modality) -> None:
        super().__init__()
        self.standardize = Standardize(dim) if spec.standardize else nn.Identity()
        layers: list[nn.Module] = []
        if spec.hidden:
            layers += [nn.Linear(dim, spec.hidden), nn.ReLU()]
        if spec.out:
            layers += [nn.Dropout(spec.dropout), nn.Linear(spec.hidden or dim, spec.out)]
        self.net = nn.Sequential(*layers)
        self.out_dim = spec.out or spec.hidden or dim

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        encoded: Tensor = self.net(self.standardize(x))
        return encoded


class FrameEncoder(nn.Module):
    """Frames ``(B, T, D)``, right-padded, with true lengths ``(B,)`` → ``(B, out_dim)``: an LSTM's last state.

    The LSTM runs over the padded batch, and the state at each row's last true frame is taken: the same numbers as with
    packed sequences, several times faster on a CPU (one fused kernel a layer). Directions and layers are LSTMs of their
    own, because the backward one has to start at the last true frame. No state that is used has seen any padding.
    """

    def __init__(self, dim: int, spec: Modality) -> None:
        super().__init__()
        self.standardize = Standardize(dim) if spec.standardize else nn.Identity()
        self.bidirectional = spec.bidirectional
        directions = 2 if spec.bidirectional else 1
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.LSTM(directions * spec.hidden if layer else dim, spec.hidden) for _ in range(directions))
            for layer in range(spec.layers)
        )
        self.dropout = nn.Dropout(spec.dropout)
        self.project = nn.Linear(directions * spec.hidden, spec.out)
        self.out_dim = spec.out

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        outputs = [self.standardize(x).transpose(0, 1)]  # (T, B, D), as the kernels have it
        last = (lengths - 1).clamp_min(0)[None, :, None]
        backwards = last
        if self.bidirectional:  # from the last true frame to the first; what comes after is padding again
            steps = torch.arange(x.shape[1], device=x.device)[:, None, None]
            backwards = (last - steps).clamp_min(0)
        for depth, layer in enumerate(self.layers):
            states = self.dropout(torch.cat(outputs, -1)) if depth else outputs[0]
            directions = list(layer.children())
            outputs = [directions[0](states)[0]]
            if self.bidirectional:
                reverse = directions[1](_take(states, backwards))[0]
                final = torch.cat([_take(outputs[0], last), _take(reverse, last)], -1)
                outputs.append(_take(reverse, backwards))
            else:
                final = _take(outputs[0], last)
        encoded: Tensor = self.project(self.dropout(final[0]))
        return encoded


class TransformerEncoder(nn.Module):
    """Tokens ``(B, 3, T)`` (ids, mask, types) → ``(B, out_dim)`` by a Hugging Face model, fine-tuned or frozen.

    Raises:
        ImportError: without the package ``transformers``.
        ValueError: if ``spec.pretrained`` names no model that can be had.
    """

    def __init__(self, spec: Modality) -> None:
        super().__init__()
        self.model = load_transformer(spec.pretrained)
        self.frozen, self.pooling = spec.frozen, spec.pooling
        if spec.frozen:
            self.model.requires_grad_(False)
        width = int(self.model.config.hidden_size)
        self.project = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(width, spec.out)) if spec.out else None
        self.out_dim = spec.out or width

    def train(self, mode: bool = True) -> TransformerEncoder:
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            text = pooled(self.model, tokens, self.pooling)
        return text if self.project is None else self.project(text)


def load_transformer(pretrained: str) -> Any:
    """The Hugging Face model in that directory, or of that name; no code that comes with it is run.

    Raises:
        ImportError: without the package ``transformers``.
        ValueError: if it cannot be had.
    """
    return _from_pretrained("AutoModel", pretrained)


def _from_pretrained(kind: str, pretrained: str) -> Any:
    try:
        import transformers  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ImportError("text encoders need the package transformers: pip install 'infomax[mmim]'") from None
    try:
        return getattr(transformers, kind).from_pretrained(pretrained, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"pretrained must be a model's directory or name; got {pretrained!r}: {error}") from None


def tokenize(texts: Sequence[str], pretrained: str, *, most: int = 50) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Tokens of each text by the model's own tokenizer, cut and padded to ``most``: ``(N, 3, most)``.

    Raises:
        ImportError, ValueError: as :func:`load_transformer`.
    """
    tokenizer = _from_pretrained("AutoTokenizer", pretrained)
    made = tokenizer(list(texts), max_length=most, truncation=True, padding="max_length", return_token_type_ids=True)
    return np.stack([np.asarray(made[key]) for key in ("input_ids", "attention_mask", "token_type_ids")], 1)


@torch.no_grad()
def embed(texts: Sequence[str], pretrained: str, *, pooling: str = "mean", batch: int = 64) -> Tensor:
    """Embeddings of texts by a frozen model, ``(N, D)``; to be kept with the data and used as vectors.

    Raises:
        ImportError, ValueError: as :func:`load_transformer`.
    """
    model = load_transformer(pretrained).eval()
    tokens = torch.from_numpy(tokenize(texts, pretrained, most=128))
    blocks = []
    for block in torch.split(tokens, batch):
        longest = int(block[:, 1].sum(1).max())
        blocks.append(pooled(model, block[:, :, :longest], pooling))
    return torch.cat(blocks)


def pooled(model: Any, tokens: Tensor, pooling: str) -> Tensor:
    """The model's last layer at the first token, or its mean over true tokens: ``(B, width)``."""
    ids, mask, types = tokens.unbind(1)
    if pooling == "first":  # attention to nothing at all is not a number
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], 1)
    accepts_types = getattr(model.config, "type_vocab_size", 0)
    extra = {"token_type_ids": types} if accepts_types else {}
    states: Tensor = model(input_ids=ids, attention_mask=mask, **extra).last_hidden_state
    if pooling == "first":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states)
    return (states * weights).sum(1) / weights.sum(1).clamp_min(1)


def make(spec: Modality, dim: int | None) -> VectorEncoder | FrameEncoder | TransformerEncoder:
    """The encoder of a modality whose input has ``dim`` columns (a transformer's has none)."""
    if spec.kind == "transformer":
        return TransformerEncoder(spec)
    if dim is None:
        raise ValueError(f"dim must be given for an encoder of {spec.kind}; got None")
    return VectorEncoder(dim, spec) if spec.kind == "vector" else FrameEncoder(dim, spec)


def _take(states: Tensor, index: Tensor) -> Tensor:
    """``states (T, B, D)`` at the time steps ``index (S, B, 1)``: ``(S, B, D)``."""
    return states.gather(0, index.expand(-1, -1, states.shape[-1]))
