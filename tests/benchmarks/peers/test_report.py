"""The comparison with other packages: numbers of its table, worked out by hand."""

from benchmarks.peers import report
from benchmarks.peers.environments import PINS


def row(task, estimator, estimate, truth=1.0, seed=0, **more):
    texts = {"n": "100", "seed": str(seed), "truth": str(truth), "estimate": str(estimate), "bias": "", "error": ""}
    texts |= {"seconds": "", "memory": "", "date": "2026-01-01", "machine": "m"}
    return texts | {"task": task, "estimator": estimator} | more


def lines_of(rows, ours=()):
    return "\n\n".join(report.report(rows, ours, ["ennemi 1.5.0"])).splitlines()


ROWS = [
    row("a", "ennemi: estimate_mi", 1.25, seconds="3", memory="100"),
    row("b", "ennemi: estimate_mi", 1.5, truth=2.0, seconds="1", memory="300"),
    row("c", "ennemi: estimate_mi", "nan", truth=3.0, seconds="5", memory="200", error="the estimate is nan"),
    row("a", "npeet-plus: mi", "", error="TimeoutExpired: Command 'npeet-plus: mi' timed out after 300 seconds"),
    row("b", "npeet-plus: mi", "", truth=2.0, error="MemoryError: "),
]
OURS = [
    row("a", "infomax: default", 0.9, seconds="20", memory="400"),
    row("b", "infomax: default", 2.505, truth=2.0, seconds="30", memory="410"),
    row("c", "infomax: default", 2.0, truth=3.0, seconds="40", memory="420"),
]


def test_table_of_errors():
    lines = lines_of(ROWS, OURS)
    assert lines[0].endswith(" Peers: ennemi 1.5.0.")
    assert lines[0] == "2026-01-01: m. Peers: ennemi 1.5.0."
    start = next(i for i, line in enumerate(lines) if line.startswith("| estimator"))
    assert lines[start : start + 5] == [
        "| estimator | tasks | mean abs. error | infomax: default on these | failed runs | CPU s | MB |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| infomax: default | 3 | 0.535 | 0.535 | 0 | 30.0 | 420 |",
        "| ennemi: estimate_mi | 2 | 0.375 | 0.302 | 1 | 3.0 | 300 |",
        "| npeet-plus: mi | 0 | – | – | 2 | – | – |",
    ]
    # On b the peer is nearer, but by less than the margin.
    assert lines[-1] == "On no task is a peer more accurate than infomax: default by more than 0.01 nats."


def test_where_a_peer_is_better():
    ours = [row("a", "infomax: default", 1.3), *OURS[1:]]
    assert lines_of(ROWS, ours)[-1] == "- a (infomax: default: +0.300): ennemi: estimate_mi (+0.250)."
    failed = [row("a", "infomax: default", "", error="ValueError: "), *OURS[1:]]
    assert lines_of(ROWS, failed)[-1] == "- a (infomax: default: error): ennemi: estimate_mi (+0.250)."
    assert lines_of(ROWS)[-1] == "infomax: default was not run on these samples."


def test_means_over_seeds():
    rows = [row("a", "ennemi: estimate_mi", value, seed=i) for i, value in enumerate((1.3, 0.9, "inf"))]
    lines = lines_of(rows, [row("a", "infomax: default", value, seed=i) for i, value in enumerate((1.15, 1.15, 1.15))])
    assert any("(means over 3 seeds)" in line for line in lines)
    # (0.3 + 0.1) / 2: signs do not cancel.
    assert "| infomax: default | 1 | 0.150 | 0.150 | 0 | – | – |" in lines
    assert "| ennemi: estimate_mi | 1 | 0.200 | 0.150 | 1 | – | – |" in lines


def test_our_rows_are_those_on_the_same_samples_with_default_settings():
    kept = row("a", "default", 1.0, mode="default")
    other = [kept | {"mode": "quick"}, kept | {"seed": "1"}, kept | {"n": "200"}, kept | {"task": "z"}]
    assert report.our_rows([kept, *other], ROWS) == [kept | {"estimator": "infomax: default"}]


def test_versions_are_those_of_the_lists():
    (found,) = report.versions(PINS, ROWS[:1])
    assert found.startswith("ennemi ")
