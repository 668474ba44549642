"""Small pickles in the forms of MMSA and MulT, and a table of transcripts."""

import csv
import pickle

import numpy as np

SIZES = {"train": 5, "valid": 2, "test": 3}


def rng_of(name):
    return np.random.default_rng(list(map(ord, name)))


def mmsa_part(name, n, *, aligned, steps=(6, 9, 8), dims=(4, 5, 3)):
    """A split as MMSA writes it, with numbers left beyond the lengths."""
    rng = rng_of(name)
    words = rng.integers(2, steps[0] + 1, n)
    times = [steps[0]] * 3 if aligned else steps
    part = {
        modality: rng.normal(size=(n, t, d)).astype(np.float32)
        for modality, t, d in zip(("text", "audio", "vision"), times, dims, strict=True)
    }
    mask = np.arange(steps[0]) < words[:, None]
    part |= {
        "raw_text": np.array([f"said {name} {i}, é" for i in range(n)], object),
        "text_bert": np.stack([rng.integers(1, 99, mask.shape) * mask, mask, 0 * mask], 1).astype(np.float32),
        "id": [f"{name}vid$_${i}" for i in range(n)],
        "regression_labels": rng.uniform(-3, 3, n).astype(np.float32),
        "classification_labels": rng.integers(0, 3, n),
        "annotations": ["Positive"] * n,
    }
    if not aligned:
        part["audio_lengths"] = rng.integers(1, steps[1] + 1, n).tolist()
        part["vision_lengths"] = rng.integers(0, steps[2] + 1, n)
    return part


def official_part(name, n, columns=1):
    """A split as MulT has it, padded on the left, with a zero frame inside."""
    rng = rng_of(name)
    lengths = {modality: rng.integers(3, t + 1, n) for modality, t in (("text", 5), ("audio", 7), ("vision", 6))}
    part = {}
    for d, (modality, length) in enumerate(lengths.items(), 2):
        t = {"text": 5, "audio": 7, "vision": 6}[modality]
        frames = rng.normal(size=(n, t, d))
        for i in range(n):
            frames[i, : t - length[i]] = 0
            frames[i, t - 2] = 0
        part[modality] = frames
    part["audio"][0] = 0
    lengths["audio"][0] = 0
    part["labels"] = rng.uniform(-3, 3, (n, 1, columns))
    part["id"] = np.array([[f"{name}vid_{i}".encode()] for i in range(n)])
    return part, lengths


def official(columns=1):
    return {name: official_part(name, n, columns)[0] for name, n in SIZES.items()}


def mmsa(**options):
    return {name: mmsa_part(name, n, **options) for name, n in SIZES.items()}


def dump(path, content, protocol=4, numpy_1=False):
    written = pickle.dumps(content, protocol)
    path.write_bytes(written.replace(b"numpy._core", b"numpy.core") if numpy_1 else written)
    return path


def write_labels(path, keys):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["video_id", "clip_id", "text", "label"])
        table.writerows([*key.rsplit("_", 1), f'"{key}", said é', 0] for key in keys)
    return path
