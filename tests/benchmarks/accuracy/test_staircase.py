import csv
import math

import numpy as np
import pytest
import torch

import infomax
from benchmarks.accuracy import staircase, staircase_report

LOG2 = math.log(2)


@pytest.fixture(autouse=True)
def _single_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("case", "task"), [("gaussian", "normal-20d-4"), ("cubed", "cubed-normal-20d-4")])
def test_a_batch_is_that_of_the_task(case, task):
    x, y = staircase.draw(4.0, cubed=staircase.CASES[case].cubed, batches=1, rng=np.random.default_rng(3))
    u, v = infomax.tasks.get(task).sampler(64, np.random.default_rng(3))
    assert infomax.tasks.get(task).mi == 4.0
    torch.testing.assert_close(x[0], torch.from_numpy(u).float())
    torch.testing.assert_close(y[0], torch.from_numpy(v).float())


@pytest.mark.parametrize("mi", [2.0, 10.0, 2 * LOG2])
def test_pairs_share_what_they_should(mi):
    """By the sample correlation of 400,000 pairs of coordinates, of which I = -10 log(1 - rho²)."""
    x, y = staircase.draw(mi, cubed=False, batches=300, rng=np.random.default_rng(0))
    rho = np.corrcoef(x.flatten(), y.flatten())[0, 1]
    assert -10 * math.log(1 - rho**2) == pytest.approx(mi, abs=0.1)


def test_statistics_are_over_the_last_quarter():
    values = np.array([9.0] * 12 + [1.0, 2.0, 3.0, 6.0])
    bias, sd, mse = staircase.stair_statistics(values, truth=2.0)
    assert (bias, mse) == (1.0, 4.5)  # errors -1, 0, 1, 4
    assert sd == pytest.approx(math.sqrt(3.5))
    assert mse == pytest.approx(bias**2 + sd**2)
    values[-1] = np.inf
    assert np.isnan(staircase.stair_statistics(values, 2.0)).all()


def test_a_curve_is_thinned_to_blocks():
    values = np.array([[1.0, 3.0] * 25 + [5.0] * 50, [np.inf, -np.inf] * 25 + [7.0] * 50])
    assert staircase.thinned(values) == ("2 5 nan 7", "1 0 nan 0")


def test_truths_in_bits_are_those_of_the_published_runs():
    assert staircase.CASES["gaussian-bits"].truths == pytest.approx([1.386294, 2.772589, 4.158883, 5.545177, 6.931472])
    biases, last = staircase_report.published_nats()["NWJ"]
    assert biases[-1] == pytest.approx(-1.80 * 0.6931472)
    assert last == pytest.approx(3.18 * 0.6931472)
    assert staircase_report.published_nats()["InfoNCE"] == (
        pytest.approx([-0.138629, -0.464409, -1.081310, -1.954675, -3.049848], abs=1e-5),
        None,
    )


def test_each_bound_has_the_critics_that_it_takes():
    both = ("concat", "separable")
    assert staircase.critics_of("nwj", both) == both
    assert staircase.critics_of("ba", both) == ("–",)
    assert staircase.critics_of("cpc", both) == ("predictor",)
    widths = [layer.out_features for layer in staircase.build("nwj", "separable").critic.g if hasattr(layer, "weight")]
    assert widths == [256, 256, 32]
    assert staircase.build("infonce", "concat").critic.first_x.out_features == 256


