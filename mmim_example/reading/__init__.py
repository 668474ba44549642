"""Data files: the formats they come in, the checks they pass, and the batches that are read from them.

May import: the library ``infomax``, and nothing else of this example.
"""

from mmim_example.reading.batches import Batch, batch, batches
from mmim_example.reading.files import DataError, DataWarning
from mmim_example.reading.load import join_text, load, save
from mmim_example.reading.splits import SPLITS, Dataset, Split, video_of, without

__all__ = [
    "SPLITS",
    "Batch",
    "DataError",
    "DataWarning",
    "Dataset",
    "Split",
    "batch",
    "batches",
    "join_text",
    "load",
    "save",
    "video_of",
    "without",
]
