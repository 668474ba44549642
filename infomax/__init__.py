"""Measure and maximise mutual information.

>>> from infomax import CPC, estimate
"""

from threading import RLock
from typing import Any

import lazy_loader

__version__ = "0.2.0"

# Names are loaded on first use (scientific Python's SPEC 1), so that the command line answers without torch. Packages
# cannot be imported by several threads at once, so one thread at a time loads; modules of the library import each other
# directly and never wait here.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_lock = RLock()


def __getattr__(name: str) -> Any:
    with _lock:
        return _load(name)
