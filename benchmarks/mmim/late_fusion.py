"""Late fusion by ridge regression on the features of MOSI: what a linear model without a network reaches.

    python -m benchmarks.mmim.late_fusion --mosi DIR

For each modality, a ridge regression predicts the label from standardised features; its penalty is chosen by
leave-one-out errors of the training rows. A linear regression then combines the modalities. It is fitted to predictions
for training rows that the ridge regressions had not seen (five folds). The result has no randomness.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import results
from benchmarks.mmim import data
from benchmarks.report import table
from infomax import interrupts
from mmim_example.reading import Dataset
from mmim_example.results.metrics import LABELS, regression

METRICS = ("mae", "corr", "acc7", "acc2", "f1")


def late_fusion(dataset: Dataset) -> dict[str, float]:
    """Metrics on the test rows."""
    from sklearn.linear_model import LinearRegression, RidgeCV  # noqa: PLC0415 - slow to import
    from sklearn.model_selection import KFold, cross_val_predict  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    train, test = dataset.train, dataset.test
    fitted, applied = [], []
    for name in dataset.dims():
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 6, 29)))
        x, folds = np.asarray(train.features[name], np.float64), KFold(5, shuffle=True, random_state=0)
        fitted.append(cross_val_predict(model, x, train.labels, cv=folds))
        applied.append(model.fit(x, train.labels).predict(np.asarray(test.features[name], np.float64)))
    fusion = LinearRegression().fit(np.stack(fitted, 1), train.labels)
    return regression(fusion.predict(np.stack(applied, 1)), test.labels)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosi", type=Path, required=True, help="folder with utterances.csv and features.npz of MOSI")
    results.add_output(parser, "mmim")
    arguments = parser.parse_args(argv)
    found = {f"MOSI, {split} split": late_fusion(data.mosi(arguments.mosi, split)) for split in ("official", "video")}
    page = results.folder("mmim", arguments.output) / "late_fusion.md"
    header = ["late fusion by ridge", *(LABELS[metric] for metric in METRICS)]
    lines = [[name, *(f"{values[metric]:.3f}" for metric in METRICS)] for name, values in found.items()]
    results.replace(page, table(header, lines) + "\n")
    print(page)
    return 0


if __name__ == "__main__":
    interrupts.run(main)
