import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import infomax
from infomax import bounds
from infomax.command_line.main import main
from infomax.estimators import candidates


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = x[:, 0] + rng.normal(size=200)
    path = tmp_path / "a table.csv"
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", header="a,b,c", comments="")
    return str(path)


def test_estimate_prints_value_interval_and_nature(table, capsys):
    assert main(["estimate", table, "--x", "a,b", "--y", "c", "--quick", "--no-progress"]) == 0
    out = capsys.readouterr().out
    assert "nats, 95 % interval [" in out
    assert "estimate by default from 200 pairs" in out
    assert "p ≤ 0.01 for independence" in out  # of 99 permutations, when quick


def test_json_is_the_python_result_in_bits(table, capsys):
    command = ["estimate", table, "--x", "a,b", "--y", "c", "--bound", "gaussian,ba", "--unit", "bits", "--json"]
    assert main([*command, "--seed", "3", "--quick", "--no-progress"]) == 0
    printed = json.loads(capsys.readouterr().out)
    x, y = infomax.read_columns(table, ["a", "b"], ["c"])
    expected = infomax.estimate(x, y, bound=["gaussian", "ba"], seed=3, quick=True, progress=False)
    assert [entry["mi"] for entry in printed] == [result.bits.mi for result in expected]
    assert printed[0]["unit"] == "bits"


def test_numbers_of_neighbours(table, capsys):
    x, y = infomax.read_columns(table, ["a"], ["c"])
    expected = infomax.estimate(x, y, bound="ksg", n_neighbors=9).mi
    for command in (["estimate", table, "--x", "a", "--y", "c"], ["pairwise", table, "--columns", "a,c"]):
        assert main([*command, "--bound", "ksg", "--n-neighbors", "9", "--json", "--no-progress"]) == 0
        printed = json.loads(capsys.readouterr().out)["mi"]
        assert (printed if command[0] == "estimate" else printed[0][1]) == expected
    assert main(["estimate", table, "--x", "a", "--y", "c", "--n-neighbors", "9"]) == 2
    assert "n_neighbors must be None unless the bound is 'ksg'; got 9 with 'default'" in capsys.readouterr().err
    assert main(["pairwise", table, "--n-neighbors", "9"]) == 2
    assert "without a bound there are no further keywords; got n_neighbors" in capsys.readouterr().err


