"""The configuration of a run: modalities, loss terms and weights, optimisation. Stored as JSON."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from mmim_example.reading.files import read_json, write_text

#: The number of axes of the input, by the kind of an encoder; :func:`mmim_example.encoders.register` adds kinds. The
#: input of a transformer is tokens.
ENCODERS: dict[str, int] = {"vector": 2, "frames": 3, "transformer": 3}
Target = Literal["regression", "classification"]
EntropyClasses = Literal["sign", "label", "none"]
Metrics = Literal["mosi", "sims"]
Init = Literal["pytorch", "xavier"]
Amp = Literal["none", "bf16"]


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


#: By the type of a default: the types that a value may have, in words and as classes.
_KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),
    str: ("text", (str,)),
}


#: The largest integer, and the length of a message with a value of any kind.
_LARGEST, _MESSAGE = 2**53, 300


def _typed(given: Any) -> None:
    """Refuse a value of another type than its default, as the text "False" or a fraction for an integer."""
    for setting in dataclasses.fields(given):
        value, default = getattr(given, setting.name), setting.default
        if type(default) not in _KINDS:
            continue
        kind, allowed = _KINDS[type(default)]
        if not isinstance(value, allowed) or (isinstance(value, bool) and not isinstance(default, bool)):
            raise ValueError(f"{setting.name} must be {kind}; got {value!r}"[:_MESSAGE])
        if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
            raise ValueError(f"{setting.name} must be at most {_LARGEST}; got {str(value)[:20]}…")


def _at_least(name: str, value: float, least: int) -> None:
    if not least <= value < math.inf:
        raise ValueError(f"{name} must be at least {least} and finite; got {value}")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1); got {value}")


#: Options of bounds, by level and name, that differ from the bound's own defaults: the paper's CPC is normalised.
_BOUND_OPTIONS: dict[tuple[str, Any], dict[str, Any]] = {("fusion", "cpc"): {"normalize": True}}


@dataclass(frozen=True)
class Modality:
    """How one modality is encoded.

    Attributes:
        kind: "vector" (one row for each utterance), "frames" (an LSTM over frames), "transformer" (a Hugging Face
            model over tokens), or one of your own.
        out: dimension of the representation. 0: no final linear layer, so the dimension of what comes before it.
        hidden: width of the hidden layer of "vector" (0: linear), or of the LSTM.
        layers, bidirectional: depth and direction of the LSTM.
        dropout: dropout rate before the last layer.
        standardize: standardise each column by the training split's mean and deviation, and clip it at 5 deviations.
        pretrained: directory or name of the transformer.
        frozen: do not fine-tune the transformer.
        pooling: "first" (the [CLS] token) or "mean" over the tokens.
    """

    kind: str = "vector"
    out: int = 16
    hidden: int = 0
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.1
    standardize: bool = True
    pretrained: str = ""
    frozen: bool = False
    pooling: Literal["first", "mean"] = "first"

    def __post_init__(self) -> None:
        _typed(self)
        if self.kind not in ENCODERS:
            known = ", ".join(ENCODERS)
            raise ValueError(f"kind must be one of {known}, or your own by --import FILE; got {self.kind!r}")
        _one_of("pooling", self.pooling, ("first", "mean"))
        for name in ("out", "hidden"):
            _at_least(name, getattr(self, name), 0)
        _at_least("layers", self.layers, 1)
        _share("dropout", self.dropout)
        if self.kind == "frames":
            _at_least("hidden", self.hidden, 1)
            _at_least("out", self.out, 1)
        if (self.kind == "transformer") != bool(self.pretrained):
            raise ValueError(
                f"pretrained must name a model for kind 'transformer', and be empty for other kinds; got "
                f"{self.pretrained!r} for {self.kind!r}"
            )


@dataclass(frozen=True)
class Config:
    """Everything that determines the result of a run, except the data.

    Attributes:
        modalities: two or more, by name. Their order is that of the fusion.
        target: "regression" (L1 loss) or "classification" (cross-entropy).
        classes: number of classes; 1 for regression.
        fusion: dimension of the fused representation Z.
        dropout: dropout rate before the fusion.
        pairs: modalities whose MI is maximised at the input level. The first of a pair predicts the second.
        pair_bound, pair_options: the bound for each pair, by its name in ``infomax.bounds``, and its keywords.
        fusion_bound, fusion_options: the bound between each modality and Z, likewise. Keywords may include ``critic``.
        alpha, beta: weights of the bounds at the fusion level and at the input level.
        use_fusion, use_pairs: switches for the two levels.
        correlated: whether q(y|x) of BA has correlated coordinates. In the paper it has not.
        noise: deviation of the noise added to the second modality of a pair, in units of each coordinate's deviation.
            MI with a noisy copy is at most MI, so a correct value for the copy is a lower bound. Without noise,
            representations may lie near a surface, where no shrunk covariance follows their density, and the value can
            exceed MI by nats. With ``entropy_classes`` "none" it can do so even with noise.
        entropy_classes: components of the entropy memory: by the "sign" of the label (negative, zero, positive), by
            the "label" itself (classification), or "none".
        memory: rows that the memory keeps for each component.
        legacy: use the objective of the published code instead; see ``legacy.py``.
        init: initial weights outside transformers: "pytorch" keeps those of each layer, and "xavier" draws all matrices
            again, as the published code does.
        batch_size, epochs, seed: as usual. The last, smaller batch is used.
        lr, lr_transformer, lr_pairs: learning rates: of transformers, of the pairs' bounds, and (``lr``) of the rest.
        weight_decay: L2 penalty of both optimisers.
        clip: largest gradient norm.
        accumulate: batches for each optimiser step.
        patience: epochs without a better validation loss before training stops.
        lr_patience: epochs without a better validation loss before learning rates are halved.
        pair_share: share of the training rows that stage 0 uses in each epoch.
        pair_start: start stage 0 from the closed-form solution, where a bound has one (BA: the linear part of q).
        amp: "bf16" computes encoders and fusion in bfloat16 where PyTorch's autocast does. Weights, LSTMs, bounds and
            losses stay in float32. "none": everything in float32.
        threads: number of PyTorch threads on the CPU; 0 leaves it unchanged.
    """

    modalities: Mapping[str, Modality]
    target: Target = "regression"
    classes: int = 1
    metrics: Metrics = "mosi"
    fusion: int = 128
    dropout: float = 0.1
    pairs: tuple[tuple[str, str], ...] = (("text", "vision"), ("text", "audio"))
    pair_bound: str = "ba"
    pair_options: Mapping[str, Any] | None = None
    fusion_bound: str = "cpc"
    fusion_options: Mapping[str, Any] | None = None
    alpha: float = 0.1
    beta: float = 0.1
    use_fusion: bool = True
    use_pairs: bool = True
    correlated: bool = False
    noise: float = 0.0
    entropy_classes: EntropyClasses = "sign"
    memory: int = 256
    legacy: bool = False
    init: Init = "pytorch"
    batch_size: int = 32
    epochs: int = 40
    seed: int = 0
    lr: float = 1e-3
    lr_transformer: float = 5e-5
    lr_pairs: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    accumulate: int = 1
    patience: int = 10
    lr_patience: int = 5
    pair_share: float = 1.0
    pair_start: bool = False
    amp: Amp = "none"
    threads: int = 0

    def __post_init__(self) -> None:
        _typed(self)
        for level in ("pair", "fusion"):
            if getattr(self, f"{level}_options") is None:
                bound = getattr(self, f"{level}_bound")
                object.__setattr__(self, f"{level}_options", dict(_BOUND_OPTIONS.get((level, bound), {})))
        self._check_modalities()
        _one_of("target", self.target, get_args(Target))
        _one_of("metrics", self.metrics, get_args(Metrics))
        _one_of("init", self.init, get_args(Init))
        _one_of("amp", self.amp, get_args(Amp))
        _one_of("entropy_classes", self.entropy_classes, get_args(EntropyClasses))
        if (self.target == "classification") != (self.classes > 1):
            raise ValueError(f"classes must be 1 for regression and more for classification; got {self.classes}")
        if self.entropy_classes == "label" and self.target != "classification":
            raise ValueError("entropy_classes must be 'sign' or 'none' for regression; got 'label'")
        for name in ("fusion", "memory", "batch_size", "epochs", "accumulate", "patience"):
            _at_least(name, getattr(self, name), 1)
        for name in ("alpha", "beta", "noise", "weight_decay", "lr_patience", "threads", "seed"):
            _at_least(name, getattr(self, name), 0)
        for name in ("lr", "lr_transformer", "lr_pairs", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite; got {getattr(self, name)}")
        _share("dropout", self.dropout)
        if not 0 < self.pair_share <= 1:
            raise ValueError(f"pair_share must lie in (0, 1]; got {self.pair_share}")

    def _check_modalities(self) -> None:
        for name in self.modalities:
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) or hasattr(nn.ModuleDict, name):
                raise ValueError(f"names of modalities must consist of letters, digits and _; got {name!r}")
        for name in ("pair_options", "fusion_options"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} must be an object of keywords; got {getattr(self, name)!r}")
        if len(self.modalities) < 2:
            raise ValueError(f"modalities must be two or more; got {', '.join(self.modalities) or 'none'}")
        for name, spec in self.modalities.items():
            if spec.kind == "transformer" and name != "text":
                raise ValueError(f"kind must be 'vector' or 'frames' for modalities other than text; got {name!r}")
        if len(set(self.pairs)) < len(self.pairs):
            raise ValueError(f"pairs must differ from each other; got {self.pairs!r}")
        for pair in self.pairs:
            if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(self.modalities):
                known = ", ".join(self.modalities)
                raise ValueError(f"each pair must be two different modalities among {known}; got {tuple(pair)!r}")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain containers, which JSON can represent."""
        return dataclasses.asdict(self) | {"pairs": [list(pair) for pair in self.pairs]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Config:
        """The inverse of :meth:`to_dict`.

        Before ``init`` was a setting, the published objective always had the published initialisation. So "legacy"
        without "init" has "xavier".

        Raises:
            ValueError: for unknown names, with a suggestion, and for values out of range.
        """
        _known(plain, cls)
        if not isinstance(plain.get("modalities"), Mapping):
            raise ValueError(f"modalities must be an object; got {plain.get('modalities')!r}")
        modalities = {}
        for name, modality in plain["modalities"].items():
            if not isinstance(modality, Mapping):
                raise ValueError(f"modalities.{name} must be an object; got {modality!r}")
            _known(modality, Modality)
            modalities[name] = Modality(**modality)
        given = {"init": "xavier" if plain.get("legacy") is True else "pytorch"} | dict(plain)
        given |= {"modalities": modalities}
        if "pairs" in given:
            if not isinstance(given["pairs"], list | tuple) or not all(
                isinstance(pair, list | tuple) and all(isinstance(name, str) for name in pair)
                for pair in given["pairs"]
            ):
                raise ValueError(f"pairs must be a list of pairs of names; got {given['pairs']!r}")
            given["pairs"] = tuple(tuple(pair) for pair in given["pairs"])
        return cls(**given)

    def changed(self, changes: Mapping[str, Any]) -> Config:
        """A copy with changed settings, each by its name: "alpha", or "modalities.text.hidden".

        Args:
            changes: name → value, in plain containers; applied in this order.

        Raises:
            ValueError: for unknown settings, and as :meth:`from_dict`.
        """
        plain, changes = self.to_dict(), copy.deepcopy(dict(changes))
        for level in ("pair", "fusion"):
            bound = changes.get(f"{level}_bound", plain[f"{level}_bound"])
            if bound != plain[f"{level}_bound"]:
                plain[f"{level}_options"] = dict(_BOUND_OPTIONS.get((level, bound), {}))
        for name, value in changes.items():
            place: Any = plain
            *path, last = name.split(".")
            for step in path:
                place = place.get(step)
                if not isinstance(place, dict):
                    raise ValueError(
                        f"settings must be those in config.json; got {name!r}, but there is no group {step!r}"
                    )
            place[last] = value
        return Config.from_dict(plain)

    def replace(self, **changes: Any) -> Config:
        """A validated copy with changed values. A changed bound gets its own default options."""
        options = {f"{level}_options": None for level in ("pair", "fusion") if f"{level}_bound" in changes}
        return dataclasses.replace(self, **(options | changes))


def read(path: Path) -> Config:
    """Read the configuration in a JSON file.

    Raises:
        ValueError: if the text is not JSON, and as :meth:`Config.from_dict`. Names the file.
    """
    plain = read_json(path)
    if not isinstance(plain, dict):
        raise ValueError(f"{path} must contain a JSON object; got {type(plain).__name__}")
    try:
        return Config.from_dict(plain)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write(config: Config, path: Path) -> None:
    """Write the configuration as JSON that :func:`read` reads."""
    write_text(path, json.dumps(config.to_dict(), indent=2) + "\n")


def _frames(hidden: int, dropout: float = 0.1) -> Modality:
    return Modality("frames", hidden=hidden, standardize=False, dropout=dropout)


_BERT = Modality("transformer", out=0, pretrained="bert-base-uncased")

#: The paper's values for its two data sets, those of MOSI with a Chinese BERT for CH-SIMS, a small configuration for
#: generated data, and the published code with its own default values.
PRESETS: dict[str, Config] = {
    "mosi": Config(
        modalities={"text": _BERT, "audio": _frames(32), "vision": _frames(32)},
        alpha=0.3, beta=0.1, batch_size=32, lr=1e-3, lr_pairs=4e-3, clip=5.0,
    ),
    "mosei": Config(
        modalities={"text": _BERT, "audio": _frames(16), "vision": _frames(64)},
        alpha=0.1, beta=0.05, batch_size=64, lr=5e-4, lr_pairs=1e-3, clip=5.0, pair_share=0.5,
    ),
    "generated": Config(
        modalities={name: Modality(hidden=64, out=8) for name in ("text", "audio", "vision")},
        fusion_options={"normalize": True, "temperature": "learned"},
        fusion=32, batch_size=64, epochs=12, lr=2e-3, lr_pairs=4e-3, clip=5.0,
        correlated=True, noise=0.3, pair_start=True, memory=1024, threads=1,
    ),
    "published": Config(  # with one layer, the published LSTM encoders have no dropout
        modalities={"text": _BERT, "audio": _frames(16, dropout=0.0), "vision": _frames(16, dropout=0.0)},
        legacy=True, init="xavier", lr_patience=20, seed=1111,
    ),
}  # fmt: skip


_CHINESE = dataclasses.replace(_BERT, pretrained="bert-base-chinese")
PRESETS["sims"] = PRESETS["mosi"].replace(modalities={**PRESETS["mosi"].modalities, "text": _CHINESE}, metrics="sims")
#: The presets for the published data sets, whose features are frames.
FRAME_PRESETS = ("mosi", "mosei", "sims", "published")


def preset(name: str) -> Config:
    """The preset of that name.

    Raises:
        ValueError: if there is none; names the presets.
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]


def _known(plain: Mapping[str, Any], cls: type) -> None:
    fields = [f.name for f in dataclasses.fields(cls)]
    for name in plain:
        if name not in fields:
            close = get_close_matches(name, fields, 1)
            raise ValueError(f"{cls.__name__} has no {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
