"""What figures show: limits, marks and labels, of results made up for it."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from infomax import Bracket, Composition, Estimate, Term, Trial, pairwise
from infomax.results import plots
from infomax.training.fit import History


def trained(*folds, **facts):
    history = tuple(History(steps, values, best) for steps, values, best in folds)
    return Estimate(0.9, 0.05, 0.0, "estimate", "b", 100, history=history, **facts)


def test_what_comes_after_the_kept_step_does_not_decide_the_axes():
    steps = [0, 10, 20, 30, 40, 400]
    result = trained((steps, [0.5, 0.9, 1.0, -3.0, -7.0, -80.0], 20), (steps, [0.7, 0.2, 0.0, -1.0, -2.0, -50.0], 0))
    ax = result.plot().axes[1]
    low, high = ax.get_ylim()
    assert 0.3 < low < 0.5
    assert 1.0 < high < 1.3
    assert 40 <= ax.get_xlim()[1] < 60
    kept = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert kept == [[[20, 1.0]], [[0, 0.7]]]
    dark = [line.get_xydata()[:, 1].tolist() for line in ax.lines if line.get_marker() == "."]
    assert dark == [[0.5, 0.9, 1.0], [0.7]]
    pale = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_color() == "0.75"]
    assert pale == [[20, 1.0], [0, 0.7]]  # both parts meet at the kept step


def test_values_that_are_not_finite_and_folds_of_one_step_can_be_drawn():
    for folds in ([([0, 10], [0.5, float("-inf")], 10)], [([0], [0.5], 0)]):
        result = trained(*folds)
        ax = result.plot().axes[1]
        assert ax.get_ylim()[0] < result.confidence_interval()[0]


def test_a_ceiling_nearby_is_in_the_figure():
    ax = trained(([0, 10], [0.8, 0.9], 10), ceiling=2.0).plot().axes[0]
    assert ax.get_xlim()[1] > 2.0
    assert "ceiling, 2.00" in [text.get_text() for text in ax.texts]


def overlapping(figure):
    """Pairs of texts that overlap in the drawn figure, without numbers at ticks; and the smallest size of a font."""
    figure.draw_without_rendering()
    texts = []
    for ax in figure.axes:
        named = [label for label in ax.get_yticklabels() if label.get_text()[:1].isalpha()]
        of_legend = ax.get_legend().get_texts() if ax.get_legend() else []
        texts += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts, *named, *of_legend]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    pairs = [(a, b) for i, (a, box) in enumerate(boxes) for b, other in boxes[:i] if box.overlaps(other)]
    ticks = [label for ax in figure.axes for label in ax.get_xticklabels() + ax.get_yticklabels()]
    return pairs, min(text.get_fontsize() for text in texts + ticks)


@pytest.mark.parametrize("count", [1, 6])
def test_candidates_are_shown_with_the_chosen_one_marked(count):
    names = ["elliptical", "components", "mixture", "mixture + directions", "mixture + network", "mixture + additive"]
    trials = tuple(Trial(names[i], "", 0.5 + 0.1 * i, 0.02, 2000, i == count - 1) for i in range(count))
    figure = trained(([0, 10, 20], [0.5, 0.9, 1.0], 20), candidates=trials).plot()
    ax = figure.axes[1]
    assert ax.get_title(loc="left") == "candidates compared on 2,000 held-out rows"
    assert [label.get_text() for label in ax.get_yticklabels()] == names[:count]
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [trial.score for trial in trials]
    assert [line.get_markerfacecolor() == "white" for line in points] == [not trial.chosen for trial in trials]
    bars = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() != "o"]
    assert bars[0] == pytest.approx([0.46, 0.54])
    assert [text.get_text() for text in ax.texts][-1] == f"{trials[-1].score:.3f}, chosen"
    pairs, smallest = overlapping(figure)
    assert not pairs
    assert smallest >= 9


def test_the_value_the_parts_of_its_interval_and_the_folds():
    result = trained(([0, 10], [0.8, 0.9], 10), folds=(0.8, 1.0), limit=1.2)
    result = replace(result, gap=0.5, pvalue=0.005, permutations=199)
    ax = result.plot().axes[0]
    (every,), (first, second), (point,), folds = (
        [line.get_xdata().tolist() for line in ax.lines if line.get_linewidth() == 9],
        [line.get_xdata().tolist() for line in ax.lines if line.get_linewidth() == 5],
        [line.get_xdata().tolist() for line in ax.lines if line.get_markersize() == 8],
        [line.get_xdata().tolist() for line in ax.lines if line.get_markersize() == 7],
    )
    assert every == pytest.approx([0.9 - 1.96 * 0.05, 1.2], abs=1e-4)
    assert first == pytest.approx([0.9 - 1.96 * 0.05, 0.9 + 1.96 * 0.05], abs=1e-4)
    assert second == pytest.approx([0.9 + 1.96 * 0.05, 1.2], abs=1e-4)  # the gap, up to the limit
    assert point == [0.9]
    assert folds == [[0.8, 1.0]]
    assert ax.get_title(loc="left") == "b, 100 pairs, p ≤ 0.005: value and 95 % interval"
    rows = ["estimate", "± 1.96 standard errors", "possible bias", "held-out rows, 2 folds"]
    assert [label.get_text() for label in ax.get_yticklabels()] == rows
    assert [text.get_text() for text in ax.texts][1] == "limit by the entropy, 1.20"
    assert ax.get_xlabel() == "mutual information, nats"


def test_local_values_where_nothing_was_trained():
    local = np.random.default_rng(0).normal(0.4, 1.0, 1000)
    local[0] = 1e6
    result = Estimate(float(np.median(local)), 0.05, 0.1, "estimate", "ksg", 1000, local=local)
    figure = result.plot()
    value, spread = figure.axes
    assert sum(patch.get_height() for patch in spread.patches) == 1000
    assert spread.get_xlim()[1] < 4
    assert spread.get_xlabel() == "local value of a pair, nats"
    rows = ["estimate", "± 1.96 standard errors", "possible bias"]
    assert [label.get_text() for label in value.get_yticklabels()] == rows
    assert spread.texts[0].get_text() == f"mean, {result.mi:.3f}"
    pairs, smallest = overlapping(figure)
    assert not pairs
    assert smallest >= 9


def shown(kind):
    """One result of each kind, made up."""
    one = Estimate(0.9, 0.05, 0.2, "lower", "infonce", 100, pvalue=0.01, warnings=("mind <this>",))
    other = Estimate(1.4, 0.05, 0.0, "upper", "l1out", 100)
    if kind == "estimate":
        return one
    if kind == "composition":
        return Composition("I(x; y | z)", (Term(1, "I(x; y, z)", other), Term(-1, "I(x; z)", one)))
    if kind == "bracket":
        return Bracket(one, other, assumption="q(y | x) is the true <density>")
    columns = np.random.default_rng(0).normal(size=(100, 3))
    return pairwise(pd.DataFrame(columns, columns=["<a>", "b", "c"]), progress=False)


KINDS = ["estimate", "composition", "bracket", "pairwise"]


@pytest.mark.parametrize("kind", KINDS)
def test_figures_have_legible_text_that_does_not_overlap(kind):
    figure = shown(kind).plot()
    pairs, smallest = overlapping(figure)
    assert not pairs
    assert smallest >= 9
    assert figure.get_size_inches()[0] <= plots.WIDTH  # a page shows it at its own size
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert min(sizes) >= 9


def test_the_style_is_that_of_the_figure_alone():
    with matplotlib.rc_context({"font.size": 4.0, "axes.titlesize": 5.0, "xtick.labelsize": 4.0}):
        before = dict(matplotlib.rcParams)
        _, smallest = overlapping(shown("estimate").plot())
        assert dict(matplotlib.rcParams) == before
    assert smallest >= 9


def test_a_comparison_names_kinds_and_the_truth():
    estimates = [shown("estimate"), Estimate(0.9, 0.05, 0.0, "estimate", "default", 100)]
    with plots.style():
        figure, (ax,) = plots.new_figure(plots.WIDTH, 3)
        plots.plot_comparison(ax, estimates, "two", truth=1.0)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["infonce, lower", "default"]
    assert [text.get_text() for text in ax.texts] == ["0.90", "0.90", "truth, 1.00"]
    pairs, _ = overlapping(figure)
    assert not pairs


def test_small_values_have_three_digits_and_no_negative_zero():
    estimates = [Estimate(mi, 0.01, 0.0, "estimate", "gaussian", 100) for mi in (-0.0001, 0.0415)]
    _, (ax,) = plots.new_figure(plots.WIDTH, 3)
    plots.plot_comparison(ax, estimates, "two")
    assert [text.get_text() for text in ax.texts] == ["0.000", "0.042"]


@pytest.mark.parametrize("limits", [{"limit": 5.0}, {"ceiling": 2.0, "gap": 0.4}, {"folds": (-4.0, 0.9)}])
def test_the_number_stays_inside_the_axes(limits):
    figure = replace(shown("estimate"), **limits).plot()
    figure.draw_without_rendering()
    ax = figure.axes[0]
    box = ax.get_window_extent()
    for text in ax.texts:
        assert box.x0 < text.get_window_extent().x0
        assert text.get_window_extent().x1 < box.x1


@pytest.mark.parametrize("kind", KINDS)
def test_axes_that_are_given_are_drawn_into(kind):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert shown(kind).plot(right) is figure
    assert right.has_data()
    assert not left.has_data()


@pytest.mark.parametrize("kind", KINDS)
def test_html_is_escaped_and_complete(kind):
    result = shown(kind)
    text = result._repr_html_()
    tree = ElementTree.fromstring(f"<div>{text}</div>")  # well-formed
    assert "<a>" not in text
    assert "<this>" not in text
    assert {cell.get("scope") for cell in tree.iter("th")} <= {"col", "row"}
    assert tree.find("table/caption").text
    assert "src" not in text
    content = " ".join(tree.itertext())
    value = result.pairs[0]["mi"] if kind == "pairwise" else result.lower.mi if kind == "bracket" else result.mi
    assert f"{value:.4f}" in content
    if kind != "pairwise":
        assert "mind <this>" in content


@pytest.mark.parametrize("kind", KINDS)
def test_frames(kind):
    result = shown(kind)
    frame = result.to_frame()
    rows = {"estimate": 1, "composition": 3, "bracket": 2, "pairwise": 3}
    assert len(frame) == rows[kind]
    first = frame.iloc[0]
    value = result.lower.mi if kind == "bracket" else result.pairs[0]["mi"] if kind == "pairwise" else result.mi
    assert first["mi"] == value
    if kind in ("estimate", "composition"):
        assert (first["low_95"], first["high_95"]) == result.confidence_interval()
    if kind == "composition":
        assert (frame["sign"] * frame["mi"])[1:].sum() == pytest.approx(first["mi"])


def test_frames_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="data frames need pandas; pip install pandas"):
        shown("estimate").to_frame()


CODE = """
import sys
from infomax import Estimate
result = Estimate(0.5, 0.1, 0.0, "estimate", "ksg", 100)
result.plot()
print("matplotlib.pyplot" in sys.modules)
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
print(plt.get_fignums())
number = result.plot().number
print(plt.get_fignums() == [number])
"""


def test_figures_belong_to_pyplot_where_it_is_in_use():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split("\n")[:3] == ["False", "[]", "True"]


def test_notebooks_show_a_figure_once():
    """The backend of notebooks shows open figures at the end of a cell, also the one that the cell has returned."""
    figure = shown("estimate").plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(NotImplementedError):  # IPython then asks for the image
        figure._ipython_display_()
    closed = []
    pyplot = SimpleNamespace(isinteractive=lambda: True, get_fignums=lambda: [7], close=closed.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
        patch.setattr(type(figure), "number", 7)
        pyplot.get_backend = lambda: "widget"
        figure._ipython_display_()
        assert not closed
        pyplot.get_backend = lambda: "module://matplotlib_inline.backend_inline"
        with pytest.raises(NotImplementedError):
            figure._ipython_display_()
        assert closed == [figure]


def test_a_composition_shows_itself_and_its_terms():
    parts = [Estimate(mi, 0.01, 0.0, "estimate", "gaussian", 100) for mi in (0.9, 0.4)]
    terms = (Term(1, "I(x; y, z)", parts[0]), Term(-1, "I(x; z)", parts[1]))
    (ax,) = Composition("I(x; y | z)", terms).plot().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["I(x; y | z)", "+ I(x; y, z)", "− I(x; z)"]
    drawn = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert drawn == pytest.approx([0.5, 0.9, 0.4])
