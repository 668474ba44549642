"""Synthetic data: three modalities and a label with known mutual information."""

from __future__ import annotations

import numpy as np

from infomax import tasks
from mmim_example.reading import SPLITS, Dataset, Split


def generate(
    n: tuple[int, int, int] = (2000, 400, 1000),
    *,
    text: float = 0.5,
    audio: float = 0.2,
    vision: float = 0.3,
    joint: float | None = None,
    seed: int = 0,
    dims: tuple[int, int, int] = (8, 5, 6),
) -> tuple[Dataset, dict[str, float]]:
    """Draw vectors of three modalities and a label with known mutual information.

    Args:
        n: number of utterances in train, valid and test.
        text, audio, vision, joint, seed, dims: as in :func:`infomax.tasks.tri_modal`.

    Returns:
        The data, and their mutual information in nats: between modalities, ``"text-vision"`` and so on in the order
        text, audio, vision; with the label, ``"text-target"`` and so on; and ``"all-target"``. Labels are normal with
        standard deviation 1.5, similar to sentiment; one in 22 lies outside -3 to 3.

    Raises:
        ValueError: as ``tri_modal``, and if a split has no utterances.
    """
    if len(n) != 3 or min(n) < 1:
        raise ValueError(f"n must be three sizes of at least 1; got {n}")
    speech = tasks.tri_modal(text=text, audio=audio, vision=vision, joint=joint, dims=dims, seed=seed)
    drawn = {name: array.astype(np.float32) for name, array in speech.sample(sum(n), seed).items()}
    modalities = speech.modalities
    splits, start = {}, 0
    for name, size in zip(SPLITS, n, strict=True):
        rows = slice(start, start := start + size)
        features = {modality: drawn[modality][rows] for modality in modalities}
        ids = tuple(f"{name}_{i}" for i in range(size))
        splits[name] = Split(ids, 1.5 * drawn["target"][rows, 0], features)
    truths = {
        f"{a}-{b}": speech.mi((a,), (b,)) for i, a in enumerate(modalities) for b in (*modalities[i + 1 :], "target")
    }
    truths["all-target"] = speech.mi(modalities, ("target",))
    return Dataset(**splits, nonfinite=dict.fromkeys(modalities, 0), source=f"generated, seed {seed}"), truths
