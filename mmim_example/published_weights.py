"""Copy the weights of the paper's published code into a model with ``legacy=True``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping

from torch import Tensor

from infomax import InfomaxWarning
from mmim_example.model import MMIM

#: The order of the modalities in the published fusion.
_ORDER = ("text", "audio", "vision")
#: A parameter of an LSTM: its name within a layer, the layer, and the direction.
_LSTM = re.compile(r"(?P<name>.*)_l(?P<layer>\d+)(?P<reverse>_reverse)?$")


class UntrainedWeightsWarning(InfomaxWarning):
    """Weights that the published code does not train."""


def load_official(model: MMIM, state: Mapping[str, Tensor]) -> None:
    """Copy the state of a published model into ``model``, which has ``legacy=True`` and text, audio and vision.

    The model has the sizes of the published one; ``fusion_options={"layers": n}`` corresponds to ``--cpc_layers n``.
    Its outputs then equal the published ones, with one exception, which is an error of the published code: with more
    than one LSTM layer (``--n_layer``) and both directions, it uses the states of the *first* layer.

    - A model with one layer has the published outputs. Further layers in ``state`` are not copied, because the
      published outputs do not depend on them.
    - A model with as many layers as ``state`` uses the last layer, as it should. The published code never trained that
      layer, so a warning says that its outputs are different and not useful without further training.

    With several layers in one direction the published code fails at its first batch. The weights of such a state, for
    example from a corrected copy of the code, are all copied, and the last layer is used.

    Raises:
        ValueError: if the model has other modalities or another order, or has no counterpart of a parameter.
        KeyError: if ``state`` lacks a parameter of the model.
        RuntimeError: if shapes differ.
    """
    if tuple(model.config.modalities) != _ORDER:
        raise ValueError(f"modalities must be {', '.join(_ORDER)}; got {', '.join(model.config.modalities)}")
    names = {name: official_name(name) for name in model.state_dict() if ".standardize." not in name}
    for ours, theirs in names.items():
        if theirs not in state:
            raise KeyError(f"state must have {theirs}, the counterpart of {ours}; got {len(state)} other names")
    parts = {theirs.split(".")[0] for theirs in names.values()} - {"text_enc"}  # BERT: buffers of other versions
    left = [name for name in state if name.split(".")[0] in parts and name not in names.values()]
    unread = [name for name in left if _is_unread(model, name)]
    if left != unread:
        first = next(name for name in left if name not in unread)
        raise ValueError(f"the model must have a counterpart of every parameter of the network; got none of {first}")
    if any(spec.bidirectional and spec.layers > 1 for spec in model.config.modalities.values()):
        warnings.warn(
            "the published code uses the first layer of a bidirectional LSTM and does not train the others, but this "
            "model uses the last: train it further, or use layers=1 for the published outputs",
            UntrainedWeightsWarning,
            stacklevel=2,
        )
    model.load_state_dict({ours: state[theirs] for ours, theirs in names.items()}, strict=False)


def _is_unread(model: MMIM, name: str) -> bool:
    """Whether a published parameter belongs to a layer of a bidirectional LSTM that the published code does not use."""
    found = _LSTM.match(name)
    spec = model.config.modalities["audio" if name.startswith("acoustic") else "vision"]
    return found is not None and spec.bidirectional and spec.layers == 1 and int(found["layer"]) > 0


#: The modules of this model, and their published names.
_PARTS = {
    "encoders.text.model": "text_enc.bertmodel",
    "encoders.audio.project": "acoustic_enc.linear_1",
    "encoders.vision.project": "visual_enc.linear_1",
    "encoders.audio.layers": "acoustic_enc.rnn",
    "encoders.vision.layers": "visual_enc.rnn",
    "pair_bounds.text-vision": "mi_tv",
    "pair_bounds.text-audio": "mi_ta",
    "pair_bounds.vision-audio": "mi_va",
    "fusion_bounds.text": "cpc_zt",
    "fusion_bounds.audio": "cpc_za",
    "fusion_bounds.vision": "cpc_zv",
    "fusion.first": "fusion_prj.linear_1",
    "fusion.second": "fusion_prj.linear_2",
    "fusion.head": "fusion_prj.linear_3",
}


def official_name(name: str) -> str:
    """The published name of a parameter of this model.

    Raises:
        KeyError: if the published model has no such parameter.
    """
    for ours, theirs in _PARTS.items():
        if name.startswith(ours + "."):
            rest = name[len(ours) + 1 :]
            if ours.endswith(".layers"):  # layer, direction, and a parameter of an LSTM with one layer
                layer, direction, parameter = rest.split(".")
                rest = parameter.removesuffix("_l0") + f"_l{layer}" + ("_reverse" if direction == "1" else "")
            return f"{theirs}.{rest}"
    raise KeyError(f"the published model has no counterpart of {name}")
