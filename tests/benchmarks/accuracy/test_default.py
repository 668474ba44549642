"""The report of the default estimator, against numbers worked out by hand; and what its command runs."""

import csv
import itertools
import re

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from benchmarks import sweep
from benchmarks.accuracy.default import runs as default
from benchmarks.accuracy.default.report import write_report
from benchmarks.accuracy.default.rows import Share, duels, kind_of, warned, wide
from infomax import TrainingWarning, estimate, tasks

FACTS = {"seconds": "4.0", "memory": "500", "date": "2026-01-01", "machine": "infomax 9, 2 cores", "error": ""}
FILES = ("default.csv", "independence.csv", "known_mi.csv", "peers.csv")
FORTY = tasks.names("beyond-normal")


def run(task, bias, *, n=200, seed=0, mode="default", covered=1, warnings="", truth=1.0, **others):
    """A row of default.csv."""
    row = {"task": task, "n": n, "seed": seed, "mode": mode, "truth": truth, "estimate": truth + bias, "bias": bias}
    row |= {"stderr": 0.01, "low": truth + bias - 0.1, "high": truth + bias + 0.2, "covered": covered, "pvalue": 0.005}
    return {name: str(value) for name, value in {**row, "warnings": warnings, **FACTS, **others}.items()}


def ours(task, bias, *, n=10_000, **others):
    """A row of known_mi.csv."""
    return run(task, bias, n=n, **others) | {"estimator": "default", "kind": "estimate", "ceiling": ""}


def peer(task, name, bias, *, n=10_000, seed=0, error=""):
    row = {"task": task, "estimator": name, "n": n, "seed": seed, "truth": 1.0}
    row |= {"estimate": "", "bias": ""} if error else {"estimate": 1.0 + bias, "bias": bias}
    return {key: str(value) for key, value in {**row, **FACTS, "error": error}.items()}


def independence(pair, pvalue, *, dependent=0, seed=0, n=200, other="", covered=1):
    """A row of independence.csv."""
    row = {"pair": pair, "n": n, "seed": seed, "dependent": dependent, "estimate": 0, "low": -0.1, "high": 0.1}
    row |= {"covered": "" if dependent else covered, "pvalue": pvalue, "peer": other}
    return {key: str(value) for key, value in {**row, **FACTS}.items()}


def reported(folder, **files):
    """The report of rows by file, as text."""
    for name, rows in files.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    summary = write_report(*(folder / name for name in FILES))
    text = (folder / "default.md").read_text()
    assert text.startswith(summary)
    return text


