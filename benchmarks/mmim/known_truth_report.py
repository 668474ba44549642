"""Page and figure of `known_truth`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks.mmim.known_truth_plan import VARIANTS
from benchmarks.report import number, provenance, table
from benchmarks.sweep import Row, read
from mmim_example.results.figures import COLOURS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Nats above the truth that the draw of the test rows does not explain.
MARGIN = 0.05
_PAIRS = ("text-vision", "text-audio")
_LEGACY, _EXCESS = "legacy", "entropy too large by"
_HEAD = """\
Generated data in which text and vision share a known number of nats. What encoders make of them can share no more, by
data processing: a reading above that is wrong, whatever the encoders are. Each seed draws data and model anew."""
_FIGURE = """\
Above, by epoch: what the input level reports on validation, mean and range over seeds; beyond the panel, its last
value. Grey: what an InfoNCE that is fitted afterwards finds in the representations of the kept epoch (mean, and the
outermost ends of the 95 % intervals). Below: CPC of text and the fusion Z, with the ceilings log 64 = 4.16 and, for
cosines at temperature 1, 1.90 nats. Legacy values are no information; those of the fusion level are outside."""
_FINDINGS = f"""\
Readings on the test by the kept model, of text and vision and of text and audio, at all levels. "Above" is by more than
{MARGIN} nats, which the draw of the rows does not explain. "H(Y) too large by": a lower limit, from a mixture of up to
10 Gaussians that describes vision's representation on the test better than the model's own memory does.

- **BA is a bound only as far as its entropy is right, and what is trained on it seeks out where it is not.** "Task
  only" carries the same BA as "BA, one Gaussian", fitted but never maximised: it is not above the truth once.
  Maximised, it rises epoch by epoch past the truth, while what the representations share stays what it was. They bend
  until no Gaussian describes them, and the surplus of H(Y) counts as information.
- **Believe BA's readings, as lower limits, with both safeguards on:** Gaussians by the sign of the label
  (`entropy_classes="sign"`) and noise on what is predicted (`noise=0.3`). Then H(Y) is right to 0.1 or 0.2 nats, and no
  reading was above. They are of a noisy copy and lie below the truth, from 0.4 nats on by a fifth to a third. Where the
  truth is below some 0.3 nats they tell nothing, and can be below 0. These data may be kind to it, as what the
  modalities share is about the label: it is no proof for others.
- **Either safeguard alone fails.** Without noise the representations fall onto a surface, where the density has no
  finite entropy: the shrunk covariance of the memory gives too much by several nats, and a q with correlations follows
  the thin directions.
- **The paper's form by sign is below the truth for the wrong reason:** its H(Y) is one nat too large or more, and its
  q, which knows no correlations, misses more than that. Two errors cancel, here to 0.1 nats; nothing keeps them equal.
- **InfoNCE in BA's place (`pair_bound="infonce"`) needs no safeguard**: a lower bound in expectation, whatever the
  representations are; never above here, and about 0.1 nats or less from the truth up to 1 nat. Its limit is the log
  of the batch's rows.
- **Legacy values do not follow the truth**: they are nearly the same at every level, and others on the test than on
  validation, as the entropy needs an earlier batch.
- Readings on training batches are lower than on validation: they are of representations with dropout, and q is that of
  the last stage 0, while the encoders move on. To read nats, take those of validation.
- No term clearly raised what the representations share above what the task alone keeps: the intervals overlap. In
  these data all that modalities have in common is about the target, so there is nothing else to keep.
- On real data there is no truth beside the curve. The check that remains is an estimate that is fitted afterwards to
  held-out representations: `infomax.estimate(h_text, h_vision)`."""
_TABLES = """\
Mean over seeds of the reading on the test (range); \\* above the truth. "Afresh": an InfoNCE fitted to the test
representations (two folds, short training), with the outermost ends of its intervals. It is a lower bound; from 1 nat
on it is 0.1 to 0.3 below the truth, by its own shortfall or because the representations hold less. "Of the noisy copy":
the same with the noise that the reading has. The Gaussian copula stands for estimators that trust the margins:
representations that were trained against one Gaussian mislead it too."""
_FUSION = """\
Z is a function of the representations, so I(text; Z) is infinite in truth: a CPC reading can only say how near its
ceiling it is, and it is the same whether text shares 0.1 or 2 nats with the others. With a learned temperature it comes
near log 64: "at least that". With cosines at temperature 1 it stays at a third of a ceiling that is low already. Do not
compare readings of different temperatures or batch sizes, nor take them for how much of a modality the fusion keeps.

