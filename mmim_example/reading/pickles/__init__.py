"""Pickles of unknown origin, read without executing them.

May import: ``reading.files``.
"""

from mmim_example.reading.pickles.interpreter import read_pickle as read_pickle
