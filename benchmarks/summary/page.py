"""The page ``docs/results.md``, from the committed CSV files.

python -m benchmarks.summary           # write it
python -m benchmarks.summary --check   # fail if the committed page differs
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.accuracy import abroad
from benchmarks.accuracy.default.rows import LARGE, MANY, columns, covered, family_of
from benchmarks.errors import MARGIN, Row
from benchmarks.report import table
from benchmarks.summary import facts
from benchmarks.summary.facts import share

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
#: What the families are, for readers who do not know their names.
_ABOUT = {
    "couplings": "Gaussian pairs through random invertible couplings",
    "wrapped": "Gaussian pairs, mixed linearly after tanh and exp",
    "tiles": "images of tiles that share bits",
    "clusters": "mixtures of five Gaussians in many columns",
    "embeddings": "outputs of random networks with few inputs",
    "sines": "sines of eight columns, rotated",
    "periodic": "a sine with 16 periods",
    "spirals": "Gaussian pairs on spirals, in many columns",
}
_NEIGHBOURS = (
    "infomax: default",
    "infomax: ksg",
    "npeet-plus: mi",
    "scikit-learn: mutual_info_regression",
    "ennemi: estimate_mi",
    "infomeasure: KSG",
)
_LEAST = 0.1
_FAR = f"{abroad.FAR} nats and {100 * abroad.FAR_SHARE:.0f} % of the truth"


def page() -> str:
    """The text, in Markdown."""
    parts = [_HEAD, _good(), _wrong(), _others(), _READ_ON]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_HEAD = """
<!-- Written by `make results` from the committed CSV files. Do not edit: change benchmarks/summary/page.py. -->

# How accurate is it, and where is it wrong?

