"""Figures of the benchmarks: as wide as a page, with text that can be read at that size."""

import matplotlib
import pytest
from matplotlib.text import Text

from benchmarks.accuracy import consistency_report, known_mi_report, staircase, staircase_report
from benchmarks.accuracy.default import figures
from benchmarks.mmim import known_truth_report
from benchmarks.report import WIDTH
from benchmarks.results import folder
from benchmarks.speed import figure as speed
from benchmarks.speed import report as speed_report
from benchmarks.summary import facts
from benchmarks.sweep import read


def consistency():
    found = consistency_report.values(read(folder("accuracy") / "consistency.csv"))
    bounds = list(dict.fromkeys(bound for bound, _, _ in found))
    consistency_report.draw_figure(found, bounds, folder("accuracy") / "never.png")


def stairs():
    rows = [row for row in read(folder("accuracy") / "staircase.csv") if row["bound"] in ("cpc", "nwj", "ba")]
    staircase_report.draw_figure(rows, staircase.CASES, folder("accuracy") / "never.png")


def readings():
    found = known_truth_report.values(read(folder("mmim") / "known_truth.csv"))
    levels, variants = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))
    known_truth_report.draw_figure(found, levels, variants, folder("mmim") / "never.png")


def growth():
    rows = speed_report.read(folder("speed") / "speed.csv")
    last = [
        row for section in speed_report.SECTIONS for own in speed_report.by_machine(rows, section)[:1] for row in own
    ]
    speed.draw(last, folder("speed") / "never.png")


def known(draw):
    return lambda: draw(facts.rows("accuracy", "known_mi"))


DRAWN = {
    "default, error": lambda: figures.error_figure(facts.results()),
    "default, coverage": lambda: figures.coverage_figure(facts.results()),
    "default, power": lambda: figures.power_figure(facts.results()),
    "known_mi, error": known(known_mi_report.error_figure),
    "known_mi, coverage": known(known_mi_report.coverage_figure),
    "known_mi, time": known(known_mi_report.time_figure),
    "consistency": consistency,
    "staircase": stairs,
    "known_truth": readings,
    "speed": growth,
}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_fit_a_page_with_legible_text(name, monkeypatch):
    saved = []
    for module in (consistency_report, staircase_report, known_truth_report, speed):
        monkeypatch.setattr(module, "save_figure", lambda figure, *_: saved.append(figure))
    before = dict(matplotlib.rcParams)
    figure = DRAWN[name]() or saved[0]
    assert dict(matplotlib.rcParams) == before
    figure.set_layout_engine("none")  # which takes most of the time
    figure.draw_without_rendering()
    assert figure.get_size_inches()[0] <= WIDTH
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    small = {text.get_text(): text.get_fontsize() for text in texts if text.get_fontsize() < 9}
    assert not small
    titles = [axes.get_title(loc=place) for axes in figure.axes for place in ("left", "center")]
    legends = [legend.get_title().get_text() for legend in figure.legends]
    assert any([*titles, *legends, figure.get_suptitle()])
