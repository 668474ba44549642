"""Data sets that ship with the library: penguins for demonstrations, images of digits for tasks.

Imports nothing else of infomax.
"""

from infomax.datasets.loading import Dataset, load_digits, load_penguins

__all__ = ["Dataset", "load_digits", "load_penguins"]
