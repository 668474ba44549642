"""MMIM: encoders, a fusion network, a task loss, and bounds on mutual information at two levels.

Han, Chen and Poria, "Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for Multimodal
Sentiment Analysis", EMNLP 2021, arXiv 2109.00412. The bounds come from :mod:`infomax`, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import infomax
from mmim_example import encoders, imports
from mmim_example.config import Config
from mmim_example.legacy import OfficialCPC, OfficialPair
from mmim_example.reading import Batch


@dataclass(frozen=True)
class Output:
    """The output of the network for a batch of B utterances.

    Attributes:
        representations: h_m ``(B, d_m)`` of each modality; zero where it is missing.
        present: by modality, ``(B,)``, False where it is missing.
        fused: Z ``(B, fusion)``.
        prediction: ``(B,)``, or class scores ``(B, classes)``.
    """

    representations: dict[str, Tensor]
    present: dict[str, Tensor]
    fused: Tensor
    prediction: Tensor


@dataclass(frozen=True)
class Terms:
    """The terms of the loss, each a 0-d tensor: the task loss, and MI in nats for each pair and each modality."""

    task: Tensor
    pairs: dict[str, Tensor]
    fusion: dict[str, Tensor]


class Fusion(nn.Module):
    """Z = tanh(W₂ tanh(W₁ [h_text, h_audio, h_vision])), and the prediction head."""

    def __init__(self, in_dim: int, dim: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.first = nn.Linear(in_dim, dim)
        self.second = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, representations: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.first(self.dropout(torch.cat(list(representations), 1))))
        fused = torch.tanh(self.second(hidden))
        return fused, self.head(fused)


class MMIM(nn.Module):
    """MultiModal InfoMax over two or more modalities.

    Args:
        config: modalities, bounds and weights.
        dims: number of columns of each modality's input. Transformers need none.

    Raises:
        ValueError: if ``dims`` lacks a modality, or a bound does not accept its keywords.
    """

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.dims = config, {name: dims[name] for name in config.modalities if name in dims}
        missing = [m for m, spec in config.modalities.items() if spec.kind != "transformer" and m not in dims]
        if missing:
            raise ValueError(f"dims must name every modality; got {', '.join(dims) or 'none'} without {missing[0]!r}")
        self.encoders = nn.ModuleDict(
            {name: encoders.make(spec, dims.get(name)) for name, spec in config.modalities.items()}
        )
        width = {name: int(encoder.out_dim) for name, encoder in self.encoders.items()}  # type: ignore[arg-type]
        self.fusion = Fusion(sum(width.values()), config.fusion, config.classes, config.dropout)
        # Input level: the first modality of a pair predicts the second. Fusion level: Z predicts each modality.
        self.pair_bounds = nn.ModuleDict(
            {f"{a}-{b}": self._pair_bound(width[a], width[b]) for a, b in config.pairs if config.use_pairs}
        )
        self.fusion_bounds = nn.ModuleDict(
            {name: self._fusion_bound(width[name]) for name in width if config.use_fusion}
        )
        if config.legacy:
            pretrained = {id(p) for p in self.transformer_parameters()}
            for parameter in self.parameters():
                if parameter.ndim > 1 and parameter.requires_grad and id(parameter) not in pretrained:
                    nn.init.xavier_normal_(parameter)

    def _pair_bound(self, x_dim: int, y_dim: int) -> nn.Module:
        config = self.config
        if config.legacy:
            return OfficialPair(x_dim, y_dim)
        bound = _maximised(config.pair_bound, "pair_bound")
        options = dict(config.pair_options or {})
        if bound is infomax.BA:
            density = infomax.ConditionalGaussian(x_dim, y_dim, correlated=config.correlated)
            memory = {"components": self.entropy_components, "capacity": config.memory}
            options = {"density": density} | memory | options
        return _built(bound, x_dim, y_dim, options, "pair")

    def _fusion_bound(self, dim: int) -> nn.Module:
        if self.config.legacy:
            return OfficialCPC(dim, self.config.fusion)
        bound = _maximised(self.config.fusion_bound, "fusion_bound")
        return _built(bound, dim, self.config.fusion, self.config.fusion_options or {}, "fusion")

    @property
    def entropy_components(self) -> int:
        """The number of components in the entropy memory."""
        return {"none": 1, "sign": 3, "label": self.config.classes}[self.config.entropy_classes]

    def _memory_labels(self, labels: Tensor) -> Tensor | None:
        """The component of each row ``(B,)``: negative, zero or positive label; or the label itself."""
        if self.entropy_components == 1:
            return None
        return labels.long() if self.config.entropy_classes == "label" else (labels.sign() + 1).long()

    # --- The network -------------------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """h_m of each modality, zero where it is missing. In the paper h_t = BERT(X_t), and h_v, h_a are LSTMs."""
        representations = {}
        for name, encoder in self.encoders.items():
            key = "tokens" if self.config.modalities[name].kind == "transformer" else name
            encoded = encoder(batch.inputs[key], batch.lengths.get(name))
            present = batch.present[name]
            representations[name] = encoded if bool(present.all()) else encoded.masked_fill(~present[:, None], 0.0)
        return representations

    def forward(self, batch: Batch) -> Output:
        """Encode, fuse and predict."""
        representations = self.encode(batch)
        fused, prediction = self.fusion(list(representations.values()))
        if self.config.target == "regression":
            prediction = prediction.squeeze(1)
        present = {name: batch.present[name] for name in representations}
        return Output(representations, present, fused, prediction)

    # --- The loss ----------------------------------------------------------------------------------------------------

    def terms(self, output: Output, labels: Tensor) -> Terms:
        """The task loss and every bound that is switched on, for this batch.

        For a pair, the paper's Eq. (3): I(X; Y) ≥ E log q(y|x) + H(Y), where X is the first modality and H(Y) comes
        from the Gaussian-mixture memory. For a modality, the negative CPC loss plus log N, which makes it MI in nats:
        log s(h, Z) / Σ_j s(h_j, Z), with s(h, Z) = exp(h · G(Z) / (|h| |G(Z)|)).
        """
        h, present = output.representations, output.present
        if self.config.target == "regression":
            task = F.l1_loss(output.prediction, labels)
        else:
            task = F.cross_entropy(output.prediction, labels.long())
        pairs = {}
        for name, (x, y, bound) in zip(self.pair_bounds, self._pairs(), strict=True):
            given, predicted, labelled = _rows(present[x] & present[y], h[x], h[y], labels)
            pairs[name] = self._pair_value(bound, given, self._noisy(predicted), labelled)
        fusion = {}
        for name, bound in self.fusion_bounds.items():
            given, fused = _rows(present[name], h[name], output.fused)
            fusion[name] = _scalar(bound(given, fused), bound) if len(given) > 1 else task.new_zeros(())
        return Terms(task, pairs, fusion)

    def _pairs(self) -> Iterator[tuple[str, str, nn.Module]]:
        """The modalities and the bound of each pair; nothing if pairs are switched off."""
        for (x, y), bound in zip(self.config.pairs, self.pair_bounds.values(), strict=False):
            yield x, y, bound

    def _pair_value(self, bound: nn.Module, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        if len(x) < (1 if isinstance(bound, infomax.BA) else 2):
            return x.new_zeros(())
        extra: tuple[Tensor | None, ...] = ()
        if isinstance(bound, OfficialPair):
            extra = (labels,)
        elif isinstance(bound, infomax.BA):
            extra = (self._memory_labels(labels),)
        return _scalar(bound(x, y, *extra), bound)

    def _noisy(self, h: Tensor) -> Tensor:
        if not self.config.noise or len(h) < 2:
            return h
        return h + self.config.noise * h.detach().std(0) * torch.randn_like(h)

    def loss(self, terms: Terms) -> Tensor:
        """L = L_task + α L_CPC + β L_BA, where each bound enters with a minus sign: stage 1 maximises it."""
        loss = terms.task
        for value in terms.fusion.values():
            loss = loss - self.config.alpha * value
        for value in terms.pairs.values():
            loss = loss - self.config.beta * value
        return loss

    @torch.no_grad()
    def start_pairs(self, representations: Mapping[str, Tensor], present: Mapping[str, Tensor], labels: Tensor) -> None:
        """Prepare stage 0 for the current encoders: set what has a closed form, and refill the entropy memories."""
        for x, y, bound in self._pairs():
            rows = present[x] & present[y]
            if not isinstance(bound, infomax.Bound) or rows.sum() < 2:
                continue
            given, predicted = representations[x][rows], self._noisy(representations[y][rows])
            if self.config.pair_start:
                infomax.critics.reset(bound)
                bound.warm_start(given, predicted)
            if isinstance(bound, infomax.BA) and bound.memory is not None:
                bound.memory.reset_parameters()
                bound.memory.update(predicted, self._memory_labels(labels[rows]))

    def pair_loss(self, representations: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor | None:
        """The loss of stage 0, for BA −log q(y|x) of each pair; ``None`` if no pair has enough rows."""
        losses = []
        for x, y, bound in self._pairs():
            given, predicted = _rows(present[x] & present[y], representations[x], representations[y])
            if len(given) > 1:
                losses.append(bound.loss(given, self._noisy(predicted)))  # type: ignore[operator]
        return torch.stack(losses).sum() if losses else None

    def ceilings(self, n: int) -> dict[str, dict[str, float | None]]:
        """The largest value in nats that each bound can reach on ``n`` rows; ``None`` if it is unlimited."""
        levels = {"pairs": self.pair_bounds, "fusion": self.fusion_bounds}
        return {
            level: {name: bound.ceiling(n) for name, bound in bounds.items()}  # type: ignore[operator]
            for level, bounds in levels.items()
        }

    # --- For the trainer ---------------------------------------------------------------------------------------------

    def transformer_parameters(self) -> list[nn.Parameter]:
        """Parameters of fine-tuned pretrained models."""
        found = [e.model for e in self.encoders.values() if isinstance(e, encoders.TransformerEncoder)]
        return [p for model in found for p in model.parameters() if p.requires_grad]

    def pair_parameters(self) -> list[nn.Parameter]:
        """Parameters of the pairs' bounds, the only ones that stage 0 trains."""
        return [p for p in self.pair_bounds.parameters() if p.requires_grad]

    def main_parameters(self) -> list[nn.Parameter]:
        """All other trainable parameters."""
        others = {id(p) for p in (*self.transformer_parameters(), *self.pair_parameters())}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in others]

    def start_epoch(self) -> None:
        """Reset the legacy terms at the start of an epoch. The correct terms keep their memory."""
        for bound in self.pair_bounds.values():
            if isinstance(bound, OfficialPair):
                bound.start_epoch()


