"""Loaders of the data sets that ship with the library, with the interface of ``sklearn.datasets``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

_PENGUIN_COLUMNS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of numbers with a class label each.

    Attributes:
        data: ``(N, D)``, float64. feature_names: the names of its columns.
        target: the class of each row, ``(N,)``, as indices of ``target_names``.
        description: what was measured, the source, and the licence.

    >>> penguins = load_penguins()
    >>> penguins.columns("bill_length_mm", "body_mass_g").shape, penguins.target_names
    ((333, 2), ('Adelie', 'Chinstrap', 'Gentoo'))
    """

    data: NDArray[np.float64]
    feature_names: tuple[str, ...]
    target: NDArray[np.int64]
    target_names: tuple[str, ...]
    description: str

    def columns(self, *names: str) -> NDArray[np.float64]:
        """The columns with these names, ``(N, len(names))``.

        Raises:
            ValueError: for a name that is not in ``feature_names``.

        >>> load_penguins().columns("bill_length_mm").shape
        (333, 1)
        """
        unknown = [name for name in names if name not in self.feature_names]
        if unknown:
            raise ValueError(f"names must be among {', '.join(self.feature_names)}; got {', '.join(unknown)}")
        return self.data[:, [self.feature_names.index(name) for name in names]]


def load_penguins() -> Dataset:
    """Body measurements of 333 penguins of three species: the 344 rows of penguins.csv without those with gaps.

    Returns:
        bill length, bill depth and flipper length in millimetres and body mass in grams, ``(333, 4)``; the class is
        the species.

    Source: Horst, Hill and Gorman, "palmerpenguins", 2020, doi:10.5281/zenodo.3960218; CC0 1.0.

    >>> penguins = load_penguins()
    >>> penguins.data.shape, penguins.target_names
    ((333, 4), ('Adelie', 'Chinstrap', 'Gentoo'))
    """
    text = files("infomax.datasets").joinpath("penguins.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if "NA" not in row.values()]
    species = tuple(sorted({row["species"] for row in rows}))
    return Dataset(
        np.array([[float(row[name]) for name in _PENGUIN_COLUMNS] for row in rows]),
        _PENGUIN_COLUMNS,
        np.array([species.index(row["species"]) for row in rows]),
        species,
        _description("penguins.csv"),
    )


def load_digits() -> Dataset:
    """Images of 1,797 handwritten digits, 8 x 8 pixels with values from 0 to 16, sorted by class.

    Returns:
        the pixels row by row, ``(1797, 64)``; the class is the digit.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", 1998, doi:10.24432/C50P49; CC BY 4.0.

    >>> digits = load_digits()
    >>> digits.data.shape, digits.target[[0, -1]].tolist()
    ((1797, 64), [0, 9])
    """
    path = files("infomax.datasets").joinpath("digits.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    names = tuple(f"pixel_{i}_{j}" for i in range(8) for j in range(8))
    digits = tuple(str(digit) for digit in range(10))
    return Dataset(images.astype(np.float64), names, labels.astype(np.int64), digits, _description("digits.npz"))


def _description(file: str) -> str:
    """The section of the data's README on this file."""
    text = files("infomax.datasets").joinpath("README.md").read_text(encoding="utf-8")
    return text.split(f"# {file}\n", 1)[1].split("\n# ", 1)[0].strip()