def climb(bound, steps, case="gaussian", critic="separable"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = staircase.build(bound, critic)
    return module, staircase.climb(module, staircase.CASES[case], steps, np.random.default_rng(0))


def test_the_first_value_is_that_of_the_first_batch_before_training():
    _, values = climb("infonce", 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = staircase.build("infonce", "separable")
    x, y = staircase.draw(2.0, cubed=False, batches=3, rng=np.random.default_rng(0))
    assert values.shape == (5, 3)
    assert values[0, 0] == pytest.approx(untrained(x[0], y[0]).item(), abs=1e-6)
    assert np.unique(values).size == values.size  # every batch is a new one


def test_the_bound_goes_on_learning_from_stair_to_stair():
    _, values = climb("infonce", 100)
    assert values[0, 0] < 0.1
    assert values[0, -20:].mean() > 0.4
    assert values[-1, -20:].mean() > 3.0
    assert values.max() <= math.log(64) + 1e-5


def test_a_bound_with_a_loss_of_its_own_is_trained_by_it():
    module, values = climb("ba", 100, critic="–")
    assert values[-1, -20:].mean() > values[0, :20].mean() + 2
    assert module.memory.log_prob(torch.zeros(1, 20)).isfinite().all()


def test_a_bound_that_diverges_stops_and_says_so():
    class Diverging(infomax.InfoNCE):
        def forward(self, x, y):
            return super().forward(x, y) * torch.inf

    values = staircase.climb(Diverging(20, 20), staircase.CASES["gaussian"], 20, np.random.default_rng(0))
    assert not np.isfinite(values).any()
    assert np.isnan(values[1:]).all()


def row(**changes):
    statistics = {f"{name}_{i}": "0.5" for name in ("bias", "sd", "mse") for i in range(1, 6)}
    curve = {"means": " ".join(["1"] * 20), "sds": " ".join(["0.1"] * 20)}
    cell = {"case": "gaussian", "bound": "nwj", "critic": "concat", "steps": "200", "seed": "0"}
    facts = {"seconds": "1", "memory": "1", "date": "2026-01-01", "machine": "m", "error": ""}
    return cell | statistics | curve | facts | changes


def test_tables_pool_seeds_and_put_the_published_below_ours():
    rows = [row(seed="0", bias_1="-1", sd_1="3"), row(seed="1", bias_1="2", sd_1="4")]
    rows += [row(bound="dv", bias_5="nan", sd_5="nan", mse_5="nan", sd_4="123456", mse_1="0.25")]
    lines = staircase_report.bias_table(rows, (2.0, 4.0, 6.0, 8.0, 10.0), published=True).splitlines()
    assert lines[0] == "| bound | critic | I = 2 | I = 4 | I = 6 | I = 8 | I = 10 |"
    # The variance of two seeds together is the mean of theirs: (9 + 16) / 2.
    assert lines[2].startswith("| nwj | concat | +0.50 ± 3.54 | +0.50 ± 0.50 |")
    assert lines[3].endswith("| +0.50 ± 1.2e+05 | diverged |")
    assert lines[5] == "| *published: NWJ* | concat | -0.08 | -0.15 | -0.29 | -0.47 | -1.25 ± 2.20 |"


def test_the_report_tells_of_failures_and_of_these_steps_alone(tmp_path):
    rows = [row(), row(bound="dv", error="RuntimeError: no"), row(bound="mine", steps="4000", error="ValueError: old")]
    path = tmp_path / "staircase.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    text = staircase_report.write_report(path, 200, staircase.CASES, "Notes.")
    assert "- gaussian, dv, concat: RuntimeError: no" in text
    assert "mine" not in text
    assert "published" not in text
    assert (tmp_path / "staircase.png").stat().st_size > 10_000


def test_a_quick_run_writes_finite_rows_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(staircase, "QUICK_STEPS", 50)
    arguments = ["--quick", "--bounds", "cpc", "ba", "--cases", "gaussian", "gaussian-bits", "--jobs", "1"]
    staircase.main([*arguments, "--output", str(tmp_path)])
    with (tmp_path / "staircase.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["bound"], row["critic"]) for row in rows] == [
        ("gaussian", "ba", "–"),
        ("gaussian", "cpc", "predictor"),
        ("gaussian-bits", "ba", "–"),
        ("gaussian-bits", "cpc", "predictor"),
    ]
    for values in rows:
        assert values["error"] == ""
        assert all(math.isfinite(float(values[name])) for name in staircase.COLUMNS[:-2])
        assert len(values["means"].split()) == len(values["sds"].split()) == 5
        last = float(values["means"].split()[-1])
        assert last == pytest.approx(staircase.CASES[values["case"]].truths[-1] + float(values["bias_5"]), abs=2)
    text = capsys.readouterr().out
    assert "Gaussian, steps of the published runs" in text
    assert (tmp_path / "staircase.md").read_text() in text
    assert (tmp_path / "staircase.png").exists()
    monkeypatch.setattr(staircase, "run", None)  # nothing is left to run
    staircase.main([*arguments, "--output", str(tmp_path)])
    staircase.main(["--quick", "--report", "--output", str(tmp_path)])


def test_an_unknown_bound_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        staircase.main(["--bounds", "infnce", "--output", str(tmp_path)])
    assert "infonce" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
