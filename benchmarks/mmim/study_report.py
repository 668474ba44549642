"""The page of the study, from its CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import sweep
from benchmarks.mmim import study_plan as plan
from benchmarks.report import table
from mmim_example.results.comparison import Paired, detectable, holm, paired
from mmim_example.results.metrics import LABELS
from mmim_example.runs.checkpoint import REVISION

#: Published results for MOSI, as quoted by later papers: MAE, Corr, Acc-7, Acc-2, F1 (the last two without zeros).
PUBLISHED = {
    "TFN": (0.901, 0.698, 34.9, 80.8, 80.7),
    "LMF": (0.917, 0.695, 33.2, 82.5, 82.4),
    "MulT": (0.861, 0.711, None, 84.1, 83.9),
    "MISA": (0.804, 0.764, None, 82.1, 82.0),
    "MAG-BERT": (0.731, 0.789, None, 84.3, 84.3),
    "Self-MM": (0.712, 0.795, 45.79, 84.77, 84.91),
    "MMIM": (0.700, 0.800, 46.65, 86.06, 85.98),
}
TITLES = {
    "official": "MOSI, official split: text and audio",
    "video": "MOSI, split by video: text, audio and vision",
    "digits": "Six views of digits: classification, 200 training rows",
}
METRICS = {
    "official": ("mae", "corr", "acc7", "acc2"),
    "video": ("mae", "corr", "acc7", "acc2"),
    "digits": ("cross_entropy", "accuracy"),
}
_ALONE = "task only"
#: The set of rows with a fine-tuned text encoder, which are shown with those of this data set.
_TUNED, _TUNED_WITH = "tuned", "video"
#: Its runs with early stopping after two epochs without a smaller validation loss, by the name of their stage.
_STOPPED = "patience 2"

Values = dict[tuple[str, str, str], dict[int, float]]


def report(path: Path) -> str:
    """The page in Markdown.

    Raises:
        ValueError: if the file is missing or has no runs of this revision of the training.
    """
    rows = [row for row in sweep.read(path) if row.get("revision") == str(REVISION)]
    if not rows:
        raise ValueError(f"{path} must have runs of revision {REVISION} of the training; got none: run the study again")
    values: Values = {}
    settings: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["stage"] not in ("final", _STOPPED):
            continue
        name = _STOPPED if row["stage"] == _STOPPED else row["data"]
        settings[name, row["arm"]] = row["settings"]
        for metric, number in row.items():
            if number and (metric in ("score", "epoch") or metric.startswith(("valid ", "test "))):
                values.setdefault((name, row["arm"], metric), {})[int(row["seed"])] = float(number)
    sets = [name for name in TITLES if any(row["data"] == name for row in rows)]
    compared = {
        (name, arm): paired(_numbers(values, name, arm), _alone(values, name, arm))
        for name in sets
        for arm in plan.ARMS
        if arm != plan.alone(arm) and _comparable(values, name, arm)
    }
    corrected = dict(zip(compared, holm([c.t_pvalue for c in compared.values()]), strict=True)) if compared else {}
    runs = len({(row["data"], row["stage"], row["arm"], row["seed"]) for row in rows})
    parts = [_head(sets, runs, len(compared)), _versions(rows)]
    parts += [_section(name, values, settings, compared, corrected) for name in sets]
    if "official" in sets:
        parts += [*_initial(values), _published(values)]
    return "\n\n".join(parts) + "\n"


def _head(sets: Sequence[str], runs: int, comparisons: int) -> str:
    design = (
        "Learning rate and dropout were chosen for the task alone. Then the weights α and β of each objective were "
        "chosen from one grid, and used with both kinds of initial weights (“Xavier”: as in the published code). Both "
        f"choices used validation data and {len(plan.CHOICE)} seeds. The tables use "
        f"{len(plan.FINAL)} or more other seeds, and the test data were evaluated once per seed. "
        "Each arm is compared with the task alone from the same initial weights; “–” means that this was not run."
    )
    tests = (
        f"[study.csv](./study.csv) has all {runs:,} runs, with the chosen settings, all metrics, and the scores of "
        "validation. Differences are paired by seed, over the seeds of the arm. p (Holm) is the p-value of the paired "
        f"t-test, corrected for all {comparisons} comparisons of this page. Seeds change the initial weights and the "
        "order of the rows, so the tests are valid for *this* training set and *this* test set."
    )
    command = f"`python -m benchmarks.mmim.study {' '.join(sets)} --mosi DIR`"
    return "\n\n".join(["# Effect of the terms of MMIM", command, " ".join([design, *_more(sets), tests])])


def _versions(rows: Sequence[Mapping[str, str]]) -> str:
    """Which runs are of which day, version and machine."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        arms = found.setdefault(f"{row['date']}; {row['machine']}", {}).setdefault(row["data"], [])
        arm = {"final": row["arm"], _STOPPED: f"{row['arm']} with early stopping"}.get(row["stage"], "choices")
        arms.extend([arm] if arm not in arms else [])
    titles = {name: title.split(":")[0] for name, title in TITLES.items()} | {_TUNED: "Text encoder fine-tuned"}
    lines = [
        f"- {when}. " + ". ".join(f"{titles[name]}: {'; '.join(arms)}" for name, arms in sets.items()) + "."
        for when, sets in sorted(found.items())
    ]
    return "\n".join(["Versions of the runs:", "", *lines])


