"""Training: two stages in each epoch, model selection on validation data only, and bit-exact resumption."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infomax import distributed
from mmim_example import config as configuration
from mmim_example.config import Config
from mmim_example.measurement import Means, batch_of, half_width, measure, whole
from mmim_example.model import MMIM, Terms
from mmim_example.preparation import prepared, set_statistics
from mmim_example.reading import Batch, Dataset, Split, batches
from mmim_example.reading.batches import of_similar_length
from mmim_example.runs import checkpoint, optimizers
from mmim_example.runs.environment import check_precision, pick_device, seeded, threads
from mmim_example.runs.facts import Facts
from mmim_example.runs.log import log_of, progress_bar, require_tensorboard

Array = np.ndarray[Any, np.dtype[Any]]

#: Random streams. Each is a function of seed and epoch alone, so a resumed run needs no saved random state.
_INITIAL, _PAIRS, _MAIN, _DROPOUT = range(4)


class TrainingError(RuntimeError):
    """Training cannot continue. The message says where and why."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: contains ``config.json``, ``log.jsonl``, ``best.safetensors`` and ``last.safetensors``.
        best_epoch, best_valid: the epoch with the smallest validation loss, and that loss.
        epochs: number of epochs in total, including those before the run was resumed.
    """

    directory: Path
    best_epoch: int
    best_valid: float
    epochs: int


@dataclass
class Progress:
    """The state of a run besides its tensors."""

    epoch: int = 0
    best_epoch: int = 0
    best_valid: float = math.inf
    waited: int = 0


def train(
    config: Config,
    dataset: Dataset,
    directory: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> Run:
    """Train, and keep the model with the smallest validation loss.

    Writes ``config.json``, ``log.jsonl`` (one line for each epoch), ``last.safetensors`` (to resume from) and
    ``best.safetensors``. A run may be interrupted at any step and resumed. It continues after the last finished epoch,
    and on a CPU its weights equal those of an uninterrupted run bit for bit. With ``torchrun``, each process takes its
    share of each batch.

    Args:
        config: the model and its training.
        dataset: the data.
        directory: created if it does not exist.
        resume: continue the run in ``directory``.
        device: a PyTorch device; by default a GPU if there is one.
        progress: show a progress bar (needs ``tqdm``).
        tensorboard: also write TensorBoard files (needs ``tensorboard``).

    Raises:
        FileExistsError: if the directory contains a run and ``resume`` is false.
        FileNotFoundError: if it contains none and ``resume`` is true.
        CheckpointError: if its checkpoint is damaged, or belongs to another configuration or other data.
        DataError: if the data lack a modality of the configuration.
        TrainingError: if the loss is not finite.
        OSError: if a checkpoint cannot be written; the previous one is kept.
    """
    last = directory / "last.safetensors"
    if resume and not last.is_file():
        raise FileNotFoundError(f"there is no run to resume in {directory}: it has no {last.name}")
    if not resume and last.exists():
        raise FileExistsError(f"{directory} already contains a run; resume it, or use another directory")
    distributed.barrier()  # no process may create the files before all have checked
    check_precision(config.amp, where := pick_device(device))
    if tensorboard:
        require_tensorboard()
    stored = checkpoint.read(last) if resume else None
    with threads(config.threads):
        trainer = Trainer(config, dataset, where, progress=progress and distributed.rank() == 0, stored=stored)
        if not resume and distributed.rank() == 0:
            directory.mkdir(parents=True, exist_ok=True)
            configuration.write(config, directory / "config.json")
            trainer.save(last)
        with log_of(directory, trainer.progress.epoch, tensorboard=tensorboard) as log:
            if not resume:
                log({"event": "start", **trainer.describe()})
            while not trainer.finished():
                record, better = trainer.epoch()
                # `last` is saved last: a run interrupted before it repeats the epoch, its log line and `best`.
                log(record)
                if distributed.rank() == 0:
                    if better:
                        trainer.save_model(directory / "best.safetensors")
                    trainer.save(last)
    done = trainer.progress
    return Run(directory, done.best_epoch, done.best_valid, done.epoch)


class Trainer:
    """A model with its two optimisers and schedulers, trained one epoch at a time."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        device: torch.device,
        *,
        progress: bool = False,
        stored: checkpoint.Stored | None = None,
    ) -> None:
        """``stored``: a checkpoint to continue from, which must fit before the model takes any memory."""
        dataset = prepared(config, dataset)
        facts = checkpoint.check_resumable(stored, config, dataset) if stored else None
        if stored:
            checkpoint.check_model(stored, config, dataset.dims(), "model/")
        self.config, self.dataset, self.device, self.shown = config, dataset, device, progress
        with seeded(config.seed, 0, _INITIAL):
            self.model = MMIM(config, dataset.dims())
        set_statistics(self.model, dataset.train)
        self.model.to(device)
        groups = [
            {"params": self.model.main_parameters(), "lr": config.lr},
            {"params": self.model.transformer_parameters(), "lr": config.lr_transformer},
        ]
        fused = device.type in ("cpu", "cuda")
        self.main = torch.optim.Adam([g for g in groups if g["params"]], weight_decay=config.weight_decay, fused=fused)
        pairs = self.model.pair_parameters()
        self.pairs = (
            torch.optim.Adam(pairs, config.lr_pairs, weight_decay=config.weight_decay, fused=fused) if pairs else None
        )
        self.optimizers = {"main": self.main} | ({"pairs": self.pairs} if self.pairs else {})
        self.schedulers = {
            name: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=config.lr_patience)
            for name, optimizer in self.optimizers.items()
        }
        self.progress = Progress()
        self.half_width: float | None = None
        if stored and facts:
            self._load(stored, facts)
            checkpoint.check_best(stored.path, self.model, self.progress.best_epoch, self.progress.epoch)

    # --- One epoch ---------------------------------------------------------------------------------------------------

    def epoch(self) -> tuple[dict[str, Any], bool]:
        """Run both stages and validate. Returns a record for the log, and whether the model is the best so far.

        The stages alternate as in the paper, 0, 1, 0, 1, ..., and end with an additional stage 0: the pairs' bounds
        that are measured and saved then fit the current encoders.
        """
        started = time.perf_counter()
        progress, config = self.progress, self.config
        progress.epoch += 1
        if progress.epoch == 1:
            self.fit_pairs(0)
        with seeded(config.seed, progress.epoch, _MAIN):
            trained = self.fit_main()
        pair_loss = self.fit_pairs(progress.epoch)
        valid, predicted = measure(self.model, self.dataset.valid, self.device)
        self._check_finite(valid["task"])
        rate = self.main.param_groups[0]["lr"]
        for scheduler in self.schedulers.values():
            scheduler.step(valid["task"])
        better = valid["task"] < progress.best_valid
        if better:
            progress.best_epoch, progress.best_valid, progress.waited = progress.epoch, valid["task"], 0
            if config.target == "regression":
                self.half_width = half_width(predicted.numpy(), self.dataset.valid.labels)
        else:
            progress.waited += 1
        record = {
            "event": "epoch",
            "epoch": progress.epoch,
            "seconds": round(time.perf_counter() - started, 3),
            "lr": rate,
            "pair_loss": pair_loss,
            "train": trained,
            "valid": valid,
            "ceilings": self.model.ceilings(config.batch_size),
            "best_epoch": progress.best_epoch,
        }
        return record, better

    def finished(self) -> bool:
        """Whether all epochs are done, or the validation loss has not improved for ``patience`` epochs."""
        return self.progress.epoch >= self.config.epochs or self.progress.waited >= self.config.patience

    def fit_pairs(self, epoch: int) -> float | None:
        """Stage 0: tighten the pairs' bounds on fixed representations, which are computed once.

        Representations have dropout, as in the published code and in stage 1. A q fitted without dropout is
        overconfident in stage 1. The entropy memory has dropout as well, so values in evaluation mode are too low
        rather than too high.
        """
        if self.pairs is None:
            return None
        config, train = self.config, self.dataset.train
        order = np.random.default_rng([config.seed, epoch, _PAIRS]).permutation(len(train))
        order = order[: math.ceil(config.pair_share * len(train))]
        with seeded(config.seed, epoch, _DROPOUT, distributed.rank()):  # the number of draws depends on the process
            h, present = self._represent(order)
        labels = torch.from_numpy(np.asarray(train.labels)[order]).to(self.device)
        with seeded(config.seed, epoch, _PAIRS):  # the same draws in every process
            return self._fit_pairs(self.pairs, h, present, labels)

    def _fit_pairs(
        self, optimizer: torch.optim.Optimizer, h: dict[str, Tensor], present: dict[str, Tensor], labels: Tensor
    ) -> float | None:
        self.model.pair_bounds.train().requires_grad_(True)
        self.model.start_pairs(h, present, labels)
        total, steps, learned = 0.0, 0, self.model.pair_parameters()
        for rows in batches(len(labels), self.config.batch_size):
            some = slice(rows[0], rows[-1] + 1)
            loss = self.model.pair_loss(*({name: v[some] for name, v in part.items()} for part in (h, present)))
            if loss is None:
                continue
            loss.backward()  # type: ignore[no-untyped-call]
            self._step(optimizer, learned)
            total, steps = total + self._finite(loss, "stage 0"), steps + 1
        return total / steps if steps else None

    def fit_main(self) -> dict[str, Any]:
        """Stage 1: train everything else on the total loss. Returns the means of its terms."""
        config, train, model = self.config, self.dataset.train, self.model
        model.train()
        model.start_epoch()
        model.pair_bounds.requires_grad_(False)
        order = np.random.default_rng([config.seed, self.progress.epoch, _MAIN]).permutation(len(train))
        parts = list(batches(len(order), config.batch_size))
        means = Means()
        learned = [*model.main_parameters(), *model.transformer_parameters()]
        title = f"epoch {self.progress.epoch}/{config.epochs}"
        with progress_bar(len(parts), title, shown=self.shown) as advance:
            for start in range(0, len(parts), config.accumulate):
                group = parts[start : start + config.accumulate]
                for rows in group:
                    batch = self._share(train, order[rows])
                    output, labels = whole(model(batch), batch.labels)
                    terms = model.terms(output, labels)
                    loss = model.loss(terms)
                    (loss / len(group)).backward()  # type: ignore[no-untyped-call]
                    means.add(terms, self._finite(loss, "stage 1", terms), len(rows))
                    advance(means.values)
                self._step(self.main, learned)
        return means.values()

    def _step(self, optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
        distributed.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
        optimizer.step()
        optimizer.zero_grad()  # frees the gradients before the other stage

    def _finite(self, loss: Tensor, stage: str, terms: Terms | None = None) -> float:
        value = loss.item()
        if math.isfinite(value):
            return value
        named = {} if terms is None else {"task": terms.task, **terms.pairs, **terms.fusion}
        bad = [name for name, term in named.items() if not math.isfinite(term.item())]
        raise TrainingError(
            f"the loss of {stage} must be finite; got {value} in epoch {self.progress.epoch}"
            + (f", from {', '.join(bad)}" if bad else "")
            + ("; the published entropy is undefined for classes with few rows" if self.config.legacy else "")
        )

    def _check_finite(self, valid: float) -> None:
        """A checkpoint has finite parameters; one with others would be refused when the run is resumed."""
        bad = [name for name, p in self.model.named_parameters() if not bool(p.isfinite().all())]
        if bad or not math.isfinite(valid):
            got = f"other values in {bad[0]}" if bad else f"a validation loss of {valid}"
            raise TrainingError(f"parameters must be finite after epoch {self.progress.epoch}; got {got}")

    def _share(self, split: Split, rows: Array) -> Batch:
        mine = np.array_split(rows, distributed.world_size())[distributed.rank()]
        return batch_of(self.model, split, mine).to(self.device)

    @torch.no_grad()
    def _represent(self, order: Array) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """h_m of training rows, in this order, with dropout as in stage 1, without gradients."""
        self.model.train()
        found: tuple[dict[str, Tensor], dict[str, Tensor]] = {}, {}
        for some in of_similar_length(self.dataset.train, order, self.config.batch_size, self.config.modalities):
            batch, places = self._share(self.dataset.train, order[some]), torch.from_numpy(some).to(self.device)
            for part, values in zip(found, (self.model.encode(batch), batch.present), strict=True):
                for name, own in values.items():
                    gathered = distributed.gather(own)
                    part.setdefault(name, gathered.new_empty(len(order), *gathered.shape[1:]))[places] = gathered
        return found

    # --- State -------------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Facts about the run, for the log."""
        return {
            "torch": torch.__version__,
            "device": str(self.device),
            "amp": self.config.amp,
            "processes": distributed.world_size(),
            "rows": {name: len(split) for name, split in self.dataset.splits().items()},
            "parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "nonfinite": dict(self.dataset.nonfinite),
        }

    def save(self, path: Path) -> None:
        """Save everything that the next epoch depends on."""
        tensors = {f"model/{name}": t for name, t in checkpoint.module_tensors(self.model).items()}
        for name, optimizer in self.optimizers.items():
            tensors |= {f"{name}/{key}": t for key, t in optimizers.tensors_of(optimizer).items()}
        facts = {
            "revision": checkpoint.REVISION,
            "config": self.config.to_dict(),
            "data": checkpoint.fingerprint(self.dataset),
            "progress": dataclasses.asdict(self.progress),
            "optimizers": {
                name: optimizers.facts_of(optimizer, self.schedulers[name])
                for name, optimizer in self.optimizers.items()
            },
        }
        checkpoint.save(path, tensors, facts)

    def save_model(self, path: Path) -> None:
        """Save the model alone, for evaluation and use."""
        facts = {
            "config": self.config.to_dict(),
            "dims": self.dataset.dims(),
            "epoch": self.progress.epoch,
            "valid": self.progress.best_valid,
            "half_width": self.half_width,
        }
        checkpoint.save(path, checkpoint.module_tensors(self.model), facts)

    def _load(self, stored: checkpoint.Stored, facts: Facts) -> None:
        """Restore what :meth:`save` wrote. Everything is checked before anything is loaded.

        Args:
            facts: what :func:`~mmim_example.runs.checkpoint.check_resumable` returns.

        Raises:
            CheckpointError: names what does not fit.
        """
        progress = _progress(facts)
        each = facts.part("optimizers", list(self.optimizers))
        states = {
            name: optimizers.State(
                each.part(name, ("lr", "moments", "scheduler")), optimizer, self.config.lr_patience, progress.epoch
            )
            for name, optimizer in self.optimizers.items()
        }
        if progress.epoch and not states["main"].moments:
            each.refuse("main", "an optimiser with moments after the first epoch")
        parts = {"model": checkpoint.module_tensors(self.model)}
        parts |= {name: state.expected() for name, state in states.items()}
        tensors = stored.load({f"{part}/{name}": t for part, own in parts.items() for name, t in own.items()})
        loaded = {part: {name: tensors[f"{part}/{name}"] for name in own} for part, own in parts.items()}
        learned = dict(self.model.named_parameters())
        stored.check_finite({f"model/{name}": t for name, t in loaded["model"].items() if name in learned})
        for name, state in states.items():
            state.restore(loaded[name], self.schedulers[name])
        self.model.load_state_dict(loaded["model"], strict=False)
        self.progress = progress


def _progress(facts: Facts) -> Progress:
    part = facts.part("progress", [field.name for field in dataclasses.fields(Progress)])
    epoch = part.integer("epoch", 0, checkpoint.stored_config(facts.path, facts.plain["config"]).epochs)
    best = part.integer("best_epoch", 0, epoch)
    value = part.number("best_valid", -math.inf, math.inf)
    if math.isfinite(value) != bool(best):
        part.refuse("best_valid", "finite if there is a best epoch, and infinite otherwise")
    return Progress(epoch, best, value, part.integer("waited", epoch - best, epoch - best))
