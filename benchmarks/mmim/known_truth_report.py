"""Page and figure of `known_truth`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks.mmim.known_truth_plan import VARIANTS
from benchmarks.report import WIDTH, new_figure, number, provenance, styled, table, write_page
from benchmarks.results import save_figure
from benchmarks.sweep import Row, read
from mmim_example.results.figures import COLOURS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Excess over the truth, in nats, that sampling of the test rows does not explain.
MARGIN = 0.05
_PAIRS = ("text-vision", "text-audio")
_LEGACY, _EXCESS = "legacy", "entropy too large by"
_HEAD = """\
The data are generated so that text and vision have a known mutual information. By the data-processing inequality, their
representations cannot have more. A reading (the value that a bound of MMIM reports) above the truth is therefore wrong,
for all encoders. Each seed draws new data and a new model."""
_FIGURE = """\
Top: readings of the input level on validation rows by epoch, mean and range over seeds; final values outside the panel
are written at its edge. Grey background: estimates by an InfoNCE fitted after training to the representations of the
selected epoch (mean, and outermost ends of the 95 % intervals). Bottom: CPC of text and the fusion Z, with the ceilings
log 64 = 4.16 nats and, for cosines with temperature 1, 1.90 nats. Legacy values are not mutual information; those of
the fusion level are outside the panels."""
_FINDINGS = f"""\
Readings on test rows by the selected model, for text and vision and for text and audio, at all levels. "Above" means by
more than {MARGIN} nats, which sampling of the rows does not explain. "Excess of H(Y)" is a lower limit: the difference
to a mixture of up to 10 Gaussians that describes the test representation of vision better than the model's memory.

- **BA is a bound only if its entropy is correct, and training exploits errors of the entropy.** "Task only" has the
  same BA as "BA, one Gaussian", fitted but not maximised, and is never above the truth. Maximised, BA increases during
  training beyond the truth, while the mutual information of the representations does not change. The representations
  become less Gaussian, and the excess of H(Y) is counted as information.
- **Readings of BA can be used as lower limits if both safeguards are on:** Gaussians by the sign of the label
  (`entropy_classes="sign"`) and noise on the predicted representation (`noise=0.3`). The error of H(Y) is then 0.1 to
  0.2 nats, and no reading is above the truth. The readings are for a noisy copy and lie below the truth, by a fifth to
  a third from 0.4 nats on. If the truth is below about 0.3 nats, they are not informative and can be negative. These
  data may be a favourable case, because all shared information is about the label. Other data can behave differently.
- **One safeguard alone is not enough.** Without noise the representations collapse onto a surface, where the density
  has no finite entropy. The shrunk covariance of the memory is then too large by several nats, and a q with
  correlations follows the thin directions.
- **The form of the paper by sign is below the truth because two errors cancel:** its H(Y) is too large by one nat or
  more, and its q without correlations loses more than that. The sum is accurate to 0.1 nats here, but nothing
  guarantees it.
- **InfoNCE instead of BA (`pair_bound="infonce"`) needs no safeguard.** It is a lower bound in expectation for all
  representations. Here it is never above the truth, and within about 0.1 nats of it up to 1 nat. Its ceiling is the
  log of the batch size.
- **Legacy values do not depend on the truth:** they are almost equal at all levels. They differ between test and
  validation, because the entropy needs an earlier batch.
- Readings on training batches are lower than on validation rows. Training representations have dropout, and q is from
  the previous stage 0 while the encoders change. Use the validation readings for values in nats.
- No term clearly increased the mutual information of the representations above that of the task alone: the intervals
  overlap. In these data all shared information is about the target, so the task alone keeps it.
- Real data have no known truth. The remaining check is an estimate from held-out representations, fitted after
  training: `infomax.estimate(h_text, h_vision)`."""
_TABLES = """\
Mean reading on test rows over seeds (range); \\*: above the truth. "InfoNCE": fitted to the test representations after
training (two folds, short training), with the outermost ends of its intervals. It is a lower bound. From 1 nat on it is
0.1 to 0.3 nats below the truth, because of its own bias or because the representations have less information. "Noisy
copy": the same with the noise of the reading. The Gaussian copula represents estimators that trust the marginals:
representations that were trained with one Gaussian mislead it too."""
_FUSION = """\
Z is a function of the representations, so the true I(text; Z) is infinite. A CPC reading shows only how close it is to
its ceiling, and it is the same whether text shares 0.1 or 2 nats with the other modalities. With a learned temperature
it approaches log 64, which means "at least that". With cosines at temperature 1 it stays at a third of a low ceiling.
Readings with different temperatures or batch sizes are not comparable. They do not measure how much of a modality the
fusion keeps.

