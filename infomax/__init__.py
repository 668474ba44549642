"""Measure and maximise mutual information.

>>> from infomax import CPC, estimate
"""

import lazy_loader

__version__ = "0.2.0.dev0"

# Names are loaded on first use (scientific Python's SPEC 1), so that the command line answers without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
