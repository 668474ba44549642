"""Utterances of CMU-MOSI by video: what the default finds with groups and as if the utterances were independent.

    python -m benchmarks.accuracy.by_subject --mosi FOLDER

writes ``by_subject.md``. The folder has ``utterances.csv`` (``video_id``, ``sentiment``) and ``features.npz``
(``text_minilm``, ``audio``), rows in the same order; it is not part of the project (Zadeh et al. 2016, arXiv
1606.06259).
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import infomax
from benchmarks import results
from benchmarks.report import machine, table, write_page
from infomax import interrupts

_NOTES = """\
{rows} utterances of {videos} videos, one speaker each. Mutual information in nats by the default estimator, with 95 %
intervals. Without `groups`, utterances of one video are trained on and measured: what a model recognises of a speaker
counts as information. With `groups=video`, whole videos are held out, and the interval counts videos."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosi", type=Path, required=True, metavar="FOLDER", help="utterances.csv and features.npz")
    results.add_output(parser, "accuracy")
    arguments = parser.parse_args(argv)
    with (arguments.mosi / "utterances.csv").open(newline="", encoding="utf-8") as file:
        utterances = list(csv.DictReader(file))
    videos = [row["video_id"] for row in utterances]
    features = np.load(arguments.mosi / "features.npz")
    sentiment = np.array([float(row["sentiment"]) for row in utterances])
    audio, text = features["audio"], features["text_minilm"]
    lines = []
    for name, x, y in (
        ("text; sentiment", text, sentiment),
        ("audio; sentiment", audio, sentiment),
        ("audio; text", audio, text),
    ):
        for how, groups in (("as independent rows", None), ("groups=video", videos)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = infomax.estimate(x, y, groups=groups, progress=False)
            low, high = found.confidence_interval()
            said = any(issubclass(one.category, infomax.DependenceWarning) for one in caught)
            numbers = f"{found.mi:.2f}", f"[{low:.2f}, {high:.2f}]", f"{found.stderr:.3f}", f"{found.pvalue:.3f}"
            lines.append((name, how, *numbers, "yes" if said else "no"))
    head = ("sides", "rows", "nats", "interval", "standard error", "p", "warned of dependence")
    notes = _NOTES.format(rows=len(utterances), videos=len(set(videos)))
    path = results.folder("accuracy", arguments.output) / "by_subject.md"
    print(write_page(path, ["# Utterances by video", notes, machine(), table(head, lines)]))


if __name__ == "__main__":
    interrupts.run(main)
