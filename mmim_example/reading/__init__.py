"""Data files: the formats, the rules that data must satisfy, and the batches that a model reads.

Imports nothing else of this example; of infomax, only public names.
"""

from mmim_example.reading.batches import Batch, batch, batches
from mmim_example.reading.files import DataError, DataWarning
from mmim_example.reading.load import join_rows, join_text, load, load_unlabelled, save
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
    "join_rows",
    "join_text",
    "load",
    "load_unlabelled",
    "save",
    "video_of",
    "without",
]