A finite test: Z is computed without text, whose place is zero. Then Z knows of text what audio and vision do, at most
I(text; audio, vision), known in closed form. "Afresh" is an InfoNCE fitted to that Z and text's representation: close
below the truth, so Z keeps what is shared, and the bound measures it. "Own" is the trained critic as it stands: a
lower bound still, but with a learned temperature far below 0, and near 0 without. It has learned to recognise text in a
Z that holds it, not what text has in common with the rest."""


@dataclass(frozen=True)
class Value:
    """A quantity of one run: in nats, with its 95 % interval, its largest true value, and a series by epoch."""

    value: float
    low: float
    high: float
    limit: float
    epochs: tuple[float, ...]


#: By level, variant, split, quantity and what it is of: one value a seed.
Values = Mapping[tuple[str, str, str, str, str], Sequence[Value]]


def write_report(path: Path) -> str:
    """Write page and figure beside a CSV; return the text."""
    rows = read(path)
    found = values(rows)
    levels, variants = (list(dict.fromkeys(row[key] for row in rows)) for key in ("level", "variant"))
    draw_figure(found, levels, variants, path.with_suffix(".png"))
    parts = [
        "# Does the information that MMIM reports mean anything?",
        _head(rows),
        f"{provenance(rows)}.",
        f"![Readings by epoch, against the truth]({path.stem}.png)",
        _FIGURE,
        "## When to believe a reading",
        summary(found, levels, variants),
        _FINDINGS,
        "## Input level: I(text; vision)",
        _TABLES,
        *(text for level in levels for text in (_title(found, level), level_table(found, level, variants))),
        "## Input level: I(text; audio)",
        audio_table(found, levels, variants),
        "## Fusion level",
        _FUSION,
        fusion_table(found, levels, variants),
        without_table(found, levels, variants),
        "## The variants",
        _settings(),
    ]
    failed = [f"- {row['level']} nats, {row['variant']}, seed {row['seed']}" for row in rows
              if row["quantity"] == "failed"]  # fmt: skip
    if failed:
        parts += ["## Runs whose loss became infinite", "\n".join(failed)]
    text = "\n\n".join(parts) + "\n"
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def values(rows: Sequence[Row]) -> Values:
    """The rows of the file, by what they are of."""
    found: dict[tuple[str, str, str, str, str], list[Value]] = {}
    for row in rows:
        key = (row["level"], row["variant"], row["split"], row["quantity"], row["of"])
        value, low, high, limit = (_number(row[name]) for name in ("value", "low", "high", "limit"))
        found.setdefault(key, []).append(Value(value, low, high, limit, tuple(map(float, row["epochs"].split()))))
    return found


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _head(rows: Sequence[Row]) -> str:
    seeds = len({row["seed"] for row in rows})
    train, valid, test = rows[0]["rows"].split()
    minutes = sum(float(row["value"]) for row in rows if row["quantity"] == "CPU seconds") / 60
    runs = len({(row["level"], row["variant"], row["seed"]) for row in rows})
    return (
        f"`python -m benchmarks.mmim.known_truth --seeds {seeds} --rows {train} {valid} {test}`: {runs} models, "
        f"{minutes:.0f} minutes of CPU.\n\n{_HEAD}"
    )


def _title(found: Values, level: str) -> str:
    truth = next(v[0].limit for k, v in found.items() if k[0] == level and k[3:] == ("infonce", "text-vision"))
    return f"### Truth: {truth:.2f} nats"


def summary(found: Values, levels: Sequence[str], variants: Sequence[str]) -> str:
    """Of each variant, over all levels, both pairs and all seeds: how its readings stand to the truth."""
    header = [
        "variant",
        "above the truth",
        "reading − truth: mean",
        "least",
        "most",
        "train − validation: mean",
        "H(Y) too large by",
    ]
    lines = []
    for variant in variants:
        keys = [(level, pair) for level in levels for pair in _PAIRS]
        test = [v for level, pair in keys for v in found.get((level, variant, "test", "reading", pair), ())]
        if not test:
            continue
        excess = [v.value - v.limit for v in test]
        train, valid = (
            [v.value for level, pair in keys for v in found.get((level, variant, split, "reading", pair), ())]
            for split in ("train", "valid")
        )
        above = sum(e > MARGIN for e in excess)
        line = [variant, f"{above} of {len(excess)}"]
        line += [number(n, signed=True) for n in (mean(excess), min(excess), max(excess), mean(train) - mean(valid))]
        entropy = [v.value for level in levels for v in found.get((level, variant, "test", _EXCESS, _PAIRS[0]), ())]
        lines.append([*line, f"{number(min(entropy))} to {number(max(entropy))}" if entropy else "–"])
    return table(header, lines)


def level_table(found: Values, level: str, variants: Sequence[str]) -> str:
    """Readings of text and vision on the test, beside the truth and what the representations share."""
    header = ["variant", "reading", "− truth", "InfoNCE afresh [95 %]", "of the noisy copy", "Gaussian copula"]
    lines = []
    for variant in variants:
        reading, afresh, noisy, copula = (
            found.get((level, variant, "test", quantity, "text-vision"), ())
            for quantity in ("reading", "infonce", "infonce, noisy copy", "gaussian")
        )
        above = "".join("\\*" for v in reading[:1] if mean(r.value - r.limit for r in reading) > MARGIN)
        difference = number(mean(r.value - r.limit for r in reading), signed=True) + above if reading else "–"
        lines.append([variant, _spread(reading), difference, _interval(afresh), _mean(noisy), _mean(copula)])
    return table(header, lines)


def audio_table(found: Values, levels: Sequence[str], variants: Sequence[str]) -> str:
    """Readings of text and audio on the test."""
    limits = [
        next(v[0].limit for k, v in found.items() if k[0] == level and k[3:] == ("reading", "text-audio"))
        for level in levels
    ]
    lines = [
        [variant, *(_spread(found.get((level, variant, "test", "reading", "text-audio"), ())) for level in levels)]
        for variant in variants
    ]
    return table(["reading", *(f"truth {limit:.2f}" for limit in limits)], lines)


def fusion_table(found: Values, levels: Sequence[str], variants: Sequence[str]) -> str:
    """CPC of text and Z on the test, with its ceiling."""
    lines = []
    for variant in variants:
        line = []
        for level in levels:
            reading = found.get((level, variant, "test", "reading", "text"), ())
            line.append(f"{_mean(reading)} of {number(mean(v.limit for v in reading))}" if reading else "–")
        if set(line) != {"–"}:
            lines.append([variant, *line])
    return table(["I(text; Z): reading of ceiling", *(f"{level} nats" for level in levels)], lines)


def without_table(found: Values, levels: Sequence[str], variants: Sequence[str]) -> str:
    """I(text; Z without text): an InfoNCE fitted afresh, and the trained critic as it stands."""
    names = ("without: infonce", "without: own critic")
    limits = [
        next(v[0].limit for k, v in found.items() if k[0] == level and k[3] == names[0]) for level in levels
    ]  # fmt: skip
    lines = []
    for variant in variants:
        cells = [
            [found.get((level, variant, "test", name, "text"), ()) for name in names] for level in levels
        ]  # fmt: skip
        lines.append([variant, *(f"{_mean(fresh)} / {_mean(own)}" for fresh, own in cells)])
    return table(["I(text; Z without text): afresh / own", *(f"truth {limit:.2f}" for limit in limits)], lines)


def _spread(found: Sequence[Value]) -> str:
    if not found:
        return "–"
    numbers = [v.value for v in found]
    return f"{number(mean(numbers))} ({number(min(numbers))} to {number(max(numbers))})"


def _interval(found: Sequence[Value]) -> str:
    if not found:
        return "–"
    low, high = min(v.low for v in found), max(v.high for v in found)
    return f"{_mean(found)} [{number(low)}, {number(high)}]"


def _mean(found: Sequence[Value]) -> str:
    return number(mean(v.value for v in found)) if found else "–"


def _settings() -> str:
    lines = []
    for variant, changes in VARIANTS.items():
        shown = ", ".join(f"`{name}={value!r}`" for name, value in changes.items())
        lines.append(f"- {variant}: {shown}")
    return "What each changes in the preset `generated`:\n\n" + "\n".join(lines)


# --- the figure -------------------------------------------------------------------------------------------------------

#: Of the readings of a panel, those up to this many times the truth, plus half a nat, are inside it.
_HEADROOM = 2.0
_STYLE: dict[str, dict[str, Any]] = {_LEGACY: {"linestyle": (0, (4, 2))}, "task only": {"linestyle": (0, (1, 1))}}


def draw_figure(found: Values, levels: Sequence[str], variants: Sequence[str], path: Path) -> None:
    """Readings by epoch: text and vision above with the truth, text and Z below with its ceiling; a panel a level."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    from matplotlib.lines import Line2D  # noqa: PLC0415

    colours = {variant: (*COLOURS, "#7f7f7f")[i % 8] for i, variant in enumerate(variants)}
    figure = Figure(figsize=(3.1 * len(levels) + 0.6, 6.6), layout="constrained")
    axes = figure.subplots(2, len(levels), squeeze=False, height_ratios=(1.5, 1))
    for column, level in enumerate(levels):
        _panel(axes[0][column], found, level, "text-vision", colours)
        _panel(axes[1][column], found, level, "text", colours)
    for row, of in zip(axes, ("text; vision", "text; Z"), strict=True):
        row[0].set_ylabel(f"reading of I({of})\non validation, nats", fontsize=10)
    handles = [
        Line2D([], [], color=colours[v], marker=MARKERS[i % len(MARKERS)], ms=4, lw=1.5, label=v, **_STYLE.get(v, {}))
        for i, v in enumerate(variants)
    ]
    handles += [
        Line2D([], [], color="black", lw=1.6, label="truth: no reading may be above"),
        Line2D([], [], color="0.45", lw=1, ls="--", label="ceiling of the bound"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)


def _panel(ax: Axes, found: Values, level: str, of: str, colours: Mapping[str, str]) -> None:
    from matplotlib.ticker import FixedLocator  # noqa: PLC0415 - an extra

    pair = "-" in of
    last, limits, ends = 1, [], []
    for i, (variant, colour) in enumerate(colours.items()):
        runs = found.get((level, variant, "valid", "reading", of), ())
        if not runs or (not pair and variant == _LEGACY):
            continue
        limits += [v.limit for v in runs if not math.isnan(v.limit)]
        # Runs stop at epochs of their own: a mean is of those that got there.
        by_epoch = [[v.epochs[e] for v in runs if e < len(v.epochs)] for e in range(max(len(v.epochs) for v in runs))]
        epochs = range(1, len(by_epoch) + 1)
        last = max(last, len(by_epoch))
        look: dict[str, Any] = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "ms": 3.5, "lw": 1.5}
        line = [mean(e) for e in by_epoch]
        ends.append((line, colour))
        ax.plot(epochs, line, **(look | _STYLE.get(variant, {})))
        ax.fill_between(epochs, [min(e) for e in by_epoch], [max(e) for e in by_epoch],
                        color=colour, alpha=0.15, lw=0)  # fmt: skip
    if pair:
        truth = limits[0]
        ax.axhline(truth, color="black", lw=1.6, zorder=1.5)
        top = _HEADROOM * truth + 0.5
        ax.set_ylim(-1.0, top)
        outside = sorted(((line[-1], color) for line, color in ends if line[-1] > top), reverse=True)
        for i, (value, color) in enumerate(outside):
            ax.annotate(f"↑ {value:.1f}", (last, top), (6, -3 - 11 * i), textcoords="offset points", color=color,
                        fontsize=9, va="top")  # fmt: skip
        ax.set_title(f"truth: {truth:.1f} nats", loc="left", fontsize=11)
        _carried(ax, found, level, colours, last)
    else:
        groups = {round(limit, 1): limit for limit in limits}  # a learned temperature's ceilings hardly differ
        for limit in groups.values():
            ax.axhline(limit, color="0.45", lw=1, ls="--", zorder=0)
            name = "T learned" if limit > 2 else "T = 1"
            ax.text(last, limit + 0.04, name, fontsize=8, color="0.3", ha="right", va="bottom")
        ax.set_ylim(0, 4.5)
        ax.set_title("truth: infinite", loc="left", fontsize=11)
    ax.set_xlabel("epoch", fontsize=9)
    ax.xaxis.set_major_locator(FixedLocator([epoch for epoch in (1, 4, 8, 12, 16, 20) if epoch <= last]))
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _carried(ax: Axes, found: Values, level: str, colours: Mapping[str, str], last: int) -> None:
    """To the right of the epochs: what an InfoNCE that is fitted afterwards finds in the representations."""
    left = last + 1.2
    ax.axvspan(left - 0.6, left + 0.7 * len(colours), color="0.95", zorder=0, lw=0)
    for i, (variant, colour) in enumerate(colours.items()):
        runs = found.get((level, variant, "test", "infonce", "text-vision"), ())
        if runs:
            x, low, high = left + 0.7 * i, min(v.low for v in runs), max(v.high for v in runs)
            ax.plot([x, x], [low, high], color=colour, lw=1.5)
            ax.plot(x, mean(v.value for v in runs), color=colour, marker=MARKERS[i % len(MARKERS)], ms=4)
    ax.text(left + 0.35 * (len(colours) - 1), 0.01, "InfoNCE afresh\non the test", transform=ax.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=8, color="0.3")  # fmt: skip