def _maximised(name: str, setting: str) -> type[infomax.Bound]:
    """The bound of that name.

    Raises:
        ValueError: if there is none, or it is an upper bound: maximising one does not raise the information.
    """
    try:
        bound = infomax.bounds.get(name)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}; one of your own needs --import FILE") from None
    if not issubclass(bound, infomax.Bound):
        raise ValueError(f"{setting} must be a subclass of infomax.Bound; got {bound.__name__}")
    if getattr(bound, "kind", "") == "upper" or issubclass(bound, (infomax.CLUB, infomax.L1Out)):
        raise ValueError(
            f"{setting} must be a bound that can be maximised, as infonce, nwj or ba; got {name!r}, an upper bound, "
            "which is to be minimised"
        )
    return bound


def _built(bound: type[infomax.Bound], x_dim: int, y_dim: int, options: Mapping[str, Any], level: str) -> infomax.Bound:
    try:
        made = bound(x_dim, y_dim, **options)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{bound.name} must accept x_dim={x_dim}, y_dim={y_dim} and {level}_options {', '.join(options) or 'none'}"
            f"; got {imports.reason(error)}"
        ) from error
    return made


def _scalar(value: Any, bound: nn.Module) -> Tensor:
    """The value of a bound on a batch.

    Raises:
        ValueError: if it is not a number in a tensor.
    """
    if not isinstance(value, Tensor) or value.ndim:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{type(bound).__name__} must return a 0-d tensor; got {got}")
    return value


def _rows(rows: Tensor, *values: Tensor) -> list[Tensor]:
    """The selected rows of each tensor; the tensors themselves if all rows are selected, which is usual."""
    return list(values) if bool(rows.all()) else [value[rows] for value in values]