def test_groups_and_blocks_of_rows(tmp_path, capsys):
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(40), 10)
    x, y = (rng.normal(size=40)[subjects] + 0.02 * rng.normal(size=400) for _ in range(2))
    path = tmp_path / "subjects.csv"
    rows = [f"s{name},{a!r},{b!r}" for name, a, b in zip(subjects, x.tolist(), y.tolist(), strict=True)]
    path.write_text("\n".join(["subject,x,y", *rows]))
    end = ["--quick", "--no-progress", "--json"]
    assert main(["estimate", str(path), "--x", "x", "--y", "*", "--groups", "subject", *end]) == 0
    printed = json.loads(capsys.readouterr().out)["mi"]
    assert printed == infomax.estimate(x, y, groups=subjects, quick=True, progress=False).mi
    assert main(["pairwise", str(path), "--groups", "subject", "--no-progress", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert pairs["names"] == ["x", "y"]
    assert pairs["bound"] == "default"
    assert main(["estimate", str(path), "--x", "x", "--y", "y", "--block-length", "20", *end]) == 0
    printed = json.loads(capsys.readouterr().out)["mi"]
    assert printed == infomax.estimate(x, y, block_length=20, quick=True, progress=False).mi
    for arguments, message in (
        (["--block-length", "long"], "--block-length must be auto or a whole number of at least 1; got 'long'"),
        (["--groups", "subjects"], "column 'subjects' is not known; did you mean 'subject'?"),
        (["--groups", "x"], "a column must be on one side only; got x on both"),
    ):
        assert main(["estimate", str(path), "--x", "x", "--y", "y", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_names_of_groups_are_compared_as_text(tmp_path, capsys):
    rng = np.random.default_rng(0)
    sites = [f"{i}.{j}" for i in (1, 2) for j in range(1, 11)]
    path = tmp_path / "sites.csv"
    rows = [f"{site},{a!r},{b!r}" for site in sites for a, b in rng.normal(size=(10, 2)).tolist()]
    path.write_text("\n".join(["site,x,y", *rows]))
    command = ["estimate", str(path), "--x", "x", "--y", "y", "--groups", "site", "--quick", "--no-progress", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["structure"] == {"units": 20, "block_length": None}
    words = ["yes", "no", "maybe", "true", "1"]
    path.write_text("\n".join(["site,x,y", *(f"{words[i % 5]},{i * 7 % 11},{i * 5 % 13}" for i in range(60))]))
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["structure"]["units"] == 5


def test_a_constant_column_is_called_by_its_name(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("a,site,b\n" + "".join(f"{i},4,{i * i % 7}\n" for i in range(30)))
    assert main(["estimate", str(path), "--x", "a,site", "--y", "b", "--bound", "gaussian"]) == 0
    said = "x has 1 constant of 2 columns, left out: 'site'"
    assert capsys.readouterr().err == f"infomax: warning: {said}\n"


@pytest.mark.parametrize("bound", ["infonce", "gaussian,ksg"])
def test_plot_writes_a_png(table, tmp_path, bound):
    out = tmp_path / "out.png"
    command = ["estimate", table, "--x", "a", "--y", "c", "--bound", bound, "--quick", "--no-progress"]
    assert main([*command, "--plot", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_given_is_conditional_mutual_information(table, tmp_path, capsys):
    out = tmp_path / "out.png"
    command = ["estimate", table, "--x", "a", "--y", "c", "--given", "b", "--quick", "--no-progress", "--seed", "3"]
    assert main([*command, "--bound", "gaussian", "--unit", "bits", "--json", "--plot", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    x, y, z = infomax.read_columns(table, ["a"], ["c"], ["b"])
    assert printed == json.loads(json.dumps(infomax.conditional(x, y, z, bound="gaussian", seed=3).bits.to_dict()))
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(command) == 0
    assert "estimate of I(x; y | z) by default from 200 rows" in capsys.readouterr().out
    assert main([*command, "--bound", "gaussian,ksg"]) == 0
    _, _, gaussian, ksg, *_ = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in (gaussian, ksg)] == [["gaussian", "estimate"], ["ksg", "estimate"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--y", "d"], "column 'd' is not known; known: a, b, c"),
        (["--bound", "infonse"], "did you mean 'infonce'"),
        (["--bound", "InfoNCE"], "bound 'InfoNCE' is not known; did you mean 'infonce'?"),
        (["--bound", "Info-NCE"], "did you mean 'infonce'?"),
        (["--bound", "CPC"], "did you mean 'cpc'?"),
        (["--bound", "KSG"], "did you mean 'ksg'?"),
        (["--given", "d"], "column 'd' is not known; known: a, b, c"),
        (["--given", "c"], "a column must be on one side only; got c on both"),
        (["--given", "b", "--bound", "infonce,infonse"], "did you mean 'infonce'"),
        (["--plot", "nowhere/out.png"], "cannot be written: there is no folder 'nowhere'"),
        (["--plot", "out.doc"], "out.doc cannot be written: its ending must be one of"),
        (["--seed", "-4"], "seed must be a whole number of at least 0; got -4"),
    ],
)
def test_bad_requests_are_one_line_and_status_2(table, capsys, monkeypatch, change, message):
    monkeypatch.setattr("infomax.training.cross_fitting.fit", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr("infomax.estimators.default.estimator.measure", lambda *_, **__: pytest.fail("work was done"))
    assert main(["estimate", table, "--x", "a", "--y", "c", *change]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("infomax: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_several_bounds_make_a_table(table, capsys):
    command = [
        "estimate",
        table,
        "--x",
        "a",
        "--y",
        "c",
        "--bound",
        "gaussian,infonce,default",
        "--quick",
        "--no-progress",
    ]
    assert main(command) == 0
    header, _, gaussian, infonce, default, *_ = capsys.readouterr().out.splitlines()
    names = ["estimator", "kind", "nats", "95 % interval", "standard error", "p", "gap", "ceiling"]
    assert re.split(r"  +", header) == names
    assert gaussian.split()[:2] == ["gaussian", "estimate"]
    assert infonce.split()[:2] == ["infonce", "lower"]
    assert infonce.endswith("4.61")
    assert default.split()[:2] == ["default", "estimate"]
    assert default.endswith("none")
    assert "  ≤ 0.01  " in default


def test_pairwise_goes_on_from_a_file_and_leaves_out_tests(table, capsys, tmp_path):
    command = ["pairwise", table, "--no-progress", "--jobs", "1"]
    assert main([*command, "--checkpoint", str(tmp_path / "pairs.jsonl")]) == 0
    printed = capsys.readouterr().out
    assert main([*command, "--checkpoint", str(tmp_path / "pairs.jsonl")]) == 0
    assert capsys.readouterr().out == printed
    assert main([*command, "--checkpoint", str(tmp_path / "pairs.jsonl"), "--seed", "3"]) == 2
    assert "pairs.jsonl was written with seed = 0; got 3" in capsys.readouterr().err
    assert main([*command, "--values-only"]) == 0
    alone = capsys.readouterr().out
    assert alone.splitlines()[0].split() == ["x", "y", "nats", "correlation"]
    assert [line.split()[:3] for line in alone.splitlines()[2:5]] == [
        line.split()[:3] for line in printed.splitlines()[2:5]
    ]


def test_pairwise_prints_pairs_by_size(table, capsys, tmp_path):
    out = tmp_path / "pairs.png"
    assert main(["pairwise", table, "--plot", str(out), "--no-progress"]) == 0
    header, _, first, *others = capsys.readouterr().out.splitlines()
    assert header.split() == ["x", "y", "nats", "95", "%", "interval", "p", "q", "correlation"]
    assert first.split()[:2] == ["a", "c"]
    assert len(others) == 2
    assert out.read_bytes().startswith(b"\x89PNG")
    assert (
        main(["pairwise", table, "--columns", "a,b", "--with", "c", "--unit", "bits", "--json", "--no-progress"]) == 0
    )
    printed = json.loads(capsys.readouterr().out)
    expected = infomax.pairwise(*infomax.read_columns(table, ["a", "b"], ["c"]), progress=False).bits
    assert printed["mi"] == expected.mi.tolist()
    assert (printed["names"], printed["columns"], printed["unit"]) == (["a", "b"], ["c"], "bits")
    assert main(["pairwise", table, "--most", "1", "--no-progress"]) == 0
    assert "… and 2 more pairs (--most 3, or --json)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--columns", "d"], "column 'd' is not known; known: a, b, c"),
        (["--columns", "a"], "x must have at least two columns; got one"),
        (["--columns", "a,b", "--with", "b"], "a column must be on one side only; got b on both"),
        (["--bound", "infonse"], "did you mean 'infonce'"),
        (["--plot", "nowhere/out.png"], "cannot be written: there is no folder 'nowhere'"),
        (["--seed", "-4"], "seed must be a whole number of at least 0; got -4"),
    ],
)
def test_bad_requests_for_pairs_are_one_line_and_status_2(table, capsys, change, message):
    assert main(["pairwise", table, *change]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_a_terminal_without_unicode(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["bounds"]) == 0
    terminal.flush()
    assert b"infonce" in terminal.buffer.getvalue()
    assert b"?" in terminal.buffer.getvalue()  # in place of what the terminal cannot show


def test_a_missing_file(capsys):
    assert main(["estimate", "none.csv", "--x", "a", "--y", "b"]) == 2
    assert "no file 'none.csv'" in capsys.readouterr().err


def test_bounds_lists_the_registry(capsys):
    assert main(["bounds"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    for name in bounds.names():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert bounds.get(name).reference in line
        assert bounds.get(name).kind in line
    assert main(["bounds", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| name | kind |")


def test_bounds_lists_the_candidates_of_the_default(capsys):
    assert main(["bounds", "--candidates"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == candidates.names()
    for name in candidates.names():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert candidates.get(name).assumes in line
    assert main(["bounds", "--candidates", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| candidate | assumes |")


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable!r} -m infomax bounds | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=600)
    assert done.stderr == ""


def test_interrupt_is_clean(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "big.npy"
    np.save(path, rng.normal(size=(20_000, 2)))
    # A job that was started in the background has its children ignore the signal; a user's terminal does not.
    program = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('infomax', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, "estimate", str(path), "--x", "0", "--y", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        seen = b""
        deadline = time.monotonic() + 600
        while b"estimating" not in seen and time.monotonic() < deadline:
            seen += os.read(process.stderr.fileno(), 1024)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in seen + err
    assert err.endswith(b"infomax: interrupted\n")


def test_rare_categories_that_count_as_one_are_told(tmp_path, capsys):
    """Dates as they are written in many countries are text: in silence, an estimate of them was of what is left."""
    days = np.random.default_rng(0).integers(1, 29, size=(300, 2))
    path = tmp_path / "t.csv"
    path.write_text("visit,day\n" + "".join(f"{a:02d}/{1 + b % 12:02d}/2020,{a}\n" for a, b in days.tolist()))
    assert main(["estimate", str(path), "--x", "visit", "--y", "day", "--bound", "plugin", "--no-progress"]) == 0
    assert "infomax: warning: column 'visit' of x is nominal and has" in capsys.readouterr().err
