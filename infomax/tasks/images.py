"""Images: plates and rectangles with dependent positions and sizes, and real digits paired by class."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from infomax.datasets import load_digits
from infomax.tasks.base import Array, Task, add
from infomax.tasks.discrete import flip_probability, transmit
from infomax.tasks.normal import correlated_normal
from infomax.tasks.transforms import Transform, chain, normal_cdf, transformed

_SOURCE = "Butakov et al. 2024, arXiv 2305.08013; closed form: the image determines its parameters"


def gaussian_plates(mi: float, *, size: int = 16) -> Task:
    """Pairs of images of one bright spot, with dependent coordinates and widths.

    The parameters are uniform with a normal copula. Each image determines its parameters, so that the mutual
    information of the images is that of the parameters.

    Args:
        mi: mutual information, in nats. size: pixels of a side, 4 or more.

    Raises:
        ValueError: for a negative ``mi``, or a ``size`` below 4.
    """
    return _images(mi, 3, lambda parameters: draw_plates(parameters, size), size=size, name="plates")


def rectangles(mi: float, *, size: int = 16) -> Task:
    """Pairs of images of one rectangle, with dependent positions, widths and heights.

    The parameters are uniform with a normal copula. The brightness of a pixel is the part of it that the rectangle
    covers. Each image therefore determines its parameters, and the mutual information is that of the parameters.

    Args:
        mi: mutual information, in nats. size: pixels of a side, 16 or more, so that each length is two pixels or more.

    Raises:
        ValueError: for a negative ``mi``, or a ``size`` below 16.
    """
    return _images(mi, 4, lambda parameters: draw_rectangles(parameters, size), size=size, name="rectangles", least=16)


def draw_plates(parameters: Array, size: int) -> Array:
    """Images ``(n, size²)`` of spots from ``(n, 3)`` numbers in (0, 1): two coordinates, and the width.

    Raises:
        ValueError: for a ``size`` below 4.
    """
    pixels = np.arange(size) + 0.5
    place = size * (0.2 + 0.6 * parameters[:, :2])
    width = size * (0.05 + 0.1 * parameters[:, 2:])
    rows, columns = (np.exp(-(((pixels - place[:, [i]]) / width) ** 2) / 2) for i in (0, 1))
    return _outer(rows, columns)


def draw_rectangles(parameters: Array, size: int) -> Array:
    """Images ``(n, size²)`` of rectangles from ``(n, 4)`` numbers in (0, 1): two positions, two lengths."""
    pixels = np.arange(size)
    start = size * 0.5 * parameters[:, :2]
    end = start + size * (0.125 + 0.375 * parameters[:, 2:])
    rows, columns = (
        np.clip(np.minimum(end[:, [i]], pixels + 1) - np.maximum(start[:, [i]], pixels), 0, 1) for i in (0, 1)
    )
    return _outer(rows, columns)


def _outer(rows: Array, columns: Array) -> Array:
    return (rows[:, :, None] * columns[:, None, :]).reshape(len(rows), -1)


def _images(mi: float, parameters: int, draw: Transform, *, size: int, name: str, least: int = 4) -> Task:
    if size < least:
        raise ValueError(f"size must be at least {least}; got {size}")
    both = chain(normal_cdf, draw)
    base = replace(correlated_normal(mi, dim=parameters), reference=_SOURCE)
    return transformed(base, x=both, y=both, name=f"{name}-{size}-{mi:g}", family="images")


def digits(mi: float) -> Task:
    """Pairs of images of handwritten digits whose classes are the ends of a symmetric channel.

    A class is drawn and sent through the channel. An image is drawn for each of the two classes, from 1,797 images of
    8 x 8 pixels with values from 0 to 16. An image determines its class, so that the mutual information of the images
    is that of the classes. Images repeat from about a hundred rows: held-out rows contain images of the training rows.

    Args:
        mi: mutual information in nats, at most log 10.

    Raises:
        ValueError: for an ``mi`` above log 10.
    """
    flip = flip_probability(mi, 10)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        images, first = digit_images()
        sent = rng.integers(10, size=n)
        return tuple(
            images[rng.integers(first[label], first[label + 1])].astype(np.float64)
            for label in (sent, transmit(sent, 10, flip, rng))
        )  # type: ignore[return-value]

    reference = "Alpaydin and Kaynak 1998, doi 10.24432/C50P49; closed form of the channel of the classes"
    return Task(f"digits-{mi:g}", mi, 64, 64, reference, sample, "images")


@lru_cache(maxsize=1)
def digit_images() -> tuple[Array, NDArray[np.int64]]:
    """Images ``(1797, 64)`` sorted by class, and the boundaries of the classes."""
    digits = load_digits()
    return digits.data, np.searchsorted(digits.target, np.arange(11))


for _size in (16, 32):
    add(gaussian_plates(1.0, size=_size))
    add(rectangles(2.0, size=_size))
for _mi in (0.5, 1.5):
    add(digits(_mi))