def _more(sets: Sequence[str]) -> list[str]:
    return [
        f"On {TITLES[name].split(':')[0]}, {' and '.join(f'“{arm}”' for data, arm in plan.MORE if data == name)} have "
        f"{len(plan.final_seeds(name, _ALONE))} seeds for more power; the number was fixed before these runs."
        for name in sets
        if (name, _ALONE) in plan.MORE
    ]


def _section(
    name: str,
    values: Values,
    settings: Mapping[tuple[str, str], str],
    compared: Mapping[tuple[str, str], Paired],
    corrected: Mapping[tuple[str, str], float],
) -> str:
    metrics = METRICS[name]
    header = ["arm", "seeds", *(LABELS[m] for m in metrics), f"{LABELS[metrics[0]]}: difference [95 %]", "p (Holm)"]
    lines = []
    for arm in plan.ARMS:
        if (name, arm) not in settings:
            continue
        seeds = str(len(_numbers(values, name, arm)) or "failed")
        line = [arm, seeds, *(_spread(_numbers(values, name, arm, metric)) for metric in metrics)]
        if (name, arm) in compared:
            c = compared[name, arm]
            line += [f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]", _p(corrected[name, arm])]
        else:
            line += ["–", "–"]
        lines.append(line)
    tuned = [arm for arm in plan.ARMS if name == _TUNED_WITH and (_TUNED, arm) in settings]
    for arm in tuned:
        seeds = str(len(_numbers(values, _TUNED, arm, "mae")))
        scores = (_spread(_numbers(values, _TUNED, arm, metric)) for metric in metrics)
        lines.append([f"{arm}, text fine-tuned", seeds, *scores, "–", "–"])
    parts = [f"## {TITLES[name]}", _verdict(name, compared, corrected), table(header, lines)]
    if any(line[1] == "failed" for line in lines):
        parts.append("Failed: the loss is not finite. The published entropy needs labels of both signs.")
    parts += [_tuned(values, tuned)] if tuned else []
    found = ", ".join(_power(values, name, arm) for data, arm in compared if data == name)
    if found:
        parts.append(f"Difference that an uncorrected test at the 5 % level detects with 80 % power: {found}.")
    names = sorted({metric for data, _, metric in values if data == name and metric.startswith("valid I(")})
    arms = [arm for arm in plan.ARMS if any((name, arm, metric) in values for metric in names)]
    lines = [
        [
            metric.removeprefix("valid "),
            *(_spread(_numbers(values, name, arm, metric, part=""), digits=2) for arm in arms),
        ]
        for metric in names
    ]
    parts.append("Bounds at the selected epoch, validation rows, in nats (legacy values are not mutual information):")
    return "\n\n".join([*parts, table(["bound", *arms], lines)])


def _tuned(values: Values, arms: Sequence[str]) -> str:
    seeds = [seed for seed in plan.TUNED_SEEDS if seed in values[_TUNED, arms[0], "test mae"]]
    frozen = "; ".join(
        f"{arm}: MAE {_spread([values[_TUNED_WITH, arm, 'test mae'][seed] for seed in seeds])}" for arm in arms
    )
    text = (
        "Rows “text fine-tuned”: a small BERT (all-MiniLM-L6-v2, 22.7 million parameters) reads the transcripts and is "
        "trained with everything else for 5 epochs, of which validation data select one; "
        "`python -m benchmarks.mmim.fine_tuning --mosi DIR`. All other "
        "rows have frozen embeddings of the same model. Learning rates and dropout are those of the paper, the number "
        "of epochs was chosen with one other seed on validation data, and α and β are those chosen for frozen "
        f"embeddings. With frozen embeddings, the same seeds have: {frozen}. This difference is not that of "
        "fine-tuning alone, because learning rate, dropout and epochs differ as well."
    )
    for arm in arms:
        if stopped := _numbers(values, _STOPPED, arm, "mae"):
            first = sum(epoch == 1 for epoch in _numbers(values, _STOPPED, arm, "epoch", part=""))
            text += (
                f" In a first attempt with early stopping after two epochs without a smaller validation loss, {arm} "
                f"had MAE {_spread(stopped)} ({len(stopped)} seeds): the validation loss often rises at epoch 2, so "
                f"{first} runs ended with the model of epoch 1. Therefore, and before the test errors were looked at, "
                "all epochs were run in those 3; the other 2 had run all of them already."
            )
    if {_ALONE, "+ both (MMIM)"} > set(arms):
        return f"{text} Only one arm was fine-tuned, so its row does not show the effect of the terms."
    c = paired(*(_numbers(values, _TUNED, arm, "mae") for arm in ("+ both (MMIM)", _ALONE)))
    return (
        f"{text} Fine-tuned, “+ both (MMIM)” minus “task only”: MAE {c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}], "
        f"paired over {c.n} seeds; this is not among the corrected tests."
    )


