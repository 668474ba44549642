"""The configuration of a run: modalities, loss terms and weights, optimisation. Stored as JSON."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from torch import nn

from mmim_example.reading.files import read_json, write_text

#: The number of axes of the input, by the kind of an encoder; :func:`mmim_example.encoders.register` adds kinds. The
#: input of a transformer is tokens.
ENCODERS: dict[str, int] = {"vector": 2, "frames": 3, "transformer": 3}
Amp = Literal["none", "bf16"]

#: The largest number, and the length of a message with a value of any kind.
_LARGEST, _MESSAGE = 2**53, 300
_Whole = Annotated[StrictInt, Field(ge=0, le=_LARGEST)]
_Count = Annotated[StrictInt, Field(ge=1, le=_LARGEST)]
_Weight = Annotated[StrictFloat, AllowInfNan(False), Field(ge=0, le=_LARGEST)]
_Rate = Annotated[StrictFloat, AllowInfNan(False), Field(gt=0, le=_LARGEST)]
_Dropout = Annotated[StrictFloat, Field(ge=0, lt=1)]
_Share = Annotated[StrictFloat, Field(gt=0, le=1)]

#: Options of bounds, by level and name, that differ from the bound's own defaults: the paper's CPC is normalised.
_BOUND_OPTIONS: dict[tuple[str, Any], dict[str, Any]] = {("fusion", "cpc"): {"normalize": True}}


class _Settings(BaseModel):
    """Settings that are validated, and cannot be changed afterwards.

    Raises:
        ValueError: names the setting, the rule and the value; for an unknown setting, the closest known one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ValueError(self._reason(error)[:_MESSAGE]) from None

    @classmethod
    def _reason(cls, error: ValidationError) -> str:
        errors = error.errors(include_url=False)
        first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
        name, rule = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input should ")
        if first["type"] == "extra_forbidden":
            close = get_close_matches(name, cls.model_fields, 1)
            return f"{cls.__name__} has no {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
        if first["type"] == "value_error":
            return f"{name}{': ' if name else ''}{first['ctx']['error']}"
        if first["type"] == "missing":
            return f"{name} must be given; got none"
        return f"{name} must {rule[:1].lower()}{rule[1:]}; got {first['input']!r}"


class Modality(_Settings):
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

    kind: StrictStr = "vector"
    out: _Whole = 16
    hidden: _Whole = 0
    layers: _Count = 1
    bidirectional: StrictBool = False
    dropout: _Dropout = 0.1
    standardize: StrictBool = True
    pretrained: StrictStr = ""
    frozen: StrictBool = False
    pooling: Literal["first", "mean"] = "first"

    def __init__(self, kind: str = "vector", /, **settings: Any) -> None:
        super().__init__(**({"kind": kind} | settings))

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Modality:
        if self.kind not in ENCODERS:
            known = ", ".join(ENCODERS)
            raise ValueError(f"kind must be one of {known}, or your own by --import FILE; got {self.kind!r}")
        for name in ("hidden", "out"):
            if self.kind == "frames" and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 for kind 'frames'; got {getattr(self, name)}")
        if (self.kind == "transformer") != bool(self.pretrained):
            raise ValueError(
                f"pretrained must name a model for kind 'transformer', and be empty for other kinds; got "
                f"{self.pretrained!r} for {self.kind!r}"
            )
        return self


class Config(_Settings):
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

    modalities: dict[str, Modality]
    target: Literal["regression", "classification"] = "regression"
    classes: _Count = 1
    metrics: Literal["mosi", "sims"] = "mosi"
    fusion: _Count = 128
    dropout: _Dropout = 0.1
    pairs: tuple[tuple[str, str], ...] = (("text", "vision"), ("text", "audio"))
    pair_bound: StrictStr = "ba"
    pair_options: dict[str, Any] = Field(default_factory=dict)
    fusion_bound: StrictStr = "cpc"
    fusion_options: dict[str, Any] = Field(default_factory=dict)
    alpha: _Weight = 0.1
    beta: _Weight = 0.1
    use_fusion: StrictBool = True
    use_pairs: StrictBool = True
    correlated: StrictBool = False
    noise: _Weight = 0.0
    entropy_classes: Literal["sign", "label", "none"] = "sign"
    memory: _Count = 256
    legacy: StrictBool = False
    init: Literal["pytorch", "xavier"] = "pytorch"
    batch_size: _Count = 32
    epochs: _Count = 40
    seed: _Whole = 0
    lr: _Rate = 1e-3
    lr_transformer: _Rate = 5e-5
    lr_pairs: _Rate = 1e-3
    weight_decay: _Weight = 1e-4
    clip: _Rate = 1.0
    accumulate: _Count = 1
    patience: _Count = 10
    lr_patience: _Whole = 5
    pair_share: _Share = 1.0
    pair_start: StrictBool = False
    amp: Amp = "none"
    threads: _Whole = 0

    @model_validator(mode="before")
    @classmethod
    def _default_options(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Options that are not given are those of the bound."""
        for level in ("pair", "fusion"):
            bound = given.get(f"{level}_bound", cls.model_fields[f"{level}_bound"].default)
            if given.get(f"{level}_options") is None and isinstance(bound, str):
                given = given | {f"{level}_options": dict(_BOUND_OPTIONS.get((level, bound), {}))}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if len(self.modalities) < 2:
            raise ValueError(f"modalities must be two or more; got {', '.join(self.modalities) or 'none'}")
        for name, spec in self.modalities.items():
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) or hasattr(nn.ModuleDict, name):
                raise ValueError(f"names of modalities must consist of letters, digits and _; got {name!r}")
            if spec.kind == "transformer" and name != "text":
                raise ValueError(f"kind must be 'vector' or 'frames' for modalities other than text; got {name!r}")
        if len(set(self.pairs)) < len(self.pairs):
            raise ValueError(f"pairs must differ from each other; got {self.pairs!r}")
        for x, y in self.pairs:
            if x == y or not {x, y} <= set(self.modalities):
                known = ", ".join(self.modalities)
                raise ValueError(f"each pair must be two different modalities among {known}; got {(x, y)!r}")
        if (self.target == "classification") != (self.classes > 1):
            raise ValueError(f"classes must be 1 for regression and more for classification; got {self.classes}")
        if self.entropy_classes == "label" and self.target != "classification":
            raise ValueError("entropy_classes must be 'sign' or 'none' for regression; got 'label'")
        return self

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain containers, which JSON can represent."""
        return self.model_dump() | {"pairs": [list(pair) for pair in self.pairs]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Config:
        """The inverse of :meth:`to_dict`.

        Before ``init`` was a setting, the published objective always had the published initialisation. So "legacy"
        without "init" has "xavier".

        Raises:
            ValueError: for unknown names, with a suggestion, and for values out of range.
        """
        return cls(**{"init": "xavier" if plain.get("legacy") is True else "pytorch", **plain})

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
        return Config(**(dict(self) | options | changes))


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


_CHINESE = Modality("transformer", out=0, pretrained="bert-base-chinese")
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
