"""Two views of tiles of real digits, which share a code of classes."""

from __future__ import annotations

import math

import numpy as np

from infomax.tasks.base import Array, Task, add
from infomax.tasks.images import digit_images


def tiled_digits(bits: float, *, tiles: int, nuisance: float = 0.0) -> Task:
    r"""Images of several digits; the classes of all digits are the same in both views, the digits are not.

    Each tile draws one of :math:`2^{\text{bits} / \text{tiles}}` classes, which both views share; each view draws its
    own image of that class. With a nuisance share η, a tile is (1 − η) times the digit plus η times another digit of
    any class, drawn for each view. The classes can be read from the images, so that the mutual information is that of
    the code. (Two different sums of images coincide for special η only.) Images repeat from about a hundred rows.

    Args:
        bits: shared information, in bits; divided by ``tiles`` it must be log2 of 2 to 10 classes.
        tiles: 1 or more. nuisance: η, in [0, 1/2).

    Raises:
        ValueError: for other ``bits``, ``tiles`` or ``nuisance``.

    Source: Lee and Rhee 2024, "A Benchmark Suite for Evaluating Neural Mutual Information Estimators on Unstructured
    Datasets", arXiv 2410.10924; digits: Alpaydin and Kaynak 1998.
    """
    if tiles < 1 or not 0 <= nuisance < 0.5:
        raise ValueError(f"tiles must be at least 1, and nuisance in [0, 1/2); got {tiles} and {nuisance}")
    classes = round(2 ** (bits / tiles))
    if not (2 <= classes <= 10 and math.isclose(tiles * math.log2(classes), bits, abs_tol=1e-6)):
        raise ValueError(f"bits / tiles must be log2 of 2 to 10 classes; got {bits} / {tiles}")

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        images, first = digit_images()
        code = rng.integers(classes, size=(n, tiles))
        views = []
        for _ in range(2):
            view = images[rng.integers(first[code], first[code + 1])]
            if nuisance:
                view = (1 - nuisance) * view + nuisance * images[rng.integers(len(images), size=(n, tiles))]
            views.append(view.reshape(n, -1))
        return views[0], views[1]

    name = f"tiles-{classes}x{tiles}-{bits:g}bits" + (f"-{nuisance:g}" if nuisance else "")
    reference = "Lee and Rhee 2024, arXiv 2410.10924; closed form of the code"
    return Task(name, tiles * math.log(classes), 64 * tiles, 64 * tiles, reference, sample, "tiles")


for _bits, _tiles in ((2, 1), (2, 2), (4, 4), (6, 6), (6, 2), (8, 8), (10, 10)):
    add(tiled_digits(_bits, tiles=_tiles))
for _bits, _tiles in ((4, 4), (8, 8)):
    add(tiled_digits(_bits, tiles=_tiles, nuisance=0.3))