def _verdict(name: str, compared: Mapping[tuple[str, str], Paired], corrected: Mapping[tuple[str, str], float]) -> str:
    found = [
        (arm, compared[data, arm].difference) for data, arm in compared if data == name and corrected[data, arm] < 0.05
    ]
    if not found:
        return "No arm differs significantly from the task alone with the same initial weights (5 % level, corrected)."
    arms = ", ".join(f"{arm} ({'better' if difference < 0 else 'worse'})" for arm, difference in found)
    same = "the task alone with the same initial weights"
    return f"Arms that differ significantly from {same} (5 % level, corrected): {arms}."


def _initial(values: Values) -> list[str]:
    """The change of the first metric by Xavier's initial weights, for each objective that was trained with both."""
    lines = []
    for name, metrics in METRICS.items():
        for arm in plan.ARMS:
            drawn, plain = (values.get((name, a, f"test {metrics[0]}"), {}) for a in (f"{arm}, Xavier", arm))
            seeds = sorted(drawn.keys() & plain.keys())
            if len(seeds) > 1 and np.isfinite([drawn[s] for s in seeds] + [plain[s] for s in seeds]).all():
                c = paired([drawn[s] for s in seeds], [plain[s] for s in seeds])
                shown = f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]"
                lines.append([TITLES[name].split(":")[0], arm, str(len(seeds)), LABELS[metrics[0]], shown])
    if not lines:
        return []
    text = (
        "The published code draws every weight matrix outside BERT again by Xavier's rule. The arms named “Xavier” do "
        "the same; all others keep PyTorch's initial weights. With one seed, arms with the same rule start from one "
        "network. The table has the change by Xavier's rule alone, with the same objective."
    )
    header = ["data", "objective", "seeds", "metric", "Xavier minus PyTorch [95 %]"]
    return ["## Initial weights", text, table(header, lines)]


def _published(values: Values) -> str:
    def shown(numbers: Sequence[float | None]) -> list[str]:
        return ["–" if v is None else f"{v:.{digits}f}" for v, digits in zip(numbers, (3, 3, 1, 1, 1), strict=True)]

    rows = [[method, "published", *shown(numbers)] for method, numbers in PUBLISHED.items()]
    for arm in plan.ARMS:
        if not _numbers(values, "official", arm):
            continue
        means = [float(np.mean(_numbers(values, "official", arm, metric))) for metric in (*METRICS["official"], "f1")]
        percent = [mean * (1 if i < 2 else 100) for i, mean in enumerate(means)]
        rows.append([arm, f"this study, mean of {len(_numbers(values, 'official', arm))} seeds", *shown(percent)])
    notes = (
        "The published methods use frames of audio and vision, and most of them a fine-tuned BERT. MMIM: "
        "BERT-base-uncased (110 million parameters), fine-tuned, and LSTMs over the frames of CMU-MOSI's own feature "
        "files. The arms here use frozen embeddings by a small BERT (all-MiniLM-L6-v2) and utterance statistics of "
        "audio, without vision. So rows are comparable within each group, but not between groups. Rows with a "
        "fine-tuned text encoder are in the table of the split by video, because only there can vision be used. "
        "Published values are as quoted by later papers; Acc-2 and F1 are those "
        "without zeros."
    )
    header = ["method", "source", "MAE", "Corr", "Acc-7", "Acc-2", "F1"]
    return "\n\n".join(["## Published results", notes, table(header, rows)])


def _numbers(values: Values, name: str, arm: str, metric: str = "", part: str = "test ") -> list[float]:
    found = values.get((name, arm, part + (metric or METRICS[name][0])), {})
    return [found[seed] for seed in plan.final_seeds(name, arm) if seed in found]


def _alone(values: Values, name: str, arm: str) -> list[float]:
    """Values of the task alone with the initial weights of an arm, for the seeds of the arm."""
    found = values.get((name, plan.alone(arm), f"test {METRICS[name][0]}"), {})
    return [found[seed] for seed in plan.final_seeds(name, arm) if seed in found]


def _comparable(values: Values, name: str, arm: str) -> bool:
    numbers, alone = _numbers(values, name, arm), _alone(values, name, arm)
    return len(numbers) == len(alone) > 1 and bool(np.isfinite([numbers, alone]).all())


def _power(values: Values, name: str, arm: str) -> str:
    differences = np.subtract(_numbers(values, name, arm), _alone(values, name, arm))
    return f"{arm} {detectable(float(np.std(differences, ddof=1)), len(differences)):.4f}"


def _spread(numbers: Sequence[float], digits: int = 3) -> str:
    if not numbers or not np.isfinite(numbers).all():
        return "–"
    return f"{np.mean(numbers):.{digits}f} ± {np.std(numbers, ddof=1):.{digits}f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
