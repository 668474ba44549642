import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from infomax import ConstantColumnWarning, IndexWarning, InfomaxWarning, conditional, estimate
from infomax.io.files import check_writable, read_columns, read_named
from infomax.io.samples import as_aligned, as_samples


@pytest.mark.parametrize(
    "data",
    [
        np.arange(6).reshape(3, 2),
        np.arange(6, dtype=np.float16).reshape(3, 2),
        np.arange(6, dtype=np.uint8).reshape(3, 2),
        torch.arange(6.0, requires_grad=True).reshape(3, 2),
        torch.arange(6, dtype=torch.bfloat16).reshape(3, 2),
        pd.DataFrame({"a": [0, 2, 4], "b": [1.0, 3.0, 5.0]}),
        pd.DataFrame({"a": [0, 2, 4], "b": [1, 3, 5]}, dtype="Int64"),
        [[0, 1], [2, 3], [4, 5]],
    ],
)
def test_every_kind_of_input_becomes_the_same_array(data):
    array = as_samples(data, "x")
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, [[0, 1], [2, 3], [4, 5]])


def test_one_dimension_is_one_column_and_input_is_copied():
    source = np.array([1.0, 2.0])
    array = as_samples(source, "x")
    assert array.shape == (2, 1)
    array[0] = 9
    assert source[0] == 1.0
    assert as_samples(pd.Series([True, False]), "x").tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.zeros((2, 2, 2)), ValueError, r"x must be 1-D \(N,\) or 2-D \(N, D\); got 3-D of shape \(2, 2, 2\)"),
        (np.float64(3), ValueError, "got 0-D"),
        (np.zeros((0, 0)), ValueError, "x must have at least one column"),
        (np.zeros((5, 0)), ValueError, "x must have at least one column"),
        (np.array(["a", "b"]), TypeError, "x must hold numbers; got text or categories"),
        (np.array([1, None]), ValueError, "x must be finite; got 1 NaN and 0 infinite values in 1 rows, .* row 1"),
        (np.ma.masked_less(np.arange(4.0), 2), ValueError, "x must be finite; got 2 NaN .* in 2 rows, .* row 0"),
        ([[1, 2], [3]], ValueError, "x must have rows of equal length; got a ragged list"),
        (torch.eye(2).to_sparse(), TypeError, r"x must be a dense tensor; got layout torch\.sparse_coo"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "x must have columns of different names"),
        (np.array([1j]), TypeError, "got dtype complex128"),
        (np.zeros(2, "V4"), TypeError, "x must hold numbers, text or dates; got dtype |V4"),
        (pd.DataFrame({"a": [1.0], "city": ["Rome"]}), TypeError, "column 'city' of x must hold numbers"),
        (np.array([1.0, np.nan, np.inf, np.nan]), ValueError, "got 2 NaN and 1 infinite values in 3 rows, .* row 1"),
        (pd.Series([1, None, 3], dtype="Int64"), ValueError, "got 1 NaN and 0 infinite values in 1 rows, .* row 1"),
    ],
)
def test_bad_samples_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        as_samples(data, "x")


def test_pairs_are_held_to_their_rules():
    with pytest.raises(ValueError, match="y must have as many rows as x; got 3 and 4"):
        as_aligned({"x": np.arange(4), "y": np.arange(3)}, least=1)
    with pytest.raises(ValueError, match="x must have at least 20 rows; got 4"):
        as_aligned({"x": np.arange(4), "y": np.arange(4)}, least=20)


def test_constant_columns_are_left_out_and_the_users_line_is_shown():
    def called_by_a_user(x, y):
        return (found.samples for found in as_aligned({"x": x, "y": y}, least=2).columns.values())

    with pytest.warns(ConstantColumnWarning, match="x has 1 constant of 2 columns, left out: 1") as caught:
        x, y = called_by_a_user(np.array([[1, 7], [2, 7]]), np.array([1, 2]))
    assert caught[0].filename == __file__
    assert caught[0].lineno == called_by_a_user.__code__.co_firstlineno + 4
    assert x.tolist() == [[1.0], [2.0]]
    assert y.shape == (2, 1)


