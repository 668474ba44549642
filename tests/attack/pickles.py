"""Hostile pickles, read by ``python -m mmim_example convert``: no code may run, no file take 1 GB or give a traceback.

Each is composed of choices: a data set of MMSA or MulT in some protocol, mutated operation by operation; a call, in
some place; or a bomb: a unit that makes much of few bytes, repeated, in a place of the data set that later code reads.
"""

from __future__ import annotations

import itertools
import pickle
import pickletools
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from attack import commands
from attack.outcome import Outcome

TITLE = "Pickles, by mmim_example convert"
LARGE = 240

#: Largest file of a large and of a small attack, in bytes: under 10 MB.
LARGEST, LARGEST_OF_FEW = 9_900_000, 100_000
FORMS = {
    "MMSA": ("raw_text", "audio", "vision", "text", "text_bert", "id", "regression_labels", "audio_lengths"),
    "MulT": ("text", "audio", "vision", "id", "labels"),
}


def dataset(form: str, rng: random.Random) -> dict[str, dict[str, object]]:
    """A valid data set of a few utterances in one of the published forms."""
    draw = np.random.default_rng(rng.randrange(2**32))
    content = {}
    for name, n in zip(("train", "valid", "test"), (5, 3, 2), strict=True):
        part: dict[str, object] = {m: draw.normal(size=(n, 4, 2)).astype("f4") for m in ("text", "audio", "vision")}
        ids = [f"{name}{i}$_${i}" for i in range(n)]
        part["id"] = ids if form == "MMSA" else np.array([[i] for i in ids])
        labels = draw.uniform(-3, 3, (n, 1) if form == "MulT" else n)
        part["labels" if form == "MulT" else "regression_labels"] = labels
        if form == "MMSA":
            part |= {"raw_text": np.array(["so it is"] * n), "audio_lengths": [4] * n}
            part["text_bert"] = np.ones((n, 3, 4), np.float32)
        content[name] = part
    return content


def operations(content: bytes) -> list[bytes]:
    """The pickle, cut into its operations, without frames."""
    at = [place for _, _, place in pickletools.genops(content)] + [len(content)]
    return [content[a:b] for a, b in itertools.pairwise(at) if content[a : a + 1] != b"\x95"]


# --- Code that would run ----------------------------------------------------------------------------------------------


def text(value: str | bytes) -> bytes:
    value = value if isinstance(value, bytes) else value.encode()
    return b"X" + struct.pack("<I", len(value)) + value


def call(rng: random.Random, mark: Path) -> bytes:
    """Operations that call a function of Python, if they are obeyed, which leaves a file at ``mark``."""
    module, name, argument = rng.choice(
        [
            ("os", "system", f"touch {mark}"),
            ("posix", "system", f"touch {mark}"),
            ("subprocess", "getoutput", f"touch {mark}"),
            ("builtins", "exec", f"open({str(mark)!r}, 'w')"),
            ("builtins", "eval", f"open({str(mark)!r}, 'w')"),
            ("numpy", "load", str(mark)),
            ("numpy.core.multiarray", "fromfile", str(mark)),
            ("numpy", "ndarray.tofile", str(mark)),
            ("torch", "load", str(mark)),
            ("infomax.io.files", "read_columns", str(mark)),
            ("mmim_example.__main__", "main", "generate"),
        ]
    )
    line = module.encode() + b"\n" + name.encode() + b"\n"
    named = {
        "GLOBAL": b"c" + line,
        "STACK_GLOBAL": text(module) + text(name) + b"\x93",
        "dotted": text(module.split(".")[0]) + text(f"{module}.{name}".partition(".")[2]) + b"\x93",
    }
    way = rng.choice(["reduce", "inst", "obj", "newobj", "newobj_ex", "build", "extension", "persistent"])
    what = named[rng.choice(list(named))]
    return {
        "reduce": what + text(argument) + b"\x85R",
        "inst": b"(" + text(argument) + b"i" + line,
        "obj": b"(" + what + text(argument) + b"o",
        "newobj": what + text(argument) + b"\x85\x81",
        "newobj_ex": what + text(argument) + b"\x85}\x92",
        "build": what + b"}" + text("__setstate__") + what + b"sb",
        "extension": rng.choice([b"\x82\xf0", b"\x83\xf0\x00", b"\x84\xf0\x00\x00\x00"]),
        "persistent": rng.choice([b"Pfile:" + argument.encode() + b"\n", text(argument) + b"Q", b"\x97", b"\x97\x98"]),
    }[way]


