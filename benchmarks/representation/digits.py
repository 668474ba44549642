"""Two views of each digit, a small encoder, and a linear probe of what it has learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from infomax import datasets

#: Images of 8 × 8 pixels; dimensions of the representation and of its projection, which the losses compare.
PIXELS, FEATURES, PROJECTION = 64, 64, 32
#: Images for training; labels of each class for the probe with few labels.
TRAINING, FEW = 1200, 10


@dataclass(frozen=True, eq=False)
class Digits:
    """Images ``(N, 64)`` with pixels from 0 to 1, and their classes ``(N,)``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def split(seed: int) -> tuple[Digits, Digits]:
    """1,200 images for training, and 597 for testing."""
    digits = datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images, labels = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    first, last = (torch.as_tensor(part) for part in (order[:TRAINING], order[TRAINING:]))
    return Digits(images[first], labels[first]), Digits(images[last], labels[last])


def view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to one pixel in both directions, with another contrast, and with noise."""
    n = len(images)
    padded = F.pad(images.view(n, 8, 8), (1, 1, 1, 1))
    shifts = torch.randint(3, (2, n), generator=generator)
    rows, columns = (shift[:, None] + torch.arange(8) for shift in shifts)
    shifted = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    contrast = 0.75 + 0.5 * torch.rand(n, 1, generator=generator)
    return shifted.flatten(1) * contrast + 0.15 * torch.randn(n, PIXELS, generator=generator)


class Encoder(nn.Module):
    """Images ``(N, 64)`` to representations ``(N, 64)``; ``project`` maps these to what a loss compares."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, FEATURES),
        )
        self.project = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, PROJECTION))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features


def probe(training: Digits, test: Digits, encoder: nn.Module, *, each: int | None = None) -> float:
    """The accuracy on the test images of a logistic regression on the representations of the training images.

    Args:
        each: the number of training images of each class; ``None`` for all.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - slow to import
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    labels = training.labels.numpy()
    rows: NDArray[np.intp] = np.arange(len(labels))
    if each is not None:
        rows = np.concatenate([np.flatnonzero(labels == digit)[:each] for digit in range(10)])
    with torch.no_grad():
        seen, unseen = (encoder(images).double().numpy() for images in (training.images, test.images))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(seen[rows], labels[rows])
    return float(model.score(unseen, test.labels.numpy()))