def test_constant_columns_are_called_what_the_user_calls_them():
    frame = pd.DataFrame({"age": [1, 2], "unit": [7, 7], 5: [0, 0]})
    with pytest.warns(ConstantColumnWarning, match="x has 2 constant of 3 columns, left out: 'unit', 5$"):
        as_aligned({"x": frame, "y": [1, 2]}, least=2)
    with pytest.warns(ConstantColumnWarning, match="y has 1 constant of 1 columns, left out: 'price'$"):
        as_aligned({"x": [1, 2], "y": pd.Series([3, 3], name="price")}, least=2)
    with pytest.warns(ConstantColumnWarning, match="y has 1 constant of 1 columns, left out: 0$"):
        as_aligned({"x": [1, 2], "y": pd.Series([3, 3])}, least=2)


def test_rows_are_paired_by_position_and_labels_that_say_otherwise_are_told_of():
    values = np.random.default_rng(0).normal(size=30)
    x = pd.DataFrame({"a": values})
    shuffled = x["a"].sample(frac=1, random_state=0)
    with pytest.raises(
        ValueError, match=r"y must have its rows in the order of x; .* same labels in a different order"
    ):
        estimate(x, shuffled, bound="gaussian")
    later = pd.Series(values + 0.5 * np.random.default_rng(1).normal(size=30), index=range(100, 130))
    with pytest.warns(
        IndexWarning, match="y and x have different indexes; their rows were paired by position"
    ) as caught:
        assert estimate(x, later, bound="gaussian").mi > 0.5
    assert caught[0].filename == __file__
    with pytest.warns(IndexWarning, match="z and y have different indexes") as caught:
        conditional(values, x["a"] + np.arange(30) % 3, later, bound="gaussian")
    assert caught[0].filename == __file__
    with pytest.warns(ConstantColumnWarning, match="left out: 'b'") as caught:
        estimate(x.assign(b=1), later.to_numpy(), bound="gaussian")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("y", [np.arange(3.0), [3.0, 1.0, 2.0], pd.Series([3.0, 1.0, 2.0], index=[9, 7, 8])])
def test_labels_that_agree_or_are_not_there_are_no_matter(y):
    as_aligned({"x": pd.Series([1.0, 2.0, 3.0], index=[9, 7, 8]), "y": y}, least=2)


TABLE = 'name,a,"b, quoted",c\n"x, y",1,2.5,0\nz,-3e2, 4 ,1\n'


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "my table.csv"
    path.write_text(TABLE, encoding="utf-8-sig")
    return path


def test_csv(table):
    first, second = read_columns(table, ["c", "a"], ["b, quoted"])
    assert first.tolist() == [[0.0, 1.0], [1.0, -300.0]]
    assert second.tolist() == [[2.5], [4.0]]


