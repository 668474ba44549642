"""Copy the weights of the paper's published code into a model with ``legacy=True``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmim_example.model import MMIM

#: The order of the modalities in the published fusion.
_ORDER = ("text", "audio", "vision")


def load_official(model: MMIM, state: Mapping[str, Tensor]) -> None:
    """Copy the state of a published model into ``model``, which has ``legacy=True`` and text, audio and vision.

    Raises:
        ValueError: if the model has other modalities, or another order.
        KeyError: if ``state`` lacks a parameter of the model.
        RuntimeError: if shapes differ.
    """
    if tuple(model.config.modalities) != _ORDER:
        raise ValueError(f"modalities must be {', '.join(_ORDER)}; got {', '.join(model.config.modalities)}")
    names = {name: official_name(name) for name in model.state_dict() if ".standardize." not in name}
    for ours, theirs in names.items():
        if theirs not in state:
            raise KeyError(f"state must have {theirs}, the counterpart of {ours}; got {len(state)} other names")
    model.load_state_dict({ours: state[theirs] for ours, theirs in names.items()}, strict=False)


#: The modules of this model, and their published names.
_PARTS = {
    "encoders.text.model": "text_enc.bertmodel",
    "encoders.audio.project": "acoustic_enc.linear_1",
    "encoders.vision.project": "visual_enc.linear_1",
    "encoders.audio.layers.0.0": "acoustic_enc.rnn",
    "encoders.vision.layers.0.0": "visual_enc.rnn",
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
            return theirs + name[len(ours) :]
    raise KeyError(f"the published model has no counterpart of {name}")
