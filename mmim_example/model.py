"""MMIM: encoders, a fusion network, a task loss, and bounds on mutual information at two levels.

Han, Chen and Poria, "Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for Multimodal
Sentiment Analysis", EMNLP 2021, arXiv 2109.00412. The bounds come from :mod:`infomax`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmim_example import encoders
from mmim_example.config import Config
from mmim_example.loss import noisy, scalar, selected
from mmim_example.objectives import of
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
        self._initialise("encoders", "fusion")  # before the bounds, so that every objective starts from one network
        # Input level: the first modality of a pair predicts the second. Fusion level: Z predicts each modality.
        objective = of(config)
        pairs = config.pairs if config.use_pairs else ()
        self.pairs = {f"{a}-{b}": (a, b, objective.pair(width[a], width[b])) for a, b in pairs}
        self.pair_bounds = nn.ModuleDict({name: pair.bound for name, (_, _, pair) in self.pairs.items()})
        self.fusion_bounds = nn.ModuleDict({name: objective.fusion(width[name]) for name in width if config.use_fusion})
        self._initialise("pair_bounds", "fusion_bounds")

    def _initialise(self, *parts: str) -> None:
        """With ``init="xavier"``, draw all matrices outside transformers again: variance 2 / (columns + rows)."""
        for name, parameter in self._parameters_of(*parts) if self.config.init == "xavier" else ():
            if not name.startswith(self._transformers()) and parameter.ndim > 1:
                nn.init.xavier_normal_(parameter)

    # --- The network -------------------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """h_m of each modality, zero where it is missing. In the paper h_t = BERT(X_t), and h_v, h_a are LSTMs."""
        representations = {}
        for name, encoder in self.encoders.items():
            key = "tokens" if self.config.modalities[name].kind == "transformer" else name
            present = batch.present[name]
            with self._autocast(present.device):
                encoded = _single(encoder(batch.inputs[key], batch.lengths.get(name)))
            representations[name] = encoded if bool(present.all()) else encoded.masked_fill(~present[:, None], 0.0)
        return representations

    def forward(self, batch: Batch) -> Output:
        """Encode, fuse and predict."""
        representations = self.encode(batch)
        with self._autocast(batch.labels.device):
            fused, prediction = map(_single, self.fusion(list(representations.values())))
        if self.config.target == "regression":
            prediction = prediction.squeeze(1)
        present = {name: batch.present[name] for name in representations}
        return Output(representations, present, fused, prediction)

    def _autocast(self, device: torch.device) -> torch.autocast:
        """With ``amp="bf16"``, bfloat16 for what is computed in this context. The losses are computed outside it."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.config.amp == "bf16")

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
        for name, (x, y, pair) in self.pairs.items():
            given, predicted, labelled = selected(present[x] & present[y], h[x], h[y], labels)
            enough, predicted = len(given) >= pair.least, noisy(predicted, self.config.noise)
            pairs[name] = pair.value(given, predicted, labelled) if enough else task.new_zeros(())
        fusion = {}
        for name, bound in self.fusion_bounds.items():
            given, fused = selected(present[name], h[name], output.fused)
            fusion[name] = scalar(bound(given, fused), bound) if len(given) > 1 else task.new_zeros(())
        return Terms(task, pairs, fusion)

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
        for x, y, pair in self.pairs.values():
            given, predicted, labelled = selected(
                present[x] & present[y], representations[x], representations[y], labels
            )
            if len(given) > 1:
                pair.start(given, predicted, labelled)

    def pair_loss(self, representations: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor | None:
        """The loss of stage 0, for BA −log q(y|x) of each pair; ``None`` if no pair has enough rows."""
        losses = []
        for x, y, pair in self.pairs.values():
            given, predicted = selected(present[x] & present[y], representations[x], representations[y])
            if len(given) > 1:
                losses.append(pair.loss(given, noisy(predicted, self.config.noise)))
        return torch.stack(losses).sum() if losses else None

    def ceilings(self, n: int) -> dict[str, dict[str, float | None]]:
        """The largest value in nats that each bound can reach on ``n`` rows; ``None`` if it is unlimited."""
        levels = {"pairs": self.pair_bounds, "fusion": self.fusion_bounds}
        return {
            level: {name: bound.ceiling(n) for name, bound in bounds.items()}  # type: ignore[operator]
            for level, bounds in levels.items()
        }

    # --- For the trainer ---------------------------------------------------------------------------------------------

    def _transformers(self) -> tuple[str, ...]:
        """How the names of the parameters of pretrained models begin."""
        kinds = {name: spec.kind for name, spec in self.config.modalities.items()}
        return tuple(f"encoders.{name}.model." for name, kind in kinds.items() if kind == "transformer")

    def _parameters_of(self, *parts: str) -> list[tuple[str, nn.Parameter]]:
        """Trainable parameters of these parts of the model, by name."""
        named = self.named_parameters()
        return [(name, p) for name, p in named if p.requires_grad and name.split(".")[0] in parts]

    def transformer_parameters(self) -> list[nn.Parameter]:
        """Parameters of fine-tuned pretrained models."""
        return [p for name, p in self._parameters_of("encoders") if name.startswith(self._transformers())]

    def pair_parameters(self) -> list[nn.Parameter]:
        """Parameters of the pairs' bounds, the only ones that stage 0 trains."""
        return [p for _, p in self._parameters_of("pair_bounds")]

    def main_parameters(self) -> list[nn.Parameter]:
        """All other trainable parameters."""
        named = self._parameters_of("encoders", "fusion", "fusion_bounds")
        return [p for name, p in named if not name.startswith(self._transformers())]

    def start_epoch(self) -> None:
        """Prepare the pairs for stage 1 of an epoch."""
        for _, _, pair in self.pairs.values():
            pair.start_epoch()


def _single(x: Tensor) -> Tensor:
    """``x`` in float32 if autocast made it bfloat16."""
    return x.float() if x.dtype == torch.bfloat16 else x