def test_tsv_and_patterns(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("t_1\tt_2\ty\n1\t2\t3\n\n4\t5\t6\n")
    x, y = read_columns(path, ["t_*"], ["?"])
    assert x.tolist() == [[1.0, 2.0], [4.0, 5.0]]
    assert y.tolist() == [[3.0], [6.0]]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", ["a"], "is empty"),
        ("a,b\n", ["a"], "must have rows below its header"),
        ("a,b\n1,2\n3,\n", ["b"], r"row 2 \(line 3\), column 'b': the value is missing \(''\)"),
        ("a,b\n1,NA\n", ["b"], r"row 1 \(line 2\), column 'b': the value is missing \('NA'\)"),
        ("a,b\n1,-inf\n", ["b"], "row 1 .*, column 'b': must be finite; got '-inf'"),
        ("a,b\n1,red\n", ["b"], "column 'b': must be a number; got 'red'"),
        ("a,b\n1,2\n3\n", ["a"], "row 2 .*: must have 2 fields, as the header; got 1"),
        ("a,a\n1,2\n", ["a"], "column names must differ; got a more than once"),
        ("length,width\n1,2\n", ["lenght"], "column 'lenght' is not known; did you mean 'length'"),
        ("a,b\n1,2\n", [""], "name at least one column; known: a, b"),
        (
            "5.1,-3e2,nan\n1,2,3\n",
            ["a"],
            "'a' is not known; .*; the first line holds numbers only: write a line",
        ),
        ("1.5,1.5\n1,2\n", ["a"], "must differ; got 1.5 more than once; the first line holds numbers only"),
        ("0.1,0.2\n1,2\n", ["*"], "must name its columns; got numbers in its first line: write a header above it"),
        ("a;b\n1,5;2\n", ["a"], "separated by semicolons: save the table with commas, and decimal points in its"),
        ("1,5;2,5\n1,5;2,5\n", ["a"], "the first line seems to be separated by semicolons"),
        ("a\tb\n1\t2\n", ["b"], "separated by tabs: save the table with commas"),
        ('a,b\n"1,2\n', ["a"], "not a well-formed table"),
        ('a,b\n1,"u\n2,v\n3,w\n', ["a"], "not a well-formed table, line 4: unexpected end of data"),
        ('a,"b\n', ["a"], "not a well-formed table, line 1: unexpected end of data"),
        ("a,b\n1,Smith, John\n", ["a"], r"row 1 \(line 2\): must have 2 fields, as the header; got 3"),
        ('a,b\n1,"u\nv"\n\nred,2\n', ["a"], r"row 2 \(line 5\), column 'a': must be a number; got 'red'"),
        ("a,b\n1_000,2\n", ["a"], "row 1 .*, column 'a': must be a number; got '1_000'"),
        ("a,b\n\uff11\uff12,2\n", ["a"], "row 1 .*, column 'a': must be a number; got '\uff11\uff12'"),
        ("a,b\n1e400,2\n", ["a"], "row 1 .*, column 'a': must be finite; got '1e400'"),
        ("a,b\nTrue,2\n", ["a"], "row 1 .*, column 'a': must be a number; got 'True'"),
        ("a\n1\n \n", ["a"], r"row 2 \(line 3\), column 'a': the value is missing \(' '\)"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, columns, message):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_columns(path, columns)


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_numbers_are_those_that_python_reads(tmp_path, separator, end):
    rng = np.random.default_rng(0)
    array = rng.normal(size=(300, 4)) * 10.0 ** rng.integers(-300, 300, (300, 4))
    fields = [[f'"city {separator}{end}{i}"', *map(repr, row), "東京"] for i, row in enumerate(array.tolist())]
    fields += [["", "1e-300", "+1.5", " 12345678901234567890 ", '"-.5"', 'an inch"']]
    lines = [separator.join(cells) for cells in [["city", "a", '"b"', " c", "d ", "größe"], *fields]]
    path = tmp_path / ("t.csv" if separator == "," else "t.tsv")
    for text in (end.join(lines), end.join(lines) + end, (end + end).join(lines) + end + end):
        path.write_text(text, encoding="utf-8", newline="")
        x, y = read_columns(path, ["d", "a"], ["[bc]"])
        np.testing.assert_array_equal(x[:-1], array[:, [3, 0]])
        np.testing.assert_array_equal(y[:-1], array[:, [1, 2]])
        assert x[-1].tolist() == [-0.5, 1e-300]
        assert y[-1].tolist() == [1.5, 12345678901234567890.0]


def test_a_table_of_one_column(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n\n2.5")
    (x,) = read_columns(path, ["*"])
    assert x.tolist() == [[1.0], [2.5]]


@pytest.mark.parametrize("row", [0, 100_000])
def test_text_that_is_not_utf8_is_refused(tmp_path, row):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + row * b"1,x\n" + b"1,\xff\n")
    with pytest.raises(ValueError, match=r"t\.csv must be UTF-8 text; byte \d+ is not"):
        read_columns(path, ["a"])


def test_numpy_files(tmp_path):
    array = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", text=array, label=np.arange(4), other=np.arange(5))
    x, y = read_columns(tmp_path / "a.npy", ["2", "0"], ["1"])
    np.testing.assert_array_equal(np.hstack([x, y]), array[:, [2, 0, 1]])
    named = read_named(tmp_path / "a.npz", ["text"], ["label"])
    assert [columns.names for columns in named] == [("text[0]", "text[1]", "text[2]"), ("label",)]
    x, y = read_columns(tmp_path / "a.npz", ["text"], ["label"])
    assert x.shape == (4, 3)
    assert y.tolist() == [[0.0], [1.0], [2.0], [3.0]]
    with pytest.raises(ValueError, match=r"arrays of one side must have equally many rows; got \[4, 5\]"):
        read_columns(tmp_path / "a.npz", ["text", "other"])
    np.save(tmp_path / "scalar.npy", np.float64(3))
    with pytest.raises(ValueError, match=r"must hold a 2-D array; got \(\)"):
        read_columns(tmp_path / "scalar.npy", ["0"])
    with pytest.raises(ValueError, match="column 'txt' is not known; did you mean 'text'"):
        read_columns(tmp_path / "a.npz", ["txt"])
    (tmp_path / "a.npy").rename(tmp_path / "one.npz")
    with pytest.raises(ValueError, match=r"one\.npz must hold arrays by name; got one array"):
        read_columns(tmp_path / "one.npz", ["0"])
    np.save(tmp_path / "nan.npy", np.array([[1.0, 2.0], [3.0, np.nan]]))
    with pytest.raises(
        ValueError, match=r"nan\.npy must be finite; got 1 NaN and 0 infinite values in 1 rows, .* row 1"
    ):
        read_columns(tmp_path / "nan.npy", ["1"])
    (x,) = read_named(tmp_path / "nan.npy", ["0"])
    assert (x.names, x.samples.tolist()) == (("0",), [[1.0], [3.0]])


def test_a_column_stands_on_one_side_only(table):
    with pytest.raises(ValueError, match="a column must be on one side only; got c on both"):
        read_columns(table, ["a", "c"], [" c "])


def test_spaces_may_belong_to_a_name(tmp_path):
    np.savez(tmp_path / "a.npz", **{" a ": np.arange(3.0), "b": np.ones(3)})
    x, y = read_named(tmp_path / "a.npz", [" a "], [" b"])
    assert (x.names, y.names) == ((" a ",), ("b",))
    with pytest.raises(ValueError, match="column 'a' is not known; did you mean ' a '"):
        read_named(tmp_path / "a.npz", ["a"])


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as a numpy file"):
        read_columns(path, ["a"])


def test_parquet(tmp_path):
    pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "s": ["u", "v"]}).to_parquet(tmp_path / "t.parquet")
    (x,) = read_columns(tmp_path / "t.parquet", ["b", "a"])
    assert x.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    with pytest.raises(TypeError, match=r"column 's' of .* must hold numbers"):
        read_columns(tmp_path / "t.parquet", ["s"])


