"""``python -m mmim_example``: train, evaluate, ablate, convert and generate."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infomax import distributed
from mmim_example import ablation, preparation, reading, synthetic
from mmim_example import config as configuration
from mmim_example.config import Config
from mmim_example.results import comparison, evaluation
from mmim_example.runs import log


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 2 for bad input or a run that failed, 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        with distributed.processes():
            arguments.run(arguments)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        print(f"mmim_example: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mmim_example: interrupted; train --resume goes on from the last epoch", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmim_example", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True)

    train = commands.add_parser("train", help="train a model, or go on with a run", description=_train.__doc__)
    train.add_argument("out", type=Path, help="folder of the run")
    _data(train)
    _settings(train)
    train.add_argument("--resume", action="store_true", help="go on with the run in this folder, with its settings")
    train.add_argument("--device", help="as PyTorch names it; default: a GPU if there is one")
    train.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's files")
    train.add_argument("--no-progress", dest="progress", action="store_false")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="metrics of a run's best model", description=_evaluate.__doc__)
    evaluate.add_argument("out", type=Path, help="folder of the run")
    _data(evaluate)
    evaluate.add_argument("--split", choices=reading.SPLITS, default="test", help="default: %(default)s")
    evaluate.add_argument("--by-video", action="store_true", help="draw videos, not utterances, for the intervals")
    evaluate.add_argument("--missing", action="store_true", help="also the curve over missing modalities")
    evaluate.add_argument("--truth", type=Path, help="truth.json of generated data, for the figure of information")
    evaluate.add_argument("--device", help="as PyTorch names it; default: a GPU if there is one")
    evaluate.set_defaults(run=_evaluate)

    ablate = commands.add_parser("ablate", help="arms times seeds, and paired tests", description=_ablate.__doc__)
    ablate.add_argument("out", type=Path, help="folder of the runs; what is there is not repeated")
    _data(ablate)
    _settings(ablate)
    ablate.add_argument(
        "--arms", type=Path, metavar="FILE", help="JSON: name -> settings that differ, named as by --set"
    )
    ablate.add_argument("--baseline", help="arm that the others are compared with; default: the first")
    ablate.add_argument("--seeds", type=int, default=5, help="how many, from 0; default: %(default)s")
    ablate.add_argument("--jobs", type=int, default=1, help="runs at a time; default: %(default)s")
    ablate.add_argument("--split", choices=reading.SPLITS[1:], default="test", help="default: %(default)s")
    ablate.add_argument("--metrics", nargs="+", metavar="NAME", help="columns of the table")
    ablate.add_argument("--no-progress", dest="progress", action="store_false")
    ablate.set_defaults(run=_ablate)

    convert = commands.add_parser("convert", help="pickles to the plain format", description=_convert.__doc__)
    convert.add_argument("out", type=Path, help="folder to write")
    _data(convert)
    convert.add_argument("--embed-text", metavar="MODEL", help="replace text by embeddings of this Hugging Face model")
    convert.set_defaults(run=_convert)

    generate = commands.add_parser("generate", help="data whose MI is known", description=_generate.__doc__)
    generate.add_argument("out", type=Path, help="folder to write")
    generate.add_argument("--rows", type=int, nargs=3, default=(2000, 400, 1000), metavar=("TRAIN", "VALID", "TEST"))
    for name, nats in (("text", 0.5), ("audio", 0.2), ("vision", 0.3)):
        generate.add_argument(f"--{name}", type=float, default=nats, help="nats about the target; default: %(default)s")
    generate.add_argument("--joint", type=float, help="nats of all three about the target")
    generate.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    generate.set_defaults(run=_generate)
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of the plain format, or a pickle")
    parser.add_argument("--labels-csv", type=Path, help="video_id, clip_id, text: the texts of a MulT pickle")


def _settings(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", choices=tuple(configuration.PRESETS), default="generated")
    source.add_argument("--config", type=Path, help="JSON as config.json of a run")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings to change: alpha=0.3 use_pairs=false fusion_bound=nwj fusion_options={} "
        "modalities.text.hidden=64 (values are JSON, or text); with --resume: epochs, patience, threads",
    )


def read_settings(arguments: argparse.Namespace) -> Config:
    """The configuration that the options name.

    Raises:
        ValueError: for unknown settings and values out of range.
    """
    config = configuration.read(arguments.config) if arguments.config else configuration.preset(arguments.preset)
    return changed(config, arguments.set)


def changed(config: Config, assignments: Sequence[str]) -> Config:
    """The configuration with settings changed, each ``NAME=VALUE``.

    Raises:
        ValueError: as :func:`read_settings` does.
    """
    changes = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise ValueError(f"--set must be NAME=VALUE; got {assignment!r}")
        changes[name] = _value(text)
    return config.changed(changes)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _load(arguments: argparse.Namespace) -> reading.Dataset:
    dataset = reading.load(arguments.data)
    return reading.join_text(dataset, arguments.labels_csv) if arguments.labels_csv else dataset


def _train(arguments: argparse.Namespace) -> None:
    """Train, and keep the model of the least validation loss. Figures of the training are drawn beside it."""
    from mmim_example.trainer import train  # noqa: PLC0415 - slow to import, and not needed for --help

    if arguments.resume:
        path = arguments.out / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"there is no run to resume in {arguments.out}: it has no {path.name}")
        if arguments.config:
            raise ValueError("--config must not be given with --resume: the run has its own settings")
        config = changed(configuration.read(path), arguments.set)
    else:
        config = read_settings(arguments)
    dataset = _load(arguments)
    for name, count in dataset.nonfinite.items():
        if count:
            print(f"{name}: {count} values that are not finite are read as 0", file=sys.stderr)
    run = train(
        config,
        dataset,
        arguments.out,
        resume=arguments.resume,
        device=arguments.device,
        progress=arguments.progress,
        tensorboard=arguments.tensorboard,
    )
    if distributed.rank():
        return
    print(
        f"{run.epochs} epochs; the best is {run.best_epoch}, with a validation loss of {run.best_valid:.4f}: "
        f"{run.directory / 'best.safetensors'}"
    )
    _training_figures(run.directory, None)
    _list_figures(run.directory)


def _evaluate(arguments: argparse.Namespace) -> None:
    """Metrics of the best model with bootstrap intervals, written as evaluation.json and figures beside it."""
    dataset = _load(arguments)
    split = getattr(dataset, arguments.split)
    found = evaluation.evaluate(
        arguments.out / "best.safetensors",
        dataset,
        split=arguments.split,
        groups=[reading.video_of(i) for i in split.ids] if arguments.by_video else None,
        missing=arguments.missing,
        device=arguments.device,
    )
    print(f"{arguments.split}, model of epoch {found.epoch}")
    print(evaluation.report(found))
    text = json.dumps(evaluation.to_json(found), indent=1)
    (arguments.out / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    truth = json.loads(arguments.truth.read_text(encoding="utf-8")) if arguments.truth else None
    _training_figures(arguments.out, truth)
    if (figures := _figures()) is None:
        return
    if found.predictions.ndim == 1:
        figures.predictions(found.predictions, found.labels, arguments.out / "predictions.png")
    else:
        figures.confusion(found.predictions, found.labels, arguments.out / "confusion.png")
    if found.missing:
        metric = "mae" if found.predictions.ndim == 1 else "accuracy"
        curve = {"shares": evaluation.SHARES} | dict(found.missing)
        figures.missing(curve, arguments.out / "missing.png", metric=metric)
    _list_figures(arguments.out)


def _training_figures(directory: Path, truth: dict[str, float] | None) -> None:
    if (figures := _figures()) is None:
        return
    records = log.records(directory)
    figures.losses(records, directory / "losses.png")
    measured = any(record.get("train", {}).get(level) for record in records for level in ("pairs", "fusion"))
    if measured and not configuration.read(directory / "config.json").legacy:  # whose values are not information
        figures.information(records, directory / "information.png", truth=truth)


def _list_figures(directory: Path) -> None:
    print(f"figures: {', '.join(sorted(path.name for path in directory.glob('*.png'))) or 'none'}")


def _figures() -> Any:
    try:
        import matplotlib  # noqa: F401, PLC0415 - an extra
    except ImportError:
        print("no figures: they need matplotlib (pip install 'infomax[mmim]')", file=sys.stderr)
        return None
    from mmim_example.results import figures  # noqa: PLC0415 - an extra

    return figures


def _ablate(arguments: argparse.Namespace) -> None:
    """Train every arm with every seed, and print means, deviations and paired tests against a baseline."""
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {arguments.seeds}")
    if arguments.arms and not arguments.arms.is_file():
        raise ValueError(f"--arms must be a file; {arguments.arms} is not there")
    config, dataset = read_settings(arguments), _load(arguments)
    arms = json.loads(arguments.arms.read_text(encoding="utf-8")) if arguments.arms else ablation.ARMS
    if not isinstance(arms, dict) or not arms or not all(isinstance(changes, dict) for changes in arms.values()):
        raise ValueError(f"{arguments.arms} must be a JSON object: name -> object of settings that differ")
    baseline = arguments.baseline or next(iter(arms))
    if baseline not in arms:
        raise ValueError(f"--baseline must be one of {', '.join(arms)}; got {baseline!r}")
    results = ablation.ablate(
        config,
        dataset,
        arguments.out,
        arms=arms,
        seeds=range(arguments.seeds),
        jobs=arguments.jobs,
        split=arguments.split,
        progress=arguments.progress,
    )
    default = (
        ("mae", "corr", "acc7", "acc2", "f1")
        if config.target == "regression"
        else ("accuracy", "f1_macro", "cross_entropy")
    )
    text = comparison.table(results, baseline, arguments.metrics or default)
    (arguments.out / f"{arguments.split}.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    for arm, error in ablation.failed(arguments.out, arms, range(arguments.seeds)).items():
        print(f"failed: {arm}: {error}", file=sys.stderr)


def _convert(arguments: argparse.Namespace) -> None:
    """Read a pickle, without executing any of it, and write the plain format."""
    dataset = _load(arguments)
    if arguments.embed_text:
        dataset = preparation.with_embedded_text(dataset, arguments.embed_text)
    reading.save(dataset, arguments.out)
    rows = ", ".join(f"{name} {len(split)}" for name, split in dataset.splits().items())
    columns = ", ".join(f"{name} {dim}" for name, dim in dataset.dims().items())
    print(f"{arguments.out}: {rows}; columns: {columns}")


def _generate(arguments: argparse.Namespace) -> None:
    """Draw three modalities and a label whose mutual information is known; truth.json has it, in nats."""
    dataset, truth = synthetic.generate(
        tuple(arguments.rows),
        text=arguments.text,
        audio=arguments.audio,
        vision=arguments.vision,
        joint=arguments.joint,
        seed=arguments.seed,
    )
    reading.save(dataset, arguments.out)
    (arguments.out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    print(f"{arguments.out}: " + ", ".join(f"I({name}) = {nats:.3f} nats" for name, nats in truth.items()))


if __name__ == "__main__":
    sys.exit(main())
