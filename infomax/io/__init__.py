"""Samples on their way in: arrays, data frames and files, checked once; batches of data larger than memory.

Imports nothing else of infomax.
"""

from infomax.io.batches import batches
from infomax.io.files import read_columns, read_named
from infomax.io.frames import Columns
from infomax.io.samples import as_aligned, as_pair, as_samples
from infomax.io.stored import StoredColumns, open_columns

__all__ = [
    "Columns",
    "StoredColumns",
    "as_aligned",
    "as_pair",
    "as_samples",
    "batches",
    "open_columns",
    "read_columns",
    "read_named",
]