class Bomb:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["evil.npy", "evil.npz", "plain.npy"])
def test_pickles_are_never_executed(tmp_path, name):
    mark = tmp_path / "executed"
    if name == "plain.npy":
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
    elif name.endswith("npy"):
        np.save(tmp_path / name, np.array([[Bomb(mark)]], dtype=object), allow_pickle=True)
    else:
        np.savez(tmp_path / name, a=np.array([[Bomb(mark)]], dtype=object))
    mark.unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"pickle|magic string"):
        read_columns(tmp_path / name, ["a" if name.endswith("npz") else "0"])
    assert not mark.exists()


@pytest.mark.parametrize("ending", [".npy", ".npz", ".parquet", ".csv"])
def test_a_file_that_is_not_what_its_name_says(tmp_path, ending):
    path = tmp_path / f"fake{ending}"
    path.write_bytes(b"\x89PNG\r\n\x1a\n not a table at all \xff\xfe")
    with pytest.raises(ValueError, match=r"fake"):
        read_columns(path, ["a"])


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_columns(tmp_path / "none.csv", ["a"])
    (tmp_path / "t.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"the ending must be one of \.csv, .*; got '\.xlsx'"):
        read_columns(tmp_path / "t.xlsx", ["a"])


def test_check_writable(tmp_path):
    assert check_writable(tmp_path / "new.png") == tmp_path / "new.png"
    assert not (tmp_path / "new.png").exists()
    with pytest.raises(ValueError, match="there is no folder"):
        check_writable(tmp_path / "missing" / "new.png")
    with pytest.raises(ValueError, match="it is a folder"):
        check_writable(tmp_path)


def test_whole_numbers_as_names_of_columns_are_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1,2\n3,4\n5,6\n")
    with pytest.warns(InfomaxWarning, match="whole numbers only; they were used as column names: 1, 2"):
        (columns,) = read_named(path, ["*"])
    assert columns.names == ("1", "2")
    (named,) = read_named(path, ["2"])  # asked for by name
    assert named.samples.tolist() == [[4.0], [6.0]]
