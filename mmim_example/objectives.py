"""The objectives that a configuration can choose."""

from __future__ import annotations

from mmim_example.config import Config
from mmim_example.legacy import Legacy
from mmim_example.loss import Objective


def of(config: Config) -> Objective:
    """The objective of a configuration: the paper's, or that of its published code with its errors."""
    return Legacy(config) if config.legacy else Objective(config)
