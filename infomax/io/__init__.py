"""Input: arrays, data frames and files, checked once; batches of data larger than memory.

Imports nothing else from infomax.
"""

from infomax.io.batches import batches
from infomax.io.columns import Columns, as_columns
from infomax.io.files import open_columns, read_columns, read_named
from infomax.io.samples import as_aligned, as_samples
from infomax.io.stored import StoredColumns
from infomax.io.writing import atomic_write

__all__ = [
    "Columns",
    "StoredColumns",
    "as_aligned",
    "as_columns",
    "as_samples",
    "atomic_write",
    "batches",
    "open_columns",
    "read_columns",
    "read_named",
]
