"""Levels of shared information, and variants of MMIM, for `known_truth`."""

from __future__ import annotations

from typing import Any

#: Mutual information of text and vision in nats.
LEVELS = (0.1, 0.4, 1.0, 2.0)
_FIRM = {"correlated": True, "noise": 0.3, "pair_start": True}
_PAPER = {"correlated": False, "noise": 0.0, "pair_start": False, "memory": 256, "fusion_options": {"normalize": True}}
#: Changes to the preset; all options that affect BA are given, independently of the preset.
VARIANTS: dict[str, dict[str, Any]] = {
    "BA, one Gaussian": {**_FIRM, "entropy_classes": "none"},
    "BA, by sign": {**_FIRM, "entropy_classes": "sign"},
    "BA, by sign, no noise": {**_FIRM, "entropy_classes": "sign", "noise": 0.0},
    "paper, one Gaussian": {**_PAPER, "entropy_classes": "none"},
    "paper, by sign": {**_PAPER, "entropy_classes": "sign"},
    "InfoNCE for BA": {"pair_bound": "infonce", "noise": 0.0, "pair_start": False},
    "legacy": {"legacy": True, "init": "xavier"},
    "task only": {**_FIRM, "entropy_classes": "none", "beta": 0.0, "use_fusion": False},
}
