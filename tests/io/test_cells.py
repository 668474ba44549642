"""Text files as people have them: names, True and False, dates, gaps, other separators and encodings, compressed."""

import bz2
import gzip
import io
import lzma
import sys

import numpy as np
import pandas as pd
import pytest

from infomax.command_line.main import main
from infomax.datasets import load_penguins
from infomax.datasets.loading import files
from infomax.io.csv_tables import TextFormat
from infomax.io.files import read_columns, read_named

TEXT = "species,ok,day,size\nGentoo,True,2020-01-01,1.5\nAdélie,FALSE,2020-01-03 12:00,\nGentoo,NA,2021-01-01,4\n"
DROP = TextFormat(missing="drop")


def save(folder, text, name="t.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def expect(columns):
    assert columns.names == ("species", "ok", "day", "size")
    assert columns.nominal.tolist() == [True, False, False, False]
    species, ok, day, size = columns.samples.T
    np.testing.assert_array_equal(species, [0, 1, 0])
    np.testing.assert_array_equal(ok, [1, 0, np.nan])
    assert (day[1] - day[0]) / (day[2] - day[0]) == pytest.approx(2.5 / 366)
    assert np.isnan(size[1])


def test_every_kind_of_cell(tmp_path):
    expect(*read_named(save(tmp_path, TEXT), ["*"], text=DROP))
    expect(*read_named(save(tmp_path, "\ufeff" + TEXT.replace("\n", "\r\n")), ["*"], text=DROP))
    other = TextFormat(missing="drop", sep=";", encoding="latin-1")
    expect(*read_named(save(tmp_path, TEXT.replace(",", ";"), encoding="latin-1"), ["*"], text=other))
    expect(*read_named(save(tmp_path, TEXT.replace(",", "\t"), name="t.tsv"), ["*"], text=DROP))
    (numbers,) = read_named(save(tmp_path, "code,x\n3,1\n1,2\n3,5\n"), ["*"], text=TextFormat(nominal=("code",)))
    assert numbers.nominal.tolist() == [True, False]
    (mixed,) = read_named(save(tmp_path, "code,x\n3,1\n1a,2\n3,5\n"), ["code"], text=TextFormat(nominal=("code",)))
    assert mixed.samples[:, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_and_standard_input(tmp_path, monkeypatch, ending, compress):
    path = tmp_path / f"t.csv{ending}"
    path.write_bytes(compress(TEXT.encode()))
    expect(*read_named(path, ["*"], text=DROP))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    expect(*read_named("-", ["*"], text=DROP))
    plain = tmp_path / f"n.tsv{ending}"
    plain.write_bytes(compress(b"a\tb\n1\t2\n3\t1e-310\n"))
    assert read_columns(plain, ["b"])[0].tolist() == [[2.0], [1e-310]]
    path.write_bytes(compress(TEXT.encode())[:-5])
    with pytest.raises(ValueError, match="cannot be read as a compressed file"):
        read_named(path, ["*"], text=DROP)


def test_a_compressed_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("infomax.io.limits._FREE", 10_000)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a\n" + b"1\n" * 100_000))
    with pytest.raises(ValueError, match="its contents must take at most 0 MB of memory"):
        read_named(path, ["*"])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\nu,1\nv,\n", {}, r"row 2 \(line 3\), column 'b': the value is missing \(''\).*--missing drop"),
        ("a,b\nu,1\n,2\n", {}, r"row 2 \(line 3\), column 'a': the value is missing"),
        ("a\n1\nred\n", {}, r"row 2 \(line 3\), column 'a': must be a number, as in row 1; got 'red'"),
        ("a\n2020-01-01\n\nsoon\n", {}, r"row 2 \(line 4\), column 'a': must be a date, as in row 1; got 'soon'"),
        ("a\nTrue\n1\n", {}, "must be a boolean, as in row 1; got '1'"),
        ("a,b\nu,1e999\n", {}, "column 'b': must be finite; got '1e999'"),
        ("a;b\nu;1,5\n", {"sep": ";"}, "column 'b': must be a number with a decimal point; got '1,5'"),
        ("a;b\nu;1\n", {}, r"separated by semicolons.*or pass sep=';' \(--sep\)"),
        ("a,b\nu\n", {}, "row 1 .*: must have 2 fields, as the header; got 1"),
        ("a,b\nu,1\n", {"nominal": ("c",)}, "nominal: column 'c' is not known; known: a, b"),
        ("a,b\nu,1\n", {"sep": "::"}, "sep must be one character; got '::'"),
        ("a,b\nu,1\n", {"encoding": "klingon"}, "encoding must be one that Python knows; got 'klingon'"),
        ("a,b\nü,1\n", {"encoding": "ascii"}, "must be ascii text; byte .* is not"),
    ],
)
def test_bad_cells(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        read_named(save(tmp_path, text), ["*"], text=TextFormat(**options))


def test_parquet_has_text_and_gaps(tmp_path):
    frame = pd.DataFrame({"c": ["u", None, "v"], "x": [1.0, np.nan, 3.0], "n": [1, 2, 3]})
    frame.to_parquet(tmp_path / "t.parquet")
    one, other = read_named(tmp_path / "t.parquet", ["c", "n"], ["x"], text=DROP)
    assert one.nominal.tolist() == [True, False]
    np.testing.assert_array_equal(other.samples[:, 0], [1, np.nan, 3])
    with pytest.raises(ValueError, match="first of them row 1, column 'x': fill them"):
        read_named(tmp_path / "t.parquet", ["x"])
    with pytest.raises(ValueError, match="first of them row 1, column 'c': fill them"):
        read_named(tmp_path / "t.parquet", ["c"])


def test_penguins_as_published(capsys):
    """The counts are those of the publication: 344 penguins, 152, 68 and 124 of each species, 333 without gaps."""
    path = str(files("infomax.datasets").joinpath("penguins.csv"))
    frame = pd.read_csv(path)
    assert frame.shape == (344, 8)
    assert frame["species"].value_counts().to_dict() == {"Adelie": 152, "Gentoo": 124, "Chinstrap": 68}
    assert frame.isna().sum().sum() == 19
    np.testing.assert_array_equal(load_penguins().data, frame.dropna()[[*load_penguins().feature_names]])
    (columns,) = read_named(path, ["*"], text=DROP)
    np.testing.assert_array_equal(columns.samples[:, 3], frame["bill_depth_mm"])
    assert main(["pairwise", path, "--missing", "drop", "--columns", "species,sex,body_mass_g", "--no-progress"]) == 0
    shown = capsys.readouterr().out
    assert "species  body_mass_g" in shown
    assert "342" in shown
    assert main(["estimate", path, "--x", "species", "--y", "body_mass_g", "--bound", "ksg"]) == 2
    assert "row 4 (line 5), column 'body_mass_g': the value is missing ('NA')" in capsys.readouterr().err
    arguments = [
        "--x",
        "species,year",
        "--y",
        "body_mass_g",
        "--bound",
        "ksg",
        "--missing",
        "drop",
        "--nominal",
        "year",
    ]
    assert main(["estimate", path, *arguments]) == 0
    assert "from 342 pairs (2 with missing values dropped)" in capsys.readouterr().out