This page is about `infomax.estimate(x, y)` with default settings, on data whose mutual information is known. Errors are
in nats. `make results` computes every number of this page from committed results; a test compares the page with them.
"""


def _good() -> str:
    lines = [
        [
            f"{n:,}",
            f"{facts.error_on_the_40(n):.3f}",
            f"{facts.error_on_the_40(n, 'infonce'):.3f}" if n > 200 else "–",
            f"{facts.error_on_the_40(n, 'ksg'):.3f}" if n > 200 else "–",
            f"{facts.seconds_on_the_40(n):.1f}",
        ]
        for n in (200, 1_000, MANY)
    ]
    (peer, theirs, ours, samples), *_ = found = facts.peers()
    few, many = facts.own_draws(200), facts.own_draws(1_000)
    off, _ = facts.far_off(design := facts.elsewhere(abroad.DESIGNED, least=MANY))
    tested = facts.level()
    return "\n\n".join(
        [
            "## Where it is accurate",
            _filled(
                """On the 40 tasks of "Beyond Normal" (1 to 50 columns a side), the mean absolute error is as
                follows. InfoNCE and KSG were measured with version 0.1."""
            ),
            table(["rows", "default", "InfoNCE", "KSG", "CPU seconds of the default"], lines),
            _items(
                f"""**Other packages.** On the same samples of {MANY:,} rows, the most accurate of {len(found)}
                estimators of other packages that have a result for nearly all tasks, {peer}, has {theirs:.3f};
                the default has {ours:.3f} on its {samples} tasks.""",
                f"""**Intervals.** Empirical coverage of the 95 % intervals: {share(few, 1)} of {few.runs:,} runs with
                200 rows, {share(many, 1)} of {many.runs:,} runs with 1,000 rows. Each run has its own draws.
                Measured with version 0.1; the coverage of version 0.2 on other data is below.""",
                f"""**Test of independence.** It rejects {share(tested, 1)} of {tested.runs} independent pairs at the
                5 % level (version 0.1).""",
                f"""**Data of other structure** that the default was designed on (networks, mixtures, sines, codes,
                interactions): with {MANY:,} rows, {off} of {len(design)} runs are off by more than {_FAR}.""",
            ),
        ]
    )


def _wrong() -> str:
    head = ["data", "columns", "truth", "estimate", "95 % interval", "warned"]
    few, many = facts.elsewhere(most=200), facts.elsewhere(least=1_000)
    (few_off, few_said), (many_off, many_said) = facts.far_off(few), facts.far_off(many)
    held = facts.elsewhere(abroad.HELD_OUT, least=1_000)
    held_off, held_said = facts.far_off(held)
    large, inside = facts.warned()
    short, walks = "AR(1), φ = .95, n = 400", "random walks, n = 500"
    return "\n\n".join(
        [
            "## Where it is wrong",
            f"The largest error of each family with {MANY:,} rows, where it exceeds {_LEAST} nats:",
            table(head, [_run(row) for row in facts.worst(MANY, _LEAST)]),
            _items(
                f"""**Families that were held out** from the design (wrapped, spirals, couplings, labels, tiles), with
                1,000 and {MANY:,} rows: {held_off} of {len(held)} runs are off by more than {_FAR}. {held_said}
                of these have a warning or an interval that contains the truth. Coverage is {share(covered(held))}
                there, not 95 %.""",
                f"""**Few rows show little.** With 200 rows, {few_off} of {len(few)} runs are as far off, and
                {few_said} of these have a warning or an interval that contains the truth; with 1,000 rows and
                more, {many_off} of {len(many)}, and {many_said} have one. All of these errors are downwards:
                dependence that no model found.""",
                f"""**A missing warning means little.** Of {large.runs} errors above {LARGE} nats, {share(large)} had
                a warning, and {share(inside)} had an interval that contains the truth (version 0.1).""",
                f"""**Rows that depend on each other.** For two independent series with φ = .95 and 400 rows, the test
                rejects {share(facts.dependent(short))} at a level of 5 % with `block_length="auto"`, and
                {share(facts.dependent(short, "free_pvalue"))} without it (a warning says so). For random walks it
                rejects {share(facts.dependent(walks))} with blocks: use differences.""",
            ),
        ]
    )


def _run(row: Row) -> list[str]:
    return [
        _ABOUT.get(family_of(row["task"]), family_of(row["task"])),
        str(columns(row["task"])),
        f"{float(row['truth']):.2f}",
        f"{float(row['estimate']):.2f}",
        f"{float(row['low']):.2f} to {float(row['high']):.2f}",
        "yes" if row["warnings"] else "**no**",
    ]


def _others() -> str:
    single = facts.one_column()
    lines = [[name, f"{single[name][0]:.4f}", f"{single[name][1]:.2f}"] for name in _NEIGHBOURS]
    slower = sorted(facts.times_as_long(name) for name in _NEIGHBOURS if name.startswith(("scikit", "ennemi")))
    closer = facts.lost()
    several = len({duel.peer for duel in closer})
    linear = "0.3 x"
    (slow, losses, longest), (slow_many, losses_many, _) = facts.slower_losses(256), facts.slower_losses(4_096)
    ours, theirs = (facts.selection_seconds("digits", name) for name in ("jmi", "scikit-learn"))
    return "\n\n".join(
        [
            "## Where something else is as good, or better",
            _filled(
                f"""With one column on each side and {MANY:,} rows, nearest neighbours are as accurate for a fraction
                of the time. The default takes {slower[0]:.0f} to {slower[1]:.0f} times as long as scikit-learn
                and ennemi; `estimate(x, y, bound="ksg")` does not:"""
            ),
            table(["estimator", "mean absolute error", "CPU seconds"], lines),
            _items(
                f"""**Single tasks.** On {len(closer)} of {len(facts.comparisons())} tasks, some estimator of another
                package is closer to the truth by more than {MARGIN} nats. They are {several} different
                estimators, and which one is closest is not known without the truth.""",
                f"""**Correlated time series.** For a linear effect, tigramite's test of partial correlation rejects
                in {share(facts.power(linear, "ParCorr"))} of the draws and ours in
                {share(facts.power(linear, "infomax"))}. For effects that are not linear, ours rejects more often.""",
                f"""**Losses of few pairs.** With 256 pairs, {slow} of {losses} losses take longer than those of other
            packages, up to {longest:.1f} times as long; with 4,096 pairs {slow_many} of {losses_many} do.""",
                f"""**Joint selection of features is slow.** To rank 64 features of 1,797 images, `jmi` takes
                {ours:.1f} s for each fold, and scikit-learn's scores of single features {theirs:.1f} s.""",
            ),
        ]
    )


def _filled(text: str, first: str = "", others: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), 120, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )


def _items(*texts: str) -> str:
    return "\n".join(_filled(text, "- ", "  ") for text in texts)


_READ_ON = """
## Read on

```{toctree}
:hidden:

known-truth
results-dependence
speed
results-losses
results-selection
results-mmim
what-was-tried
```

| page | question |
|---|---|
| {doc}`known-truth` | errors and coverage of all estimators, of other packages, and on other data |
| {doc}`results-dependence` | time series, subjects, and random walks |
| {doc}`speed` | time and memory |
| {doc}`results-losses` | losses of other packages: equal values, time and memory |
| {doc}`results-selection` | accuracy after selecting features |
| {doc}`results-mmim` | the example: do the terms of mutual information help? |
| {doc}`what-was-tried` | odd, damaged and hostile inputs |
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; the exit status is 1 if they differ")
    if not parser.parse_args(argv).check:
        results.replace(PAGE, page())
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE.name} is not what the committed results give: run python -m benchmarks.summary")
