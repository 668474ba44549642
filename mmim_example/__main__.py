"""Train and evaluate MMIM, run ablations, convert and generate data."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from infomax import atomic_write, distributed, interrupts
from mmim_example import ablation, imports, preparation, pretrained, reading, synthetic
from mmim_example import config as configuration
from mmim_example.config import Config
from mmim_example.reading.files import read_json, write_text
from mmim_example.results import comparison, evaluation, figures, prediction
from mmim_example.runs import checkpoint

Commands = Any  # argparse has no public name for the type of subparsers


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, or 2 for invalid input or a failed run."""
    arguments = _parser().parse_args(argv)
    try:
        imports.execute(getattr(arguments, "files", ()))
        with distributed.processes(arguments.rank_timeout):
            arguments.run(arguments)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        print(f"mmim_example: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmim_example", description=__doc__)
    parser.set_defaults(rank_timeout=3600.0)
    commands = parser.add_subparsers(title="commands", required=True)
    _training(commands)
    _use(commands)
    _data_files(commands)
    return parser


def _training(commands: Commands) -> None:
    train = commands.add_parser("train", help="train a model, or resume a run", description=_train.__doc__)
    train.add_argument("out", type=Path, help="folder of the run")
    _data(train)
    _settings(train)
    _imports(train)
    train.add_argument("--resume", action="store_true", help="continue the run in this folder with its settings")
    train.add_argument("--device", help="a PyTorch device; default: a GPU if there is one")
    train.add_argument("--tensorboard", action="store_true", help="also write TensorBoard files")
    train.add_argument("--no-progress", dest="progress", action="store_false", help="show no progress bar")
    train.add_argument(
        "--rank-timeout",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="under torchrun, end with an error if a process gives no sign of life for so long; default: %(default)g",
    )
    train.set_defaults(run=_train)

    ablate = commands.add_parser(
        "ablate", help="compare arms over seeds, with paired tests", description=_ablate.__doc__
    )
    ablate.add_argument("out", type=Path, help="folder of the runs; finished runs are not repeated")
    _data(ablate)
    _settings(ablate)
    _imports(ablate)
    ablate.add_argument("--arms", type=Path, metavar="FILE", help="JSON: name -> settings that differ, as for --set")
    ablate.add_argument("--baseline", help="arm that the others are compared with; default: the first")
    ablate.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0; default: %(default)s")
    ablate.add_argument("--jobs", type=int, default=1, help="number of parallel runs; default: %(default)s")
    ablate.add_argument("--split", choices=reading.SPLITS[1:], default="test", help="default: %(default)s")
    ablate.add_argument("--metrics", nargs="+", metavar="NAME", help="columns of the table; the first is tested")
    ablate.add_argument("--no-progress", dest="progress", action="store_false", help="show no progress bar")
    ablate.set_defaults(run=_ablate)


def _use(commands: Commands) -> None:
    evaluate = commands.add_parser("evaluate", help="evaluate the best model of a run", description=_evaluate.__doc__)
    evaluate.add_argument("out", type=Path, help="folder of the run")
    _data(evaluate)
    _imports(evaluate)
    evaluate.add_argument("--split", choices=reading.SPLITS, default="test", help="default: %(default)s")
    evaluate.add_argument("--by-video", action="store_true", help="bootstrap videos instead of utterances")
    evaluate.add_argument("--missing", action="store_true", help="also evaluate with missing modalities")
    evaluate.add_argument("--truth", type=Path, help="truth.json of generated data, to draw the true MI")
    evaluate.add_argument("--device", help="a PyTorch device; default: a GPU if there is one")
    evaluate.set_defaults(run=_evaluate)

    for name, run, out in (("predict", _predict, "CSV"), ("export", _export, "npz")):
        brief = {"predict": "predict labels of new data", "export": "write the representations of data"}[name]
        apply = commands.add_parser(name, help=brief, description=run.__doc__)
        apply.add_argument("out", type=Path, help="folder of the run")
        apply.add_argument("--data", type=Path, required=True, help="folder in the plain format, or a pickle of MMSA")
        apply.add_argument("--split", choices=reading.SPLITS, help="default: all utterances")
        apply.add_argument("--output", type=Path, required=True, help=f"{out} file to write")
        apply.add_argument("--device", help="a PyTorch device; default: a GPU if there is one")
        _imports(apply)
        apply.set_defaults(run=run)