def line_of(text, *starts):
    """The cells of the one row of a table that starts with these."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if "|" in line]
    (found,) = [row for row in rows if row[: len(starts)] == list(starts)]
    return found[len(starts) :]


def summed_up(text, criterion):
    """Target, result and whether it was met, of the one criterion of the summary that contains this text."""
    (line,) = [line for line in text.splitlines() if line.startswith("|") and criterion in line.split(" | ")[0]]
    return [cell.strip() for cell in line.strip("| ").split(" | ")][1:]


@pytest.mark.parametrize(("hits", "runs"), [(0, 7), (7, 7), (1, 1), (57, 60), (380, 400)])
def test_shares_have_the_exact_interval(hits, runs):
    expected = binomtest(hits, runs).proportion_ci(0.95, method="exact")
    assert Share(hits, runs).interval == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_accuracy_and_the_count_beside_peers(tmp_path):
    # Errors 0.02, but of three tasks at seed 0: 0.032 loses to 0.015 by 0.017, and 0.025 ties with 0.015 by 0.010.
    special = {FORTY[0]: 0.032, FORTY[1]: -0.025, FORTY[2]: 0.2}
    mine = [ours(task, special.get(task, 0.02)) for task in FORTY] + [
        ours(task, 0.02, seed=seed) for task in FORTY for seed in (1, 2)
    ]
    mine += [ours(task, 0.05, n=1000) for task in FORTY] + [ours(FORTY[0], 0.3, n=200)]
    others = [peer(task, "ksg", 0.015) for task in FORTY[:3]] + [peer(task, "ksg", -0.5) for task in FORTY[3:]]
    others += [peer(FORTY[2], "nearer", -0.01), peer(FORTY[5], "nearer", 0, error="TimeoutExpired: 300")]
    text = reported(tmp_path, known_mi=mine, peers=others)
    # (37 * 0.02 + 0.072 / 3 + 0.065 / 3 + 0.24 / 3) / 40 = 0.02164
    assert summed_up(text, 'of "Beyond Normal", n = 10,000') == ["≤ 0.03", "0.022", "yes"]
    assert summed_up(text, 'of "Beyond Normal", n = 1,000') == [
        "≤ 0.06",
        "0.050 (incomplete: 40 of 40 tasks, 1 of 3 seeds)",
        "–",
    ]
    assert summed_up(text, 'of "Beyond Normal", n = 200') == [
        "≤ 0.15",
        "0.300 (incomplete: 1 of 40 tasks, 1 of 3 seeds)",
        "–",
    ]
    assert summed_up(text, "error on the worst") == ["≤ 0.15", f"0.080 ({FORTY[2]})", "yes"]
    beaten = summed_up(text, "no peer is more accurate")
    assert beaten == ["≥ 36 of 40", "38 of 40 (37 won, 1 tied)", "yes"]
    assert f"- {FORTY[0]}: ksg by 0.017 (+0.015, ours +0.032)." in text
    assert f"- {FORTY[2]}: nearer by 0.190 (-0.010, ours +0.200)." in text
    assert f"- {FORTY[1]}: " not in text
    cells = line_of(text, FORTY[0], "1.000")
    assert cells == ["0.300", "0.050", "0.024", "ksg", "+0.015", "-0.017"]
    # The ten largest errors, the largest first.
    shown = [
        line.split(" | ")[0] for line in text.splitlines() if line.startswith(tuple(f"| {task} |" for task in FORTY))
    ]
    assert len(shown) == 10
    assert shown[:3] == [f"| {FORTY[i]}" for i in (2, 0, 1)]
    assert line_of(text, "nearer", "1") == ["0.010", "0.200"]  # the peer, and ours on the sample that it did
    assert "On the 40 samples that peers were run on (n = 10,000), the mean width of our intervals is 0.300." in text
    assert (
        "The most accurate of them (ksg) has a mean absolute error of 0.464," in text
    )  # the other has too few estimates


def test_ties_and_the_best_peer_by_hand():
    a, b, c = FORTY[:3]
    mine = [ours(a, 0.04), ours(b, -0.04), ours(c, 0.04), ours(a, 9, seed=1)]
    others = [peer(a, "p", 0.03), peer(a, "q", -0.05), peer(b, "p", 0.029), peer(c, "p", 0.0501), peer(c, "q", 7)]
    found = duels(mine, others, 10_000)
    assert [(duel.task, duel.peer, duel.lead, duel.tied, duel.lost) for duel in found] == [
        (b, "p", -0.011, False, True),
        (a, "p", -0.01, True, False),  # a hundredth is still a tie
        (c, "p", 0.0101, False, False),
    ]


def test_coverage_by_family_and_n(tmp_path):
    runs = [run("normal-1d-1", 0.1, seed=seed, covered=int(seed < 16)) for seed in range(20)]
    runs += [run("digits-0.5", 0.3, seed=seed) for seed in range(10)]
    runs += [run("secret-5in500-3", 0.1, n=5_000, covered=0), run("my-own-task", 0.1, mode="quick", covered=0)]
    text = reported(tmp_path, default=runs)
    low, high = binomtest(16, 20).proportion_ci(0.95, method="exact")
    between = f"{100 * low:.1f} to {100 * high:.1f} %"
    assert line_of(text, "normal", "200") == ["20", "16", "80.0%", between, "0.300", "0.100"]
    assert line_of(text, "images", "200")[:3] == ["10", "10", "100.0%"]
    assert line_of(text, "**all**", "200") == ["30", "26", "86.7%", "69.3 to 96.2 %", "0.300", "0.200"]
    assert summed_up(text, "empirical coverage of 95 % intervals, n = 200") == [
        "90 to 98 %",
        "86.7% of 30 runs (69.3 to 96.2 %)",
        "**no**",
    ]
    assert summed_up(text, "families and n with coverage") == ["all", "0 of 2", "**no**"]
    # Families held out apart from those that the default was designed on.
    head, tail = text.split("Families that the default was designed on:")
    assert line_of(head.split("held out during")[1], "images") == ["1", "0.300", "digits-0.5 (0.300)"]
    assert line_of(tail, "normal") == ["1", "0.100", "normal-1d-1 (0.100)"]
    assert "[default.csv](./default.csv)" in tail
    assert summed_up(text, "held-out families, n = 200") == ["–", "0.300", "–"]


def test_staircases_and_the_secret(tmp_path):
    stairs = tasks.names("staircase")
    runs = [run(task, 0.01 * i, n=10_000, truth=10.0, seed=s) for i, task in enumerate(stairs) for s in (0, 1)]
    runs += [run("secret-5in500-3", bias, n=5_000, truth=3.0, seed=s) for s, bias in enumerate([0.3, 0.36, -0.03])]
    text = reported(tmp_path, default=runs)
    assert summed_up(text, "staircases") == ["within 3%", f"10 of 10; largest error +0.9% ({stairs[-1]})", "yes"]
    assert summed_up(text, "secret-5in500-3 (") == ["within 10%", "+7.0%", "yes"]
    assert line_of(text, "secret-5in500-3", "5,000") == ["3", "+7.0%", "+12.0%"]
    runs[-3:] = [run(task, -0.7, n=10_000, truth=10.0, seed=2) for task in stairs[:1]]
    text = reported(tmp_path, default=runs[:2] + runs[-1:])
    # One stair of ten: enough to say no where it is outside, too few to say yes.
    assert summed_up(text, "staircases") == ["within 3%", f"1 of 1; largest error -2.3% ({stairs[0]})", "–"]
    assert "secret-5in500-3 was not run with n = 5,000." in text


def test_level_and_power_of_the_test(tmp_path):
    nulls = [independence("normal-1", (i + 1) / 40, seed=i, covered=int(i > 3)) for i in range(40)]
    nulls += [independence("discrete-1", 0.5, seed=i) for i in range(10)]
    pairs = [independence("1v1-AI", 0.05 if i < 6 else 0.06, dependent=1, seed=i, n=40, other=0.2) for i in range(8)]
    pairs += [independence("1v1-X-0.9", 0.9, dependent=1, seed=i, other=0.01) for i in range(4)]
    text = reported(tmp_path, independence=nulls + pairs)
    assert line_of(text, "normal-1", "200") == ["40", "2", "5.0%", "0.6 to 16.9 %", "90%"]
    assert line_of(text, "**all**", "200")[:3] == ["50", "2", "4.0%"]
    assert summed_up(text, "rejection rate") == ["3 to 7 %", "4.0% of 50 draws (0.5 to 13.7 %)", "yes"]
    assert line_of(text, "1v1-AI", "40") == ["8", "75% (34.9 to 96.8 %)", "0% (0.0 to 36.9 %)"]
    assert line_of(text, "1v1-X-0.9", "200") == ["4", "0% (0.0 to 60.2 %)", "100% (39.8 to 100.0 %)"]
    assert summed_up(text, "dependent pairs") == ["–", "1 of 2", "–"]
    # Below 0.5 lie 19 of 50 values: the largest distance is there, 0.5 - 0.38.
    assert "from the uniform distribution is 0.120 (Kolmogorov-Smirnov test: p = 0.4" in text


def test_warnings_by_kind(tmp_path):
    few = "{} of 10 columns have fewer than 20 distinct values and so no density: the value may exceed the truth"
    far = "larger than log n (200 rows measured at a time): no such value"
    runs = [
        run("normal-1d-1", 0.3, warnings=f"{few.format(3)} | {far}"),
        run("normal-1d-1", -0.2, warnings=few.format(12), seed=1),
        run("normal-1d-1", 0.05, warnings=few.format(1), seed=2),
        run("normal-1d-1", 0.5, seed=3),
        run("normal-1d-1", 0.1, seed=4),
    ]
    kind = "# of # columns have fewer than # distinct values and so no density"
    assert [(one.kind, one.large, one.runs, one.all_large) for one in warned(runs)] == [
        ("any", 2, 3, 3),
        (kind, 2, 3, 3),
        ("larger than log n", 1, 1, 3),
    ]
    text = reported(tmp_path, default=runs)
    assert "In 3 of 5 runs (60%) the absolute error exceeds 0.1 nats." in text
    assert "For 3 of the large errors the interval contains the truth" in text
    missed = [run("normal-1d-1", 0.3, covered=0, warnings=far), run("normal-1d-1", 0.3, covered=0, seed=1)]
    text_of_missed = reported(tmp_path, default=missed)
    assert "For 0 of the large errors the interval contains" in text_of_missed
    assert "2 intervals miss the truth, and 1 of these runs have a warning" in text_of_missed
    assert line_of(text, kind) == ["3", "67%", "67%"]
    assert line_of(text, "larger than log n") == ["1", "100%", "33%"]
    broad = [run("normal-1d-1", bias, low=0.8, high=high) for bias, high in ((0.2, 1.2), (0.0, 1.11), (0.3, 1.0))]
    assert [wide(broad).large, wide(broad).runs, wide(broad).all_large] == [1, 2, 2]
    assert kind_of("far below 0, which is 0.25 or 1,234 off") == "far below 0, which is # or # off"


def test_time_and_memory(tmp_path):
    many = {"n": 10_000, "truth": 1.0}
    runs = [
        run("normal-1d-1", 0.0, seconds="2", memory="700", **many),
        run("normal-5d-1", 0.0, seconds="14", memory="1200", **many),
        run("normal-20d-1", 0.0, seconds="11", memory="800", **many),
        run("secret-5in500-3", 0.0, seconds="900", memory="9000", **many),  # too wide
        run("normal-20d-1", 0.0, seconds="900", memory="9000"),  # n = 200
        *(run(task, 0.08, seconds="0.5", mode="quick", **many) for task in FORTY),
    ]
    text = reported(tmp_path, default=runs)
    assert summed_up(text, "CPU seconds per estimate") == ["≤ 10", "11.0", "**no**"]
    assert summed_up(text, "peak memory") == ["< 1,000", "1,200", "**no**"]
    assert summed_up(text, "CPU seconds per quick") == ["≤ 1", "0.50", "yes"]
    assert summed_up(text, "error of quick estimates") == ["≤ 0.10", "0.080", "yes"]
    assert line_of(text, "all tasks") == ["3", "11.00", "14.00", "1,200"]
    assert line_of(text, "quick") == ["40", "0.50", "0.50", "500"]


def test_what_is_missing_is_told(tmp_path):
    text = reported(tmp_path, default=[run("normal-1d-1", 0.1), run("digits-0.5", 0.1)])
    for name in FILES[1:]:
        assert f"{name} is missing or empty." in text
    assert "The default was not run on these tasks." in text
    assert "None of these tasks was run with the required sample size." in text
    assert "No tests of independent pairs were run." in text
    assert "No tests of dependent pairs were run." in text
    assert "No peer was run on the samples of the default" in text
    assert "No runs with n = 10,000, at most 50 columns per side: quick." in text
    assert summed_up(text, "rejection rate") == ["3 to 7 %", "not run", "–"]
    assert summed_up(text, "no peer is more accurate") == ["≥ 36 of 40", "not run", "–"]
    images = re.findall(r"!\[.+\]\((.+)\)", text)
    assert images == ["default_coverage.png"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == images


def test_every_figure_is_drawn(tmp_path):
    files = {
        "default": [run("normal-1d-1", 0.1), run("digits-0.5", 0.1), run("my-own-task", 0.1, n=1000)],
        "independence": [independence("normal-1", 0.4), independence("1v1-AI", 0.04, dependent=1, other=0.3)],
        "known_mi": [ours(FORTY[0], 0.1), ours(FORTY[1], 0.0, n=200)],
        "peers": [peer(FORTY[0], "ksg", 0.2)],
    }
    text = reported(tmp_path, **files)
    images = re.findall(r"!\[.+\]\((.+)\)", text)
    assert images == [f"default_{name}.png" for name in ("error", "coverage", "power")]
    assert all((tmp_path / image).read_bytes().startswith(b"\x89PNG") for image in images)
    assert "is missing" not in text


def test_failed_runs_are_counted_and_listed(tmp_path):
    blank = dict.fromkeys(default.COLUMNS, "")
    runs = [
        run("normal-1d-1", 0.1),
        run("normal-1d-1", 0.1, seed=1) | blank | {"error": "ValueError: no"},
        run("digits-0.5", 0.1, mode="quick") | {"estimate": "nan", "bias": "nan"},
    ]
    text = reported(tmp_path, default=runs)
    assert "Failed runs: 2, listed at the end." in text
    assert "- normal-1d-1, n = 200, seed 1 (default.csv): ValueError: no" in text
    assert "- digits-0.5, n = 200, seed 0, quick (default.csv): the estimate is nan" in text
    assert line_of(text, "**all**", "200")[:2] == ["1", "1"]


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(sweep.SweepError, match="must contain runs of the default; got none"):
        write_report(*(tmp_path / name for name in FILES))


def test_every_task_and_seed_has_draws_of_its_own():
    seeds = {default.seed_of(task, seed) for task, seed in itertools.product(tasks.names(), range(20))}
    assert len(seeds) == 20 * len(tasks.names())
    # Versions of one pair, which repeat each other under the seeds of known_mi.
    x, _ = tasks.get("1v1-normal-0.75").sample(50, default.seed_of("1v1-normal-0.75", 0))
    u, _ = tasks.get("half_cube-1v1-normal-0.75").sample(50, default.seed_of("half_cube-1v1-normal-0.75", 0))
    assert (np.argsort(x[:, 0]) != np.argsort(u[:, 0])).any()


def test_the_plan_of_a_sweep():
    names = ["normal-1d-1", "secret-5in500-3"]
    counts = {}
    for cell in default.cells_of(names, None, 20, "default"):
        counts.setdefault((cell["task"], cell["n"]), []).append(cell["seed"])
    assert {key: len(seeds) for key, seeds in counts.items()} == {
        ("normal-1d-1", 200): 20,
        ("secret-5in500-3", 200): 20,
        ("normal-1d-1", 1_000): 20,
        ("secret-5in500-3", 1_000): 20,
        ("secret-5in500-3", 5_000): 3,
        ("normal-1d-1", 10_000): 3,
        ("secret-5in500-3", 10_000): 3,
    }
    asked = default.cells_of(names[:1], [5_000, 50], 4, "quick")
    assert [(cell["n"], cell["seed"]) for cell in asked] == [
        *((n, seed) for seed in range(3) for n in (50, 5_000)),
        (50, 3),
    ]


def test_independent_pairs_are_what_they_are_called():
    rng = np.random.default_rng(0)
    for name in default.NULLS:
        x, y = default.independent(name, 2_000, rng)
        assert x.shape == y.shape == (2_000, int(name.split("-")[1]))
        assert abs(spearmanr(x[:, 0], y[:, -1]).statistic) < 0.1
    x, _ = default.independent("mixed-2", 2_000, rng)
    assert 0.25 < (x == 0).mean() < 0.35
    x, _ = default.independent("discrete-1", 2_000, rng)
    assert set(x.ravel()) == {0.0, 1.0, 2.0, 3.0}


def test_a_small_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(default, "NULLS", ("normal-1",))
    monkeypatch.setattr(default, "POWERS", {"1v1-AI": 30})
    monkeypatch.setattr(default, "NULL_ROWS", 30)
    for name in ("NULL_DRAWS", "POWER_DRAWS"):
        monkeypatch.setattr(default, name, 1)
    monkeypatch.setattr(default, "_PERMUTATIONS", 3)
    options = ["--tasks", "normal-1d-1", "channel-2-0.2", "--n", "60", "--seeds", "1", "--quick", "--jobs", "1"]
    default.main([*options, "--output", str(tmp_path)])
    assert "criterion | target | result" in capsys.readouterr().out
    rows = {row["task"]: row for row in sweep.read(tmp_path / "default.csv")}
    x, y = tasks.get("normal-1d-1").sample(60, default.seed_of("normal-1d-1", 0))
    with pytest.warns(TrainingWarning, match="no network was trained"):
        result = estimate(x, y, seed=0, quick=True, progress=False)
    assert rows["normal-1d-1"]["warnings"] == " | ".join(result.warnings)
    assert float(rows["normal-1d-1"]["estimate"]) == pytest.approx(result.mi, abs=1e-6)
    assert float(rows["normal-1d-1"]["pvalue"]) == result.pvalue
    low, high = result.confidence_interval()
    assert rows["normal-1d-1"]["covered"] == str(int(low <= 1 <= high))
    assert not any(row["error"] for row in rows.values())
    null, dependent = sorted(sweep.read(tmp_path / "independence.csv"), key=lambda row: row["dependent"])
    assert (null["pair"], null["peer"], null["covered"]) == ("normal-1", "", str(int(float(null["low"]) <= 0)))
    assert dependent["peer"] in {"0.25", "0.5", "0.75", "1.0"}
    assert dependent["covered"] == ""
    # Anew from the CSVs, without running anything.
    (tmp_path / "default.md").unlink()
    default.main(["--report", "--output", str(tmp_path)])
    assert "The default was not run on these tasks." in (tmp_path / "default.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "normal-1d-7"], "'normal-1d-7' is not known; did you mean"),
        (["--n", "10"], "n must be at least 20; got 10"),
        (["--seeds", "0"], "seeds must be at least 1; got 0"),
        (["--jobs", "0"], "jobs must be at least 1; got 0"),
        (["--known-mi", "no-such.csv"], "known-mi and peers must be files; no-such.csv does not exist"),
        (["--peers", "no-such.csv"], "known-mi and peers must be files; no-such.csv does not exist"),
        (["--report"], "must contain runs of the default; got none"),
    ],
)
def test_bad_requests_are_told_before_anything_runs(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        default.main([*options, "--output", str(tmp_path)])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
