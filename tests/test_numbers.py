"""Numbers in documents that are typed by hand, against the committed results."""

import re
from functools import cache
from pathlib import Path
from statistics import mean

import pytest

from benchmarks.accuracy import abroad, dependence
from benchmarks.accuracy.default.rows import covered
from benchmarks.summary import facts

ROOT = Path(__file__).parents[1]
OURS = ("infonce", "cpc", "ba", "dv", "mine", "nwj")


def percent(value):
    return f"{100 * value:.0f}"


def ends(values, form=percent):
    """The smallest and the largest, as documents write them."""
    found = sorted(values)
    return f"{form(found[0])} to {form(found[-1])}"


def two(value):
    return f"{value:.2f}"


@cache
def cells(path, section, first):
    """The cells of a row of a committed Markdown table, by its section and first cell."""
    text = (ROOT / "benchmarks" / path).read_text(encoding="utf-8")
    part = text[text.index(section) :]
    row = next(line for line in part.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def readme_errors():
    return "\n".join(
        f"| {n:,} | {facts.error_on_the_40(n):.3f} | {facts.seconds_on_the_40(n):.1f} |" for n in (200, 1_000, 10_000)
    )


def readme_peers():
    name, error, _, samples = facts.peers()[0]
    assert (name, samples) == ("torch-mist: mine", 38)
    return f"The best of them reaches {error:.3f} nats at 10,000 pairs and returns no result on two tasks"


def coverage_of_bounds():
    values = [covered(facts.known(name, n)).value for name in OURS for n in (1_000, 10_000)]
    return f"which account for sampling error and gap only | {ends(values)} %"


def coverage_of_ksg():
    return f"{ends(covered(facts.known('ksg', n)).value for n in (1_000, 10_000))} %"


def coverage_of_the_default():
    held = facts.elsewhere(abroad.HELD_OUT, least=1_000)
    return (
        f"it was designed on (version 0.1) | {ends(found.value for found in facts.own_draws_of_the_design())} % |",
        f"held out for version 0.1 | {percent(facts.own_draws_held_out().value)} % |",
        f"held out for version 0.2, with 1,000 rows or more | {percent(covered(held).value)} % |",
    )


def far_off():
    few, few_said = facts.far_off(facts.elsewhere(most=200))
    many, many_said = facts.far_off(facts.elsewhere(least=1_000))
    return (
        f"With 1,000 rows and more, {many_said} of {many} runs that are far off have a warning",
        f"with 200 rows, {few_said} of {few}:",
    )


def a_fiftieth():
    for peer in ("scikit-learn: mutual_info_regression", "ennemi: estimate_mi"):
        assert 1 / facts.times_as_long(peer) == pytest.approx(1 / 50, abs=0.005)
    assert facts.one_column()["infomax: ksg"][1] < 0.1
    return "scikit-learn and ennemi are as accurate in a fiftieth of the time"


def mmim():
    """The study of the example; p-values and intervals are those of its page."""
    official, video = "## MOSI, official split", "## MOSI, split by video"
    page, initial = "mmim/results/study.md", "## Initial weights"
    row = {
        name: dict(zip(cells(page, section, "arm"), cells(page, section, arm), strict=True))
        for name, section, arm in (
            ("alone", official, "task only"),
            ("both", official, "+ both (MMIM)"),
            ("xavier", official, "published, Xavier"),
            ("alone, video", video, "task only"),
            ("infonce", video, "InfoNCE, learned T"),
            ("xavier, video", video, "published, Xavier"),
            ("tuned", video, "+ both (MMIM), text fine-tuned"),
        )
    }
    assert cells(page, initial, "MOSI, official split")[1] == "task only"
    changed = [cells(page, initial, name)[-1] for name in ("MOSI, official split", "MOSI, split by video")]
    mae = {name: found["MAE"].split(" ")[0] for name, found in row.items()}
    less = {name: row[name]["MAE: difference [95 %]"] for name in ("both", "infonce")}

    def short(text):
        """``-0.0069 [-0.0111, -0.0027]`` to three decimals, half up."""
        return [f"{abs(round(float(number) + 1e-9, 3)):.3f}" for number in re.findall(r"-?\d\.\d+", text)]

    return (
        f"mean absolute error of {mae['alone']} by {short(less['both'])[0]} "
        f"(official split, 100 seeds, corrected p = {row['both']['p (Holm)']})",
        f"an error of {mae['alone, video']} by 0.020 (split by video, 20 seeds, p = {row['infonce']['p (Holm)']})",
        f"increase the error by {short(changed[0])[0]} [{', '.join(short(changed[0])[1:])}]",
        f"and {short(changed[1])[0]} [{', '.join(short(changed[1])[1:])}]",
        f"the model reaches {mae['tuned']} (split by video, 5 seeds)",
    )


def series():
    run = {row["case"] for row in facts.rows("accuracy", "dependence")}
    cases = {case: facts.dependent(case).value for case in dependence.CASES if case in run}
    others = [value for case, value in cases.items() if case != "random walks, n = 500"]
    most = max(facts.dependent(case, "free_pvalue").value for case in cases)
    return (
        f"rejects {ends(others)} % of the draws with blocks or groups",
        f"as if rows were independent, up to {percent(most)} %",
    )


def pairs_a_second():
    rows = [row for row in speed() if row["section"] == "pairs"]

    def of(start, end, figure="times faster than the values of scikit-learn", column="ratio"):
        return [
            row[column]
            for row in rows
            if row["case"].startswith(start) and row["case"].endswith(end) and row["figure"] == figure
        ]

    rates = [
        of(f"n = {n}, all pairs of 50 columns", "with intervals and tests", column="ours")[0].split()[0]
        for n in ("1,000", "10,000")
    ]
    tested = [float(ratio) for ratio in of("n", "with intervals and tests")]
    alone = [float(ratio) for ratio in of("n", "values alone")]
    assert round(mean(alone)) == 3
    efficiency = [float(of(f"n = {n},", "two processes", "efficiency of CPU time")[0]) for n in ("1,000", "10,000")]
    return (
        f"one core takes {rates[0]} pairs a second with 1,000 rows and {rates[1]} with 10,000",
        f"That is {ends(tested, '{:.1f}'.format)} times as many as the values of scikit-learn, and 3 times as many",
        f"efficiency of {two(efficiency[0])} with 60 columns of 1,000 rows and of {two(efficiency[1])} with 24 columns",
    )


def tables():
    """Mean and smallest coverage of contingency tables, by shape and rows for each cell."""
    text = (ROOT / "benchmarks/accuracy/results/contingency_tables.md").read_text(encoding="utf-8")
    found = {}
    for line in text.splitlines():
        row = [cell.strip(" %") for cell in line.split("|")[1:-1]]
        if row and "×" in row[0]:
            found[row[0], row[1]] = [float(cell) / 100 for cell in row[4:6]]
    five = [average for (_, rows), (average, _) in found.items() if rows == "5"]
    worst = sorted(least for (_, rows), (_, least) in found.items() if rows == "5")[:2]
    ten = min(least for (shape, rows), (_, least) in found.items() if rows == "10" and shape == "2 × 50")
    return (
        f"coverage is {ends(five)} % (nominal 95 %)",
        f"with {ends(worst)} % at five rows for each cell and {percent(ten)} % at ten",
    )


def coverage_of_standard_errors():
    """Coverage of KSG if the interval had no part for its bias."""

    def share(n):
        rows = facts.known("ksg", n)
        return mean(abs(float(row["bias"])) <= 1.96 * float(row["stderr"]) for row in rows)

    return f"With the standard error alone it would be {ends(share(n) for n in (1_000, 10_000))} %"


def values_of_ksg():
    ratios = [
        float(row["ratio"]) for row in speed() if row["section"] == "pairs" and row["case"].endswith("columns, value")
    ]
    return f"are {min(ratios):g} to {max(ratios):.0f} times faster than the fastest tree"


def memory_of_large_files():
    gigabytes = [float(row["ratio"]) for row in speed() if row["figure"] == "GB of peak memory"]
    assert len(gigabytes) > 8
    assert max(gigabytes) < 1.5
    return "took less than 1.5 GB"


def epochs_of_mmim():
    rows = facts.sweep.read(facts.folder("mmim") / "study.csv")

    def epochs(arm):
        chosen = (row for row in rows if (row["data"], row["stage"], row["arm"]) == ("official", "final", arm))
        return [float(row["epoch"]) for row in chosen]

    alone, both = (epochs(arm) for arm in ("task only", "+ both (MMIM)"))
    late = [percent(mean(epoch > 30 for epoch in found)) for found in (alone, both)]
    return (
        f"{mean(alone):.1f} for the task alone, {mean(both):.1f} for “+ both (MMIM)”",
        f"after epoch 30 in {late[0]} % and {late[1]} % of the runs",
    )


def speed_of_mmim():
    page = "mmim/results/training_speed.md"
    ours, published = (
        float(cells(page, "Aligned, 50 frames; 20", name)[6])
        for name in ("mmim_example, legacy=True", "published, no anomaly detection")
    )
    return f"its epoch is {published / ours:.1f} times faster", f"it is {published:.1f} times faster, and was 2.7"


def speed():
    return facts.sweep.read(facts.folder("speed") / "speed.csv")


def speed_in_short():
    def latest(case, figure):
        return f"{facts.ratio(case, figure):.2f}"

    found = [
        float(row["ratio"])
        for row in speed()
        if row["section"] == "pairs" and row["case"].endswith("columns, estimate") and float(row["ratio"]) < 1
    ]
    assert len(found) == 3
    tested = [
        float(row["ratio"])
        for row in speed()
        if row["case"].endswith("with intervals and tests") and row["figure"].endswith("values of scikit-learn")
    ]
    return (
        f"takes {facts.seconds_on_the_40(10_000):.1f} s of CPU time (median of the 40 tasks), "
        f"and {facts.quick_seconds():.1f} s with `quick=True`",
        f"is {ends(tested, '{:.1f}'.format)} times as fast as the values of scikit-learn",
        f"takes {facts.ratio('InfoNCE, N = 65,536', 'MiB in addition to the inputs'):.0f} MiB instead of 16 GiB",
        f"at {ends(found, two)} of the speed of the fastest tree in three of four cases",
        f"in 16 dimensions, at {latest('d = 16, n = 64, closed form', 'times faster than the official form')} of",
        f"at {latest('InfoNCE, N = 1,024', 'times faster than cross-entropy of all scores')} of that of cross-entropy",
    )


CLAIMS = [
    ("README.md", readme_errors),
    ("README.md", readme_peers),
    ("README.md", a_fiftieth),
    ("README.md", far_off),
    ("README.md", coverage_of_the_default),
    ("README.md", coverage_of_bounds),
    ("README.md", coverage_of_ksg),
    ("README.md", mmim),
    ("docs/intervals.md", coverage_of_ksg),
    ("docs/intervals.md", tables),
    ("docs/dependent-rows.md", series),
    ("docs/many-columns.md", pairs_a_second),
    ("docs/intervals.md", coverage_of_standard_errors),
    ("docs/speed.md", values_of_ksg),
    ("docs/speed.md", speed_in_short),
    ("docs/large-data.md", memory_of_large_files),
    ("docs/results-mmim.md", epochs_of_mmim),
    ("docs/results-mmim.md", speed_of_mmim),
]


@pytest.mark.parametrize(("document", "claim"), CLAIMS, ids=[f"{document}: {of.__name__}" for document, of in CLAIMS])
def test_numbers_are_those_of_the_committed_results(document, claim):
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    expected = claim()
    for part in (expected,) if isinstance(expected, str) else expected:
        assert " ".join(part.split()) in text