def _data_files(commands: Commands) -> None:
    convert = commands.add_parser("convert", help="convert pickles to the plain format", description=_convert.__doc__)
    convert.add_argument("out", type=Path, help="folder to write")
    _data(convert)
    convert.add_argument("--embed-text", metavar="MODEL", help="replace text by embeddings of this Hugging Face model")
    convert.set_defaults(run=_convert)

    generate = commands.add_parser("generate", help="generate data with known MI", description=_generate.__doc__)
    generate.add_argument("out", type=Path, help="folder to write")
    generate.add_argument("--rows", type=int, nargs=3, default=(2000, 400, 1000), metavar=("TRAIN", "VALID", "TEST"))
    for name, nats in (("text", 0.5), ("audio", 0.2), ("vision", 0.3)):
        generate.add_argument(
            f"--{name}", type=float, default=nats, help=f"MI of {name} and label in nats; default: %(default)s"
        )
    generate.add_argument("--joint", type=float, help="MI of all three modalities and the label in nats")
    generate.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    generate.set_defaults(run=_generate)


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="folder in the plain format or with the paper's caches, or a pickle"
    )
    parser.add_argument("--label", metavar="NAME", help="predict another column, field, or emotion of MOSEI")
    parser.add_argument(
        "--label-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="labels allowed; default for pickles: -3 3"
    )
    parser.add_argument(
        "--labels-csv", type=Path, help="table with video_id, clip_id and text: the transcripts for a MulT pickle"
    )
    parser.add_argument(
        "--join",
        choices=("id", "rows"),
        default="id",
        help="match the table by id, or by row with videos and labels compared (MOSEI); default: %(default)s",
    )


def _imports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--import",
        dest="files",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="execute Python files that register bounds or encoders of your own",
    )


def _settings(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--preset", choices=tuple(configuration.PRESETS), default="generated", help="default: %(default)s"
    )
    source.add_argument("--config", type=Path, help="JSON file, as config.json of a run")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="change settings: alpha=0.3 use_pairs=false fusion_bound=nwj "
        "modalities.text.hidden=64 (values are JSON, or text); with --resume: epochs, patience, threads",
    )
    parser.add_argument(
        "--amp", choices=get_args(configuration.Amp), help="mixed precision: bf16 is --set amp=bf16; default: none"
    )


def _config(arguments: argparse.Namespace) -> Config:
    """The configuration that the options specify."""
    config = configuration.read(arguments.config) if arguments.config else configuration.preset(arguments.preset)
    return _changed(config, arguments)


def _changed(config: Config, arguments: argparse.Namespace) -> Config:
    changes: dict[str, Any] = {"amp": arguments.amp} if arguments.amp else {}
    for assignment in arguments.set:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise ValueError(f"--set must be NAME=VALUE; got {assignment!r}")
        try:
            changes[name] = json.loads(text)
        except json.JSONDecodeError:
            changes[name] = text
    return config.changed(changes)


def _load(arguments: argparse.Namespace) -> reading.Dataset:
    given = tuple(arguments.label_range) if arguments.label_range else None
    dataset = reading.load(arguments.data, label=arguments.label, label_range=given)
    if not arguments.labels_csv:
        return dataset
    join = {"id": reading.join_text, "rows": reading.join_rows}[arguments.join]
    return join(dataset, arguments.labels_csv)


def _train(arguments: argparse.Namespace) -> None:
    """Train a model and keep the one with the smallest validation loss. Figures are written beside it."""
    from mmim_example.trainer import train  # noqa: PLC0415 - slow to import, and not needed for --help

    if arguments.resume:
        path = arguments.out / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"there is no run to resume in {arguments.out}: it has no {path.name}")
        if arguments.config:
            raise ValueError("--resume uses the settings of the run; it must not be given with --config")
        config = _changed(checkpoint.run_config(arguments.out), arguments)
    else:
        config = _config(arguments)
    preparation.require_models(config)
    dataset = _load(arguments)
    for name, count in dataset.nonfinite.items():
        if count:
            print(f"{name}: {count} non-finite values are read as 0", file=sys.stderr)
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
        f"{run.epochs} epochs; the best is epoch {run.best_epoch} with a validation loss of {run.best_valid:.4f}: "
        f"{run.directory / 'best.safetensors'}"
    )
    _draw(run.directory, figures.of_training(run.directory))


def _evaluate(arguments: argparse.Namespace) -> None:
    """Compute metrics of the best model with bootstrap intervals. Writes evaluation.json, predictions.csv, figures."""
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
    print(f"{arguments.split} split, model of epoch {found.epoch}")
    print(evaluation.report(found))
    text = json.dumps(evaluation.to_json(found), indent=1)
    write_text(arguments.out / "evaluation.json", text + "\n")
    prediction.write_table(arguments.out / "predictions.csv", split.ids, found.predictions, found.half_width)
    truth = figures.truth(arguments.truth) if arguments.truth else None
    made = figures.of_training(arguments.out, truth)
    regression = found.predictions.ndim == 1
    if regression:
        made["predictions"] = partial(figures.predictions, found.predictions, found.labels)
    else:
        made["confusion"] = partial(figures.confusion, found.predictions, found.labels)
    if found.missing:
        curve = {"shares": evaluation.SHARES} | dict(found.missing)
        made["missing"] = partial(figures.missing, curve, "mae" if regression else "accuracy")
    _draw(arguments.out, made)