A finite test: Z is computed without text, which is replaced by zeros. Then the information of Z about text is at most
that of audio and vision, I(text; audio, vision), which has a closed form. "Fitted" is an InfoNCE fitted after training
to this Z and the representation of text. It is slightly below the truth, so Z keeps the shared information, and the
bound measures it. "Trained" is the trained critic without changes. It is still a lower bound, but far below 0 with a
learned temperature and near 0 without. It has learned to recognise text in a Z that contains text, not the information
that text shares with the other modalities."""


@dataclass(frozen=True)
class Value:
    """A quantity of one run in nats, with its 95 % interval, its largest possible value, and a series by epoch."""

    value: float
    low: float
    high: float
    limit: float
    epochs: tuple[float, ...]


#: One value per seed, by level, variant, split, quantity and pair or modality.
Values = Mapping[tuple[str, str, str, str, str], Sequence[Value]]


def write_report(path: Path) -> str:
    """Write page and figure beside a CSV; return the text."""
    rows = read(path)
    found = values(rows)
    levels, variants = (list(dict.fromkeys(row[key] for row in rows)) for key in ("level", "variant"))
    draw_figure(found, levels, variants, path.with_suffix(".png"))
    parts = [
        "# Readings of MMIM compared with known mutual information",
        _head(rows),
        f"{provenance(rows)}.",
        f"![Readings by epoch and the truth]({path.stem}.png)",
        _FIGURE,
        "## Which readings are reliable",
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
        "## Variants",
        _settings(),
    ]
    failed = [f"- {row['level']} nats, {row['variant']}, seed {row['seed']}" for row in rows
              if row["quantity"] == "failed"]  # fmt: skip
    if failed:
        parts += ["## Runs with a non-finite loss", "\n".join(failed)]
    return write_page(path, parts)


def values(rows: Sequence[Row]) -> Values:
    """The rows of the file, grouped."""
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
        f"{minutes:.0f} minutes of CPU time.\n\n{_HEAD}"
    )


def _title(found: Values, level: str) -> str:
    truth = next(v[0].limit for k, v in found.items() if k[0] == level and k[3:] == ("infonce", "text-vision"))
    return f"### Truth: {truth:.2f} nats"


def summary(found: Values, levels: Sequence[str], variants: Sequence[str]) -> str:
    """Readings of each variant compared with the truth, over all levels, both pairs and all seeds."""
    header = ["variant", "above the truth", "reading − truth: mean", "minimum", "maximum"]
    header += ["train − validation: mean", "excess of H(Y)"]
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
    """Readings of text and vision on test rows, the truth, and estimates from the representations."""
    header = ["variant", "reading", "− truth", "InfoNCE [95 %]", "noisy copy", "Gaussian copula"]
    lines = []
    for variant in variants:
        reading, fitted, noisy, copula = (
            found.get((level, variant, "test", quantity, "text-vision"), ())
            for quantity in ("reading", "infonce", "infonce, noisy copy", "gaussian")
        )
        above = "".join("\\*" for v in reading[:1] if mean(r.value - r.limit for r in reading) > MARGIN)
        difference = number(mean(r.value - r.limit for r in reading), signed=True) + above if reading else "–"
        lines.append([variant, _spread(reading), difference, _interval(fitted), _mean(noisy), _mean(copula)])
    return table(header, lines)


def audio_table(found: Values, levels: Sequence[str], variants: Sequence[str]) -> str:
    """Readings of text and audio on test rows."""
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
    """CPC of text and Z on test rows, with its ceiling."""
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
    """I(text; Z without text): an InfoNCE fitted after training, and the trained critic."""
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
    return table(["I(text; Z without text): fitted / trained", *(f"truth {limit:.2f}" for limit in limits)], lines)


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
    return "Changes to the preset `generated`:\n\n" + "\n".join(lines)


# --- the figure -------------------------------------------------------------------------------------------------------

#: A panel shows readings up to this multiple of the truth plus half a nat.
_HEADROOM = 2.0
_STYLE: dict[str, dict[str, Any]] = {_LEGACY: {"linestyle": (0, (4, 2))}, "task only": {"linestyle": (0, (1, 1))}}


@styled
def draw_figure(found: Values, levels: Sequence[str], variants: Sequence[str], path: Path) -> None:
    """Readings by epoch, one panel per level: text and vision with the truth, then text and Z with its ceiling."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - an extra

    colours = {variant: (*COLOURS, "#7f7f7f")[i % 8] for i, variant in enumerate(variants)}
    columns = min(2, len(levels))
    lines = -(-len(levels) // columns)
    figure = new_figure(WIDTH, 4.3 * lines + 1.2)
    axes = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[1.5] * lines + [1] * lines)
    for ax in axes.flat:
        ax.set_visible(False)
    for i, level in enumerate(levels):
        for ax, of in (
            (axes[i // columns][i % columns], "text-vision"),
            (axes[lines + i // columns][i % columns], "text"),
        ):
            ax.set_visible(True)
            _panel(ax, found, level, of, colours)
            if i % columns == 0:
                ax.set_ylabel(f"I({'text; vision' if '-' in of else 'text; Z'}), nats")
    handles = [
        Line2D([], [], color=colours[v], marker=MARKERS[i % len(MARKERS)], ms=4, lw=1.5, label=v, **_STYLE.get(v, {}))
        for i, v in enumerate(variants)
    ]
    handles += [
        Line2D([], [], color="black", lw=1.6, label="truth: upper limit of all readings"),
        Line2D([], [], color="0.45", lw=1, ls="--", label="ceiling of the bound"),
    ]
    title = "Readings of MMIM on validation rows by epoch, and the truth"
    figure.legend(handles=handles, title=title, loc="outside upper center", ncols=3)
    save_figure(figure, path)


def _panel(ax: Axes, found: Values, level: str, of: str, colours: Mapping[str, str]) -> None:
    from matplotlib.ticker import FixedLocator  # noqa: PLC0415 - an extra

    pair = "-" in of
    last, limits, ends = 1, [], []
    for i, (variant, colour) in enumerate(colours.items()):
        runs = found.get((level, variant, "valid", "reading", of), ())
        if not runs or (not pair and variant == _LEGACY):
            continue
        limits += [v.limit for v in runs if not math.isnan(v.limit)]
        # Runs stop at different epochs; means are over the runs that reached an epoch.
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
        ax.set_title(f"truth: {truth:.1f} nats")
        _carried(ax, found, level, colours, last)
    else:
        groups = {round(limit, 1): limit for limit in limits}  # ceilings with learned temperatures are almost equal
        for limit in groups.values():
            ax.axhline(limit, color="0.45", lw=1, ls="--", zorder=0)
            name = "T learned" if limit > 2 else "T = 1"
            ax.text(last, limit + 0.04, name, fontsize=9, color="0.3", ha="right", va="bottom")
        ax.set_ylim(0, 4.9)
        ax.set_title(f"data of {float(level):.1f} nats")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(FixedLocator([epoch for epoch in (1, 4, 8, 12, 16, 20) if epoch <= last]))


def _carried(ax: Axes, found: Values, level: str, colours: Mapping[str, str], last: int) -> None:
    """Draw, to the right of the epochs, estimates by an InfoNCE that is fitted to the representations."""
    left = last + 1.2
    ax.axvspan(left - 0.6, left + 0.7 * len(colours), color="0.95", zorder=0, lw=0)
    for i, (variant, colour) in enumerate(colours.items()):
        runs = found.get((level, variant, "test", "infonce", "text-vision"), ())
        if runs:
            x, low, high = left + 0.7 * i, min(v.low for v in runs), max(v.high for v in runs)
            ax.plot([x, x], [low, high], color=colour, lw=1.5)
            ax.plot(x, mean(v.value for v in runs), color=colour, marker=MARKERS[i % len(MARKERS)], ms=4)
    ax.text(left + 0.35 * (len(colours) - 1), 0.01, "InfoNCE,\ntest rows", transform=ax.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=9, color="0.3")  # fmt: skip
