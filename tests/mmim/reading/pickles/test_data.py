"""Pickles of data, in every protocol, whole and damaged."""

import collections
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmim_example.reading import DataError
from mmim_example.reading.pickles import read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RNG = np.random.default_rng(0)


def same(a, b):
    """Equal, of the same types, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if a.dtype.hasobject:
            same(a.tolist(), b.tolist())
        else:
            np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            same(left, right)
    else:
        assert a == b


ARRAYS = {
    "float32": RNG.normal(size=(3, 4, 5)).astype("f4"),
    "Fortran order": np.asfortranarray(RNG.normal(size=(3, 4))),
    "axes in another order": RNG.normal(size=(2, 3, 4)).transpose(1, 0, 2),
    "big endian": np.arange(5, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "no axes": np.array(2.5),
    "bool": np.array([True, False]),
    "half": np.arange(3, dtype="f2"),
    "strings": np.array(["a", "héé"]),
    "bytes": np.array([[b"x"], [b"yz"]]),
    "large": np.arange(30_000.0),
    "large strings": np.array(["x" * 9000, "y"]),
    "objects": np.array([["a", 1, None], [2.5, b"x", True]], object),
    "arrays in an array": np.array([np.arange(2), np.arange(3), "x"], object),
}
PLAIN = {
    "numbers": [0, 1, -1, 255, 256, 65536, 2**31, -(2**31), 2**62, -(2**70), 0.5, -1e300, float("inf")],
    "words": ["", "é", "a\nb", "\\ ' \"", "x" * 300, "y" * 70_000],
    "bytes": [b"", b"\x00\xff\n'", b"x" * 300, b"y" * 70_000],
    "others": [None, True, False],
    "containers": {"a": [1, (2,), (3, 4), (5, 6, 7), (8, 9, 10, 11), ()], 2: {}, b"k": [[]], None: {"x": {"y": "z"}}},
    "sets": [{1, 2}, set(), frozenset("ab")],
    "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("é"), np.bytes_(b"x")],
    "tuples of arrays": (np.arange(3), "a"),
    "the same twice": [SHARED := ["x"], SHARED, np.dtype("f4")],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [*ARRAYS, *PLAIN])
def test_data_are_read(read, name, protocol):
    value = {**ARRAYS, **PLAIN}[name]
    content = pickle.dumps({"train": value}, protocol)
    same(read(content), {"train": value})
    if protocol < 4:
        # What numpy 1 wrote; its names are lines there.
        same(read(content.replace(b"numpy._core", b"numpy.core")), {"train": value})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_dict_with_an_order_is_read_as_a_dict(read, protocol):
    ordered = collections.OrderedDict([("train", collections.OrderedDict(b=np.arange(3), a=["x"])), ("valid", {})])
    made = read(pickle.dumps([ordered, ordered, collections.OrderedDict()], protocol))
    same(made, [{"train": {"b": np.arange(3), "a": ["x"]}, "valid": {}}, {**made[0]}, {}])
    assert made[0] is made[1]
    assert list(made[0]["train"]) == ["b", "a"]


def test_a_dict_with_an_order_of_python_2_is_read(read):
    content = b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(]q\x02(U\x01bK\x01e]q\x03(U\x01aK\x02ee\x85q\x04Rq\x05."
    made = read(content)
    same(made, {"b": 1, "a": 2})
    assert pickle.loads(content) == made


def test_bytearrays_are_bytes(read):
    assert read(pickle.dumps(bytearray(b"xy"), 5)) == b"xy"


def test_large_arrays_are_not_copied(read):
    array = read(pickle.dumps(np.zeros(100_000), 5))
    assert not array.flags.owndata
    assert not array.flags.writeable


NUMBERS = np.array([[1, -2, 0.5], [3e8, 0, np.inf]], "<f4")
#: As Python 2 and numpy 1 wrote them: text of bytes, in the old names.
PYTHON_2 = {
    0: b"(dp0\nS'x\\xe9'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\n"
    b"Rp7\n(I1\n(I2\nI3\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\n"
    b"bI00\nS%s\np15\ntp16\nbs." % repr(NUMBERS.tobytes())[1:].encode(),
    2: b"\x80\x02}q\x00U\x02x\xe9q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b"
    b"\x87Rq\x04(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00tb\x89T\x18\x00\x00\x00%stbs." % NUMBERS.tobytes(),
}


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_what_python_2_wrote_is_read(read, protocol):
    same(read(PYTHON_2[protocol]), {"xé": NUMBERS})


def test_a_long_string_of_python_2_is_text_unless_an_array_is_made_of_it(read):
    long = b"T" + struct.pack("<i", 80_000) + b"\xe9" * 80_000
    assert read(b"\x80\x02]" + long + b"a.") == ["é" * 80_000]
    head, tail = PYTHON_2[2].replace(b"K\x02K\x03\x86", b"M\x20\x4e\x85").split(b"T\x18\x00\x00\x00")
    array = read(head + long + tail[NUMBERS.nbytes :])["xé"]
    assert array.tobytes() == b"\xe9" * 80_000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, data):
    content = bytearray(
        pickle.dumps({**ARRAYS, **PLAIN, "large": 0, "words": 0, "bytes": 0}, data.draw(st.sampled_from(PROTOCOLS)))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_pickle(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 - most, not all, are refused


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=60))
def test_bytes_by_chance_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "chance.pkl"
    path.write_bytes(content)
    try:
        read_pickle(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 - most, not all, are refused


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match=r"nothing.pkl must be a file that is not empty; got: .*No such file"):
        read_pickle(tmp_path / "nothing.pkl")


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: __import__("pandas").DataFrame({"a": [1.0]}), r"asks for pandas\..*; it is a table .* \.to_numpy\(\)"),
        (lambda: __import__("torch").zeros(2), r"asks for torch\..*; it is a tensor .* tensor\.cpu\(\)\.numpy\(\)"),
    ],
)
def test_objects_of_other_libraries_are_refused_with_what_to_do(tmp_path, make, advice):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": make()}))
    with pytest.raises(DataError, match=advice):
        read_pickle(tmp_path / "x.pkl")