def _predict(arguments: argparse.Namespace) -> None:
    """Predict labels with 80 % intervals, or classes with probabilities. The data need no labels and no splits.

    A modality may be missing in some utterances or in all.
    """
    found = _predictions(arguments)
    prediction.write_table(arguments.output, found.ids, found.predictions, found.half_width)
    print(f"{arguments.output}: {len(found.ids)} predictions")


def _export(arguments: argparse.Namespace) -> None:
    """Write id, prediction, the fused representation and that of each modality as arrays in an npz file."""
    found = _predictions(arguments)
    prediction.write_representations(arguments.output, found)
    columns = ", ".join(f"{name} {array.shape[1]}" for name, array in found.representations.items())
    print(f"{arguments.output}: {len(found.ids)} rows; columns: fused {found.fused.shape[1]}, {columns}")


def _predictions(arguments: argparse.Namespace) -> prediction.Predictions:
    splits = reading.load_unlabelled(arguments.data)
    if arguments.split:
        if arguments.split not in splits:
            raise ValueError(f"--split must be one of {', '.join(splits)} in these data; got {arguments.split}")
        splits = {arguments.split: splits[arguments.split]}
    best = arguments.out / "best.safetensors"
    found = prediction.predict(best, splits, source=str(arguments.data), device=arguments.device)
    for name in found.absent:
        print(f"{name} is not in {arguments.data}: these predictions are made without it", file=sys.stderr)
    return found


def _draw(directory: Path, made: Mapping[str, Callable[[], Any]]) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no figures: they need matplotlib (pip install 'infomax[mmim]')", file=sys.stderr)
        return
    for name, draw in made.items():
        with atomic_write(directory / f"{name}.png") as file:
            draw().savefig(file, format="png", dpi=150)
    print(f"figures: {', '.join(sorted(path.name for path in directory.glob('*.png'))) or 'none'}")


def _ablate(arguments: argparse.Namespace) -> None:
    """Train every arm with every seed. Prints means, standard deviations and paired tests against a baseline.

    The table is also in SPLIT.md, and every value in SPLIT.csv.
    """
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {arguments.seeds}")
    if arguments.arms and not arguments.arms.is_file():
        raise ValueError(f"--arms must be a file; {arguments.arms} does not exist")
    config = _config(arguments)
    preparation.require_models(config)
    dataset = _load(arguments)
    arms = read_json(arguments.arms) if arguments.arms else ablation.ARMS
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
        files=arguments.files,
    )
    default = (
        ("accuracy", "f1_macro", "cross_entropy")
        if config.target == "classification"
        else {"mosi": ("mae", "corr", "acc7", "acc2", "f1"), "sims": ("mae", "corr", "acc5", "acc3", "acc2_sims")}[
            config.metrics
        ]
    )
    write_text(arguments.out / f"{arguments.split}.csv", comparison.rows(results, range(arguments.seeds)))
    text = comparison.table(results, baseline, arguments.metrics or default)
    write_text(arguments.out / f"{arguments.split}.md", text + "\n")
    print(text)
    for arm, error in ablation.failed(arguments.out, arms, range(arguments.seeds)).items():
        print(f"failed: {arm}: {error}", file=sys.stderr)


def _convert(arguments: argparse.Namespace) -> None:
    """Write data in the plain format. Pickles are read without executing them."""
    if arguments.embed_text:
        pretrained.require(arguments.embed_text)
    dataset = _load(arguments)
    if arguments.embed_text:
        dataset = preparation.with_embedded_text(dataset, arguments.embed_text)
    reading.save(dataset, arguments.out)
    rows = ", ".join(f"{name} {len(split)}" for name, split in dataset.splits().items())
    columns = ", ".join(f"{name} {dim}" for name, dim in dataset.dims().items())
    print(f"{arguments.out}: {rows}; columns: {columns}")


def _generate(arguments: argparse.Namespace) -> None:
    """Generate three modalities and a label with known mutual information, which truth.json contains in nats."""
    dataset, truth = synthetic.generate(
        tuple(arguments.rows),
        text=arguments.text,
        audio=arguments.audio,
        vision=arguments.vision,
        joint=arguments.joint,
        seed=arguments.seed,
    )
    reading.save(dataset, arguments.out)
    write_text(arguments.out / "truth.json", json.dumps(truth, indent=1) + "\n")
    print(f"{arguments.out}: " + ", ".join(f"I({name}) = {nats:.3f} nats" for name, nats in truth.items()))


if __name__ == "__main__":
    interrupts.run(main)
