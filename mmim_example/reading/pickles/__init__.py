"""Pickles from untrusted sources: arrays and plain containers are read, and nothing that a file names is executed.

Imports :mod:`mmim_example.reading.files` alone.
"""

from mmim_example.reading.pickles.reader import read_pickle

__all__ = ["read_pickle"]