# --- Bombs ------------------------------------------------------------------------------------------------------------


def dtype(kind: str) -> bytes:
    return b"cnumpy\ndtype\n" + text(kind) + b"\x89\x88\x87R"


SCALAR = b"cnumpy.core.multiarray\nscalar\n"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"


def array(shape: tuple[int, ...], kind: str, data: bytes) -> bytes:
    """Operations that make an array of operations that make its data."""
    sizes = b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in shape) + b"t"
    return EMPTY + b"(K\x01" + sizes + dtype(kind) + b"\x89" + data + b"tb"


def numbers(kind: str, size: int, rng: random.Random) -> bytes:
    """An array of about ``size`` bytes, in a shape that a modality or the tokens may have."""
    rows = size // 600 + 1
    shape = rng.choice([(rows, 3, 100), (3, 3, 100 * (rows // 3 + 1)), (rows * 300,), (1, rows * 300), (rows, 300, 1)])
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return array(shape, kind, b"B" + struct.pack("<I", size) + bytes(size))


def string(size: int, rng: random.Random) -> bytes:
    return rng.choice(
        [
            lambda: b"B" + struct.pack("<I", size) + bytes(size),
            lambda: b"T" + struct.pack("<i", size) + b"1" * size,
            lambda: text(b"a" * size),
            lambda: text(("\U0001f600" + "a" * (size - 4)).encode()),
            lambda: b"\x8e" + struct.pack("<Q", size) + b"\xff" * size,
        ]
    )()


def unit(rng: random.Random) -> tuple[str, bytes, bytes]:
    """A name, operations done once, which end with places in the memo, and operations that are repeated."""
    size = int(10 ** rng.uniform(1, 6.6))
    width = rng.choice([8, 100, 40_000, 65_535, 65_536, 1_000_000])
    kind, letter = rng.choice([("S", 1), ("U", 4)])
    put = b"r\x00\xff\x00\x000"
    get = b"j\x00\xff\x00\x00"
    units: dict[str, Callable[[], tuple[bytes, bytes]]] = {
        "empty container": lambda: (b"", rng.choice([b"]", b"}", b"\x8f", b")\x85", b"]\x94", b"(t\x94", b"\x8f\x94"])),
        "deep": lambda: (b"", rng.choice([b"\x85", b"\x85\x85\x94", b"]\x94\x85"])),
        "small values": lambda: (b"", rng.choice([b"N", b"K\x05", b"M\x05\x05", b"\x88", b"G" + bytes(8), b"N\x94"])),
        "frozen sets": lambda: (b"", b"(K\x01K\x02\x91"),
        "long integers": lambda: (b"", b"\x8a\x40" + b"\x7f" * 64),
        "digits": lambda: (b"", rng.choice([b"I" + b"9" * 190 + b"\n", b"L" + b"1" * 5000 + b"L\n", b"F1e308\n"])),
        "lines": lambda: (b"", rng.choice([b"S'\\U0001F600aaaa'\n", b"V\\U0001F600\n", b"S'" + b"a" * 300 + b"'\n"])),
        "small texts": lambda: (b"", b"\x8c\x06ab\xf0\x9f\x98\x80" + rng.choice([b"", b"\x94"])),
        "scalars": lambda: memorised(SCALAR, dtype(f"{kind}{width}"), string_of(width * letter)),
        "a string again": lambda: (string(size, rng) + put, get),
        "bytes encoded": lambda: memorised(b"c_codecs\nencode\n", text("a" * size), text("latin1")),
        "an array again": lambda: (numbers(rng.choice(["i1", "b1", "f2"]), size, rng) + put, get),
        "objects again": lambda: (b"](" + b"N" * min(size, 10**6) + b"e" + put, array((min(size, 10**6),), "O8", get)),
        "empty axes": lambda: (array((0, size, 3), "f4", b"U\x00") + put, get),
        "rows of nothing": lambda: (array((size * 1000, 1, 0), "f4", b"U\x00") + put, get),
        "sets": lambda: (b"](" + b"K\x01K\x02K\x03" * min(size, 10**5) + b"e" + put,
                         b"cbuiltins\nset\n" + get + b"\x85R"),
        "ordered": lambda: (b"](" + b"K\x01N\x86" * min(size, 10**5) + b"e" + put,
                            b"ccollections\nOrderedDict\n" + get + b"\x85R"),
        "laughs": lambda: (laughs(rng) + put, get),
        "laughs encoded": lambda: (laughs(rng) + put, b"c_codecs\nencode\n" + get + text("latin1") + b"\x86R"),
        "wide shapes": lambda: (b"", array((2**62, 2**62), "i1", b"U\x00")),
        "claimed strings": lambda: (b"", b"\x8e" + struct.pack("<Q", rng.choice([2**30, 2**62])) + b"abc"),
    }  # fmt: skip
    name = rng.choice(list(units))
    once, again = units[name]()
    return name, once, again


def memorised(*parts: bytes) -> tuple[bytes, bytes]:
    """A function and two arguments in the memo, and the operations that call it."""
    once = b"".join(part + b"r" + struct.pack("<I", 0xFF01 + i) + b"0" for i, part in enumerate(parts))
    return once, b"".join(b"j" + struct.pack("<I", 0xFF01 + i) for i in range(3)) + b"\x86R"


def string_of(size: int) -> bytes:
    return b"B" + struct.pack("<I", size) + b"a\0\0\0" * (size // 4) + b"a\0\0\0"[: size % 4]


def laughs(rng: random.Random) -> bytes:
    """Lists, tuples or dicts of ten times the one below."""
    content = b"]"
    for level in range(rng.randint(4, 40)):
        again = b"j" + struct.pack("<I", 0xFE00 + level)
        made = rng.choice(
            [b"(" + again * 10 + b"l", b"(" + again * 10 + b"t", b"(K\x01" + again + b"K\x02" + again + b"d"]
        )
        content += b"r" + struct.pack("<I", 0xFE00 + level) + b"0" + made
    return content


def bomb(rng: random.Random, largest: int) -> tuple[str, bytes]:
    """A data set, one field of which is a bomb, or a bomb alone."""
    name, once, again = unit(rng)
    room = int(10 ** rng.uniform(4, 6.5)) if rng.random() < 0.8 else largest
    count = max(1, (min(room, largest) - len(once) - 2000) // max(1, len(again)))
    how = rng.choice(["list", "tuple", "stack", "dict", "one"])
    repeated = {
        "list": b"](" + again * count + b"e",
        "tuple": b"(" + again * count + b"t",
        "stack": b"(" + again * count + b"1" + again,
        "dict": b"}(" + b"".join(b"J" + struct.pack("<i", i) + again for i in range(min(count, 200_000))) + b"u",
        "one": again,
    }[how]
    if len(once) + len(repeated) > LARGEST:
        repeated = again
    form = rng.choice(list(FORMS))
    field = rng.choice(FORMS[form])
    plain = dataset(form, rng)
    shared = rng.random() < 0.5  # in all three splits
    parts = b""
    for split, part in plain.items():
        if shared or split == "train":
            del part[field]
            parts += text(split) + pickle.dumps(part, 2)[2:-1] + text(field) + b"j\x01\xff\x00\x00s"
        else:
            parts += text(split) + pickle.dumps(part, 2)[2:-1]
    content = b"\x80\x04" + once + repeated + b"r\x01\xff\x00\x000" + b"}(" + parts + b"u."
    where = f"{form} {field}{' of each split' if shared else ''}"
    return f"bomb: {name}, {how} of {count}, {where}", content


# --- Mutations --------------------------------------------------------------------------------------------------------


def mutated(rng: random.Random, mark: Path) -> tuple[str, bytes]:
    """A valid data set with some operations deleted, repeated, exchanged, damaged, or replaced by hostile ones."""
    form, protocol = rng.choice(list(FORMS)), rng.randint(0, 5)
    parts = operations(pickle.dumps(dataset(form, rng), protocol))
    changes = []
    for _ in range(rng.randint(1, 4)):
        i, j = (rng.randrange(1, len(parts) - 1) for _ in range(2))
        change = rng.choice(["delete", "repeat", "swap", "damage", "move", "hostile", "unit", "cut"])
        changes.append(change)
        if change == "delete":
            parts[i] = b""
        elif change == "repeat":
            parts[i] *= rng.choice([2, 100, 10_000])
        elif change == "swap":
            parts[i], parts[j] = parts[j], parts[i]
        elif change == "damage" and parts[i]:
            damaged = bytearray(parts[i])
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            parts[i] = bytes(damaged)
        elif change == "move":
            parts.insert(j, parts.pop(i))
        elif change == "hostile":
            parts.insert(i, call(rng, mark))
        elif change == "unit":
            _, once, again = unit(rng)
            parts.insert(i, once[:1_000_000] + again * 10)
        elif rng.random() < 0.3:
            parts = [*parts[:i], b""]
    return f"mutation: {form}, protocol {protocol}, {', '.join(changes)}", b"".join(parts)[:LARGEST]


def called(rng: random.Random, mark: Path) -> tuple[str, bytes]:
    """A call in the place of a split, a field, a key or everything."""
    made, form = call(rng, mark), rng.choice(list(FORMS))
    place = rng.choice(["all", "split", "field", "key", "in an array", "in a tuple", "popped"])
    plain = pickle.dumps(dataset(form, rng), 2)[2:-1]
    content = {
        "all": made,
        "split": plain + text("train") + made + b"s",
        "field": b"}" + text("train") + b"}" + text(FORMS[form][0]) + made + b"ss",
        "key": b"}" + made + b"Ns",
        "in an array": array((1,), "O8", b"]" + made + b"a"),
        "in a tuple": plain + made + b"\x86",
        "popped": plain + made + b"0",
    }[place]
    return f"call: {form}, {place}: {made[:40]!r}", b"\x80\x04" + content + b"."


def attack(count: int, seed: int) -> Iterator[Outcome]:
    """Convert ``count`` pickles; one in twenty is valid, and must be converted."""
    rng, largest = random.Random(seed), LARGEST if count >= LARGE // 2 else LARGEST_OF_FEW
    with tempfile.TemporaryDirectory() as folder:
        path, out, mark = (Path(folder) / name for name in ("data.pkl", "plain", "executed"))
        for i in range(count):
            valid = i % 20 == 0
            if valid:
                form, protocol = rng.choice(list(FORMS)), rng.randint(0, 5)
                case, content = f"valid: {form}, protocol {protocol}", pickle.dumps(dataset(form, rng), protocol)
            else:
                kind = rng.choice([mutated, called, bomb, bomb])
                case, content = bomb(rng, largest) if kind is bomb else kind(rng, mark)
            path.write_bytes(content)
            done = commands.run("convert", out, "--data", path)
            found = done.outcome(f"{i} {case}, {len(content)} bytes", str(path))
            if mark.exists():
                found = Outcome(found.case, "wrong", "code was executed")
                mark.unlink()
            elif valid and done.status:
                found = Outcome(found.case, "wrong", f"a valid file was refused: {done.stderr}")
            yield found
            shutil.rmtree(out, ignore_errors=True)
