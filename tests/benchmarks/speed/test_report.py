from benchmarks import results
from benchmarks.speed.figure import AXES, curves
from benchmarks.speed.report import COLUMNS, LONGEST, SECTIONS, by_machine, headline, read, report


def row(machine, date, ratio):
    facts = {"section": "entropy", "case": "d = 16", "figure": "times faster", "ratio": ratio, "target": "≥ 2"}
    return dict.fromkeys(COLUMNS, "1") | facts | {"date": date, "machine": machine}


def test_the_table_is_of_the_last_machine():
    rows = [row("old", "2026-01-01", "3"), row("new", "2026-02-01", "1.5"), row("old", "2026-01-01", "4")]
    assert [[r["ratio"] for r in own] for own in by_machine(rows, "entropy")] == [["1.5"], ["3", "4"]]
    assert by_machine(rows, "ranks") == []
    lines = report(rows).splitlines()
    assert [line.split("|")[2].strip() for line in lines if line.startswith("| d = 16")] == ["1.5"]
    assert [line.split("|")[5].strip() for line in lines if line.startswith("| d = 16")] == ["**no**"]
    assert [line.split(":")[0] for line in lines if "--sections" in line] == ["2026-02-01"]
    assert lines[-1] == "2 more rows, of this and of other machines: [speed.csv](./speed.csv)."


def test_a_long_table_shows_the_rows_with_a_target_and_those_that_are_slower():
    rows = [row("m", "2026-01-01", str(0.5 + i)) | {"target": "≥ 2" if i % 2 else ""} for i in range(40)]
    assert headline(rows[:LONGEST]) == rows[:LONGEST]
    assert [r["ratio"] for r in headline(rows)] == ["0.5", *(str(0.5 + i) for i in range(1, 40, 2))]
    without = [r | {"target": "", "figure": "MB"} for r in rows]
    assert headline(without) == without[:LONGEST]


def test_every_kind_of_growth_has_a_panel_of_its_curves():
    rows = read(results.folder("speed") / "speed.csv")
    panels = curves([row for section in SECTIONS for own in by_machine(rows, section)[:1] for row in own])
    assert panels.keys() == AXES.keys()
    entropy = panels["entropy"]["closed form: times faster than the official form"]
    assert [x for x, *_ in entropy] == [16, 32, 32, 64, 128, 192]
    assert all(other is not None for *_, other in entropy)
    line = panels["neighbours"]["1 + 1 columns"]
    assert [x for x, *_ in line] == [30_000, 100_000, 300_000, 1_000_000]
    assert all(other is None for *_, other in line)
