"""Pickles that are no data: what they ask for is refused by name, and not executed."""

import codecs
import collections
import copyreg
import operator
import os
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from mmim_example.reading import DataError, files
from mmim_example.reading.pickles import read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Calls:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Ordered(collections.OrderedDict):
    """Not the one that is known."""


def labelled(mark):
    made = collections.OrderedDict(a=1)
    made.path = str(mark)
    return made


def build(state):
    return b"\x80\x02cnumpy\nndarray\n" + pickle.dumps(state, 2)[2:-1] + b"b."


HOSTILE = {
    "a call": (
        lambda mark: [Calls(os.system, f"touch {mark}")],
        r"asks for (posix|nt)\.system, which data do not need",
    ),
    "in an array": (
        lambda mark: {"train": {"text": np.array([[Calls(os.system, f"touch {mark}")]], object)}},
        r"asks for (posix|nt)\.system, which data do not need",
    ),
    "as a key": (lambda mark: {(Calls(os.system, f"touch {mark}"),): 1}, r"asks for (posix|nt)\.system"),
    "eval": (lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"), r"asks for (builtins|__builtin__)\.eval"),
    "exec": (lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"), r"asks for (builtins|__builtin__)\.exec"),
    "getattr": (lambda mark: Calls(getattr, "", "upper"), r"asks for (builtins|__builtin__)\.getattr"),
    "open": (lambda mark: Calls(open, str(mark), "w"), r"asks for (_?io|__builtin__)\.open"),
    "numpy.load": (lambda mark: Calls(np.load, str(mark)), r"asks for numpy(\.lib\._npyio_impl)?\.load"),
    "another of multiarray": (
        lambda mark: Calls(np.fromfile, str(mark)),
        r"asks for numpy(\._core\.\w+)?\.fromfile",
    ),
    "an instance": (lambda mark: collections.Counter("a"), r"asks for collections\.Counter"),
    "a class like one that is read": (lambda mark: Ordered(a=1), r"asks for .*test_hostile\.Ordered"),
    "a container that calls": (
        lambda mark: collections.defaultdict(list, a=[1]),
        r"asks for collections\.defaultdict",
    ),
    "a call in a dict with an order": (
        lambda mark: collections.OrderedDict(a=Calls(os.system, f"touch {mark}")),
        r"asks for (posix|nt)\.system, which data do not need",
    ),
    "attributes of a dict with an order": (labelled, r"asks for setting the state of dict"),
    "another codec": (lambda mark: Calls(codecs.encode, "00", "hex"), r"asks for _codecs\.encode with 'hex'"),
    "a method": (lambda mark: operator.attrgetter("system"), r"asks for operator\.attrgetter"),
    "records": (lambda mark: np.zeros(2, [("a", "f4"), ("b", "O")]), r"numbers or strings; got the dtype 'V12'"),
    "dates": (lambda mark: np.zeros(2, "M8[s]"), r"numbers or strings; got the dtype 'M8'"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", HOSTILE)
def test_what_asks_for_more_is_refused_by_name_and_not_executed(read, tmp_path, name, protocol):
    make, message = HOSTILE[name]
    mark = tmp_path / "executed"
    content = pickle.dumps(make(mark), protocol)
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert str(tmp_path / "data.pkl") in str(caught.value)
    assert not mark.exists()


MULTIARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY = b"\x80\x02" + MULTIARRAY + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00%s\x89\x88\x87R"
ORDERED = b"\x80\x02ccollections\nOrderedDict\n"
#: By what they try: the bytes, and what is said.
CRAFTED = {
    "the names of a protocol": (b"cos\nsystem\n(S'true'\ntR.", r"asks for os\.system"),
    "a name of strings": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", r"asks for os\.system"),
    "a dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.sum\x93.", r"asks for numpy\.ndarray\.sum"),
    "a name of no strings": (b"\x80\x04]]\x93.", r"STACK_GLOBAL requires str"),
    "an instance": (b"(S'true'\nios\nsystem\n.", r"asks for os\.system"),
    "an object": (b"(cnumpy\nndarray\nI3\no.", r"asks for a call of numpy\.ndarray"),
    "a new object": (b"\x80\x02cnumpy\nndarray\nI3\n\x85\x81.", r"NEWOBJ class argument must be a type"),
    "a class called": (b"\x80\x02cnumpy\nndarray\nI3\n\x85R.", r"asks for a call of numpy\.ndarray"),
    "a value called": (b"\x80\x02]I3\n\x85R.", r"'list' object is not callable"),
    "a class as a datum": (b"\x80\x02]cnumpy\nndarray\na.", r"asks for numpy\.ndarray"),
    "a class as the whole": (b"\x80\x02cnumpy\ndtype\n.", r"asks for numpy\.dtype"),
    "attributes of a class": (build((None, {"shape": 1})), r"asks for setting the state of numpy\.ndarray"),
    "attributes of a list": (b"\x80\x02]}b.", r"state is not a dictionary"),
    "attributes of a long string": (
        b"\x80\x04B"
        + struct.pack("<I", 70_000)
        + bytes(70_000)
        + b"N}X\x08\x00\x00\x00encodingX\x04\x00\x00\x00idnas\x86b.",
        r"asks for setting the state of a string",
    ),
    "all items of a dict at once": (b"(K\x01K\x02d.", r"items of dicts one by one"),
    "attributes of an array": (EMPTY + b"}b.", r"asks for setting the state of"),
    "an array that is set twice": (
        EMPTY + b"q\x01" + (b"(K\x01K\x02\x85" + DTYPE % b"i1" + b"\x89C\x02abtb") * 2 + b".",
        r"asks for setting the state of an array twice",
    ),
    "another object": (b"Pfile:secret\n.", r"asks for 'file:secret', an object in another file"),
    "another object, binary": (b"\x80\x02X\x03\x00\x00\x00keyQ.", r"asks for an object in another file"),
    "a buffer": (b"\x80\x05\x97.", r"asks for an object in another file"),
    "an extension": (b"\x80\x02\x82\xf0.", r"asks for extension 240"),
    "addresses as objects": (
        EMPTY + b"(K\x01K\x01\x85" + DTYPE % b"O8" + b"\x89C\x08\x01\x02\x03\x04\x05\x06\x07\x08tb.",
        r"an array of shape \(1,\) needs a list of 1 objects; got bytes",
    ),
    "objects by a flag": (
        EMPTY + b"(K\x01K\x01\x85" + DTYPE % b"i8" + b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K?tb\x89]Natb.",
        r"an array of shape \(1,\) needs 1 values of int64; got list",
    ),
    "records in a state": (
        b"\x80\x02" + DTYPE % b"i8" + b"(K\x03X\x01\x00\x00\x00<N)}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
        r"numbers or strings; got records",
    ),
    "a shape beyond the data": (
        EMPTY + b"(K\x01J\x00\x00\x00\x7fJ\x00\x00\x00\x7f\x86" + DTYPE % b"f8" + b"\x89C\x02abtb.",
        r"an array of shape .* needs \d+ values of float64; got 2 bytes",
    ),
    "a negative shape": (
        EMPTY + b"(K\x01J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86" + DTYPE % b"i1" + b"\x89C\x02abtb.",
        r"arrays must have a valid shape",
    ),
    "values that are no bool": (
        EMPTY + b"(K\x01K\x01\x85" + DTYPE % b"b1" + b"\x89C\x01\x07tb.",
        r"values must be valid for bool; got other bytes",
    ),
    "values that are no characters": (
        EMPTY + b"(K\x01K\x01\x85" + DTYPE % b"U1" + b"\x89C\x04\xff\xff\xff\xfftb.",
        r"values must be valid for <U1; got other bytes",
    ),
    "an array without content": (b"\x80\x02]" + EMPTY[2:] + b"a.", r"an array that has no content"),
    "an array within itself": (
        EMPTY + b"q\x01(K\x01K\x01\x85" + DTYPE % b"O8" + b"\x89]h\x01atb.",
        r"data must not contain themselves",
    ),
    "a list within itself": (b"\x80\x02]q\x00h\x00a.", r"data must not contain themselves"),
    "a dict within itself": (b"\x80\x02}q\x00K\x01]h\x00as.", r"data must not contain themselves"),
    "the class of a dict as a datum": (b"\x80\x02]ccollections\nOrderedDict\na.", r"asks for collections\.OrderedDict"),
    "a new dict with an order": (
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        r"NEWOBJ class argument must be a type",
    ),
    "a dict with an order of a string": (ORDERED + b"X\x02\x00\x00\x00ab\x85R.", r"TypeError: an OrderedDict of str"),
    "a dict with an order of strings": (
        ORDERED + b"]X\x02\x00\x00\x00aba\x85R.",
        r"TypeError: an OrderedDict of items that are not pairs",
    ),
    "a dict with an order of names": (
        ORDERED + b"]K\x01cnumpy\nndarray\n\x86a\x85R.",
        r"asks for numpy\.ndarray",
    ),
    "a dict with an order of two arguments": (ORDERED + b"]]\x86R.", r"TypeError"),
    "a dict with an order of threes": (ORDERED + b"]]NaNaNaa\x85R.", r"OrderedDict of items that are not pairs"),
    "a list as a key of a dict with an order": (ORDERED + b"](](]K\x01ee\x85R.", r"keys must be strings or numbers"),
    "a dict with an order within itself": (ORDERED + b")Rq\x00K\x01h\x00s.", r"data must not contain themselves"),
    "a tuple as a key": (b"\x80\x02}K\x01\x85K\x01s.", r"keys must be strings or numbers; got tuple"),
    "a list as a key": (b"\x80\x02}]K\x01s.", r"keys must be strings or numbers; got list"),
    "a long integer as a key": (b"\x80\x02}" + pickle.dumps(2**100, 2)[2:-1] + b"K\x01s.", r"keys must be"),
    "a huge claimed string": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.", r"must be complete; got \d+ bytes"),
    "a negative string": (b"T" + struct.pack("<i", -5) + b"abc.", r"must be complete; got -5 bytes announced"),
    "a huge claimed text": (b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"abc.", r"must be complete"),
    "a huge integer": (b"\x80\x02\x8b" + struct.pack("<i", 1000) + b"a" * 1000 + b".", r"an integer of 1000 bytes"),
    "an integer of many digits": (b"I" + b"9" * 100_000 + b"\n.", r"numbers must have at most 200 digits; got 100000"),
    "an unknown operation": (b"\x80\x04\xff.", r"must be a pickle; got b'\\xff' at byte 2"),
    "no end": (b"\x80\x04N", r"must be complete; got 1 bytes announced at byte 3 of 3"),
    "nothing on the stack": (b"\x80\x04.", r"must be a valid pickle; got UnpicklingError: unpickling stack underflow"),
    "no mark": (b"\x80\x04t.", r"could not find MARK"),
    "a memo that is not there": (b"\x80\x04h\x07.", r"Memo value not found at index 7"),
    "a key without a value": (b"\x80\x04}(K\x01u.", r"odd number of items for SETITEMS"),
    "a warning": (b"S'\\d'\n.", r"must be a valid pickle; got"),
    "no pickle": (b"id,split,label\n", r"must be"),
    "nothing": (b"", r"must be a file that is not empty"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_bytes_are_refused(read, name):
    content, message = CRAFTED[name]
    with pytest.raises(DataError, match=message):
        read(content)


def test_an_extension_that_is_registered_is_refused(read):
    copyreg.add_extension("os", "system", 241)
    try:
        with pytest.raises(DataError, match="asks for extension 241"):
            read(b"\x80\x02\x82\xf1X\x04\x00\x00\x00true\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 241)


def laughs(levels, start=b"]"):
    """Lists of ten times the list below."""
    content = b"\x80\x02" + start + b"q\x00"
    for level in range(levels):
        content += b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"eq" + bytes([level + 1])
    return content


BOMBS = {
    "a billion laughs": laughs(9) + b".",
    "a billion laughs in a message": laughs(9) + b"Q.",
    "a billion laughs in a name": b"\x80\x04" + laughs(9)[2:] + b"h\x00\x93.",
    "a billion laughs as a type": laughs(9) + b"q\x30cnumpy\ndtype\nh\x30\x85R.",
    "a deep list": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "a deep tuple": b"\x80\x02)" + b"\x85" * 50_000 + b".",
    "a deep tuple as a key": b"\x80\x02})" + b"\x85" * 50_000 + b"Ns.",
    "a deep tuple of names": b"\x80\x02cnumpy\nndarray\n" + b"\x85" * 50_000 + b"a.",
    "a huge place in the memo": b"\x80\x02Nr\xff\xff\xff\xff" + b"j\xff\xff\xff\xfe.",
    "a string repeated": b"\x80\x04](" + pickle.dumps(b"x" * 70_000, 4)[2:-1] + b"h\x00" * 9999 + b"e.",
    "objects repeated": b"\x80\x02](" + b"N" * 50_000 + b"eq\x00"
    + (EMPTY[2:] + b"(K\x01M\x50\xc3\x85" + DTYPE % b"O8" + b"\x89h\x00tb0") * 2000
    + b"h\x00.",
    "a dict with an order repeated": b"\x80\x02](" + b"K\x01N\x86" * 50_000 + b"eq\x00"
    + (ORDERED[2:] + b"h\x00\x85R0") * 2000 + b"h\x00.",
    "a billion laughs as text to encode": laughs(9) + b"q\x30c_codecs\nencode\nh\x30X\x06\x00\x00\x00latin1\x86R.",
    "a shape of many axes": EMPTY + b"((" + (b"\x8a\x40" + b"\x7f" * 64) * 10_000 + b"tN" + b"tb.",
}  # fmt: skip


@pytest.fixture(scope="module")
def honest_time(tmp_path_factory):
    """Processor time to read 50,000 lists, about as many as the deepest above."""
    path = tmp_path_factory.mktemp("honest") / "data.pkl"
    path.write_bytes(pickle.dumps([[] for _ in range(50_000)], 2))
    start = time.process_time()
    assert len(read_pickle(path)) == 50_000
    return time.process_time() - start


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_do_not_grow(read, name, honest_time, monkeypatch):
    monkeypatch.setattr(files, "MEMORY", 4 << 20)
    start = time.process_time()
    with pytest.raises(DataError):
        read(BOMBS[name])
    assert time.process_time() - start < 50 * honest_time


def memo(index, content):
    return content + b"q" + bytes([index]) + b"0"


def number_dtype(kind):
    return b"cnumpy\ndtype\nX" + struct.pack("<I", len(kind)) + kind + b"\x89\x88\x87R"


def scalars(kind, data, count):
    """A list of ``count`` scalars of numpy, all of the same bytes."""
    head = memo(0, b"cnumpy.core.multiarray\nscalar\n") + memo(1, number_dtype(kind)) + memo(2, data)
    return b"\x80\x04" + head + b"](" + b"h\x00h\x01h\x02\x86R" * count + b"e."


LONG = b"B" + struct.pack("<I", 40_000) + b"a" * 40_000
#: By what takes the memory: small files that ask for much.
EXPANDING = {
    "scalars of bytes": scalars(b"S40000", LONG, 5000),
    "scalars of text": scalars(b"U10000", b"B" + struct.pack("<I", 40_000) + b"a\0\0\0" * 10_000, 5000),
    "scalars of objects": scalars(b"O8", b"]Na", 60_000),
    "lists": b"\x80\x04(" + b"]" * 100_000 + b"t.",
    "dicts": b"\x80\x04(" + b"}" * 100_000 + b"t.",
    "sets": b"\x80\x04(" + b"\x8f" * 100_000 + b"t.",
    "tuples": b"\x80\x04(" + b"N\x85" * 100_000 + b"t.",
    "places in the memo": b"\x80\x04N" + b"\x94" * 200_000 + b".",
    "frozen sets": b"\x80\x04(" + b"(K\x01\x91" * 50_000 + b"t.",
    "dicts with an order": b"\x80\x02ccollections\nOrderedDict\nq\x00](" + b"h\x00)R" * 50_000 + b"e.",
    "arrays": b"\x80\x02]" + memo(0, EMPTY[2 : EMPTY.index(b"cnumpy\nndarray")])
    + memo(1, b"cnumpy\nndarray\n") + memo(2, number_dtype(b"i1")) + memo(3, b"U\x01a")
    + (b"h\x00h\x01K\x00\x85h\x03\x87R(K\x01K\x01\x85h\x02\x89h\x03tba") * 10_000 + b".",
    "text of four bytes a character": b"\x80\x04](" + (b"X\x08\x00\x00\x00abcd\xf0\x9f\x98\x80" * 40_000) + b"e.",
    "strings of Python 2": b"\x80\x02](" + memo(0, b"T" + struct.pack("<i", 80_000) + b"a" * 80_000)
    + b"h\x00" * 500 + b"e.",
    "bytes that are encoded": b"\x80\x02](" + memo(0, b"c_codecs\nencode\n")
    + memo(1, b"X" + struct.pack("<I", 40_000) + b"a" * 40_000 + b"X\x06\x00\x00\x00latin1\x86")
    + b"h\x00h\x01R" * 5000 + b"e.",
    "the same array repeated": b"\x80\x05]" + memo(0, pickle.dumps(np.zeros(10_000), 4)[2:-1])
    + b"h\x00a" * 2000 + b".",
    "the same text repeated": b"\x80\x04]" + memo(0, b"X" + struct.pack("<I", 40_000) + b"a" * 40_000)
    + b"h\x00a" * 2000 + b".",
    "an axis beside one of size 0": EMPTY + b"(K\x01J\xff\xff\xff\x7fK\x00\x86" + number_dtype(b"i1") + b"\x89U\x00tb.",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPANDING)
def test_small_files_take_little_memory(read, name, monkeypatch):
    """Everything is charged before it is made: with a limit of 4 MiB, no file takes much more than itself and that."""
    monkeypatch.setattr(files, "MEMORY", 4 << 20)
    monkeypatch.setattr(files, "PER_BYTE", 1)
    content = EXPANDING[name]
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"data.pkl: must not expand far beyond its size: at most 4 MiB"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_can_be_raised(read, monkeypatch):
    many = [[] for _ in range(60_000)]
    monkeypatch.setattr(files, "MEMORY", 4 << 20)
    content = pickle.dumps(many, 2)
    with pytest.raises(DataError, match="expand far beyond its size: at most 13 MiB, by MEMORY and PER_BYTE"):
        read(content)
    monkeypatch.setattr(files, "PER_BYTE", 400)
    assert read(content) == many
