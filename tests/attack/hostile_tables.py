"""Hostile tables in text: ``make(rng, folder)`` gives the case, the path, and whether it must be refused."""

import numpy as np
from attack.valid_files import ROWS


def flipped(rng, content, low=0, high=None):
    """With one to four bytes changed, removed or added between two places."""
    changed = bytearray(content)
    high = len(content) if high is None else high
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(low, max(low + 1, min(high, len(changed)))))
        kind = rng.random()
        if kind < 0.7:
            changed[at : at + 1] = bytes([rng.integers(256)])
        elif kind < 0.85:
            del changed[at : at + int(rng.integers(1, 9))]
        else:
            changed[at:at] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(changed)


CELLS = (
    *(
        "1_000",
        "１２",
        "٣",
        "½",
        "²",
        "Ⅷ",
        "1e400",
        "-1e999999",
        "nan(123)",
        "NaN",
        "inf",
        "-Infinity",
        "0x10",
        "0b1",
        "1j",
        "+-1",
    ),
    *(
        "--1",
        "1e-400",
        "4e-330",
        "1e-99999999999999999999",
        "",
        " ",
        "NA",
        "null",
        "?",
        "True",
        "1 2",
        "1e",
        "e5",
        ".",
        "+",
        "−1",
    ),
    *(
        "1\x00",
        "\x001",
        "\x00",
        "1'000",
        "$5",
        "5%",
        "1d5",
        "1L",
        "1e5.5",
        "(1)",
        "1.2.3",
        "1,5",
        "\ufeff1",
        "1\u200b",
        "\u00ad1",
    ),
    *(
        '"1',
        '1"',
        "1/2",
        "#1",
        "=1",
        "1;2",
        "0.0.0",
        "1-",
        "1e+",
        "0" * 200_000 + "x",
        "9" * 400,
        "0." + "0" * 400 + "1",
        "\x1b[31m1",
    ),
    *(
        "12:30",
        "2020-01-01",
        "<1",
        "~1",
        "1…",
        "\u202e1",
        "1\ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    ),
)


def bad_cell(rng, folder):
    cell, row = str(rng.choice(np.array(CELLS, object))), int(rng.integers(ROWS))
    rows = [f"{i},{i * i % 13}" for i in range(ROWS)]
    rows[row] = f"{cell},{row}" if rng.random() < 0.5 else f"{row},{cell}"
    path = folder / "t.csv"
    path.write_text("a,b\n" + "\n".join(rows) + "\n", encoding="utf-8", newline="")
    return f"cell {cell[:20]!r}", path, True


NUMBERS = "\n".join(f"{i},{i * i % 13}" for i in range(ROWS))
TABLES = {
    "no header": NUMBERS,
    "header alone": "a,b\n",
    "line ends": "\n\n\r\n",
    "spaces": "   ",
    "repeated name": "a,b,a\n" + NUMBERS,
    "other names": "c,d\n" + NUMBERS,
    "semicolons": ("a,b\n" + NUMBERS).replace(",", ";"),
    "tabs": ("a,b\n" + NUMBERS).replace(",", "\t"),
    "short row": "a,b\n" + NUMBERS + "\n5",
    "long row": "a,b\n" + NUMBERS + "\n5,6,7",
    "open quote": 'a,b\n"' + NUMBERS,
    "open quote at the end": "a,b\n" + NUMBERS + '\n1,"2',
    "utf-16": ("a,b\n" + NUMBERS).encode("utf-16"),
    "utf-32": ("a,b\n" + NUMBERS).encode("utf-32"),
    "latin-1": "a,b,ü\n1,2,é\n".encode("latin-1"),
    "bytes": bytes(range(256)) * 50,
    "zeros": bytes(10_000),
    "many zeros": bytes(9_000_000),
    "300,000 columns": "," * 300_000 + "\n" + NUMBERS,
    "9 MB of commas": "," * 9_000_000,
    "9 MB of names": ",".join(f"{i:x}" for i in range(1_300_000)) + "\n1",
    "9 MB in a field": "a,b\n1," + "2" * 9_000_000,
    "9 MB in quotes": 'a,b\n1,"' + "2\n" * 4_500_000,
    "9 MB of line ends": "a,b\n" + "\n" * 9_000_000,
    "9 MB of short rows": "a,b\n" + "1\n" * 4_500_000,
    "html": "<!DOCTYPE html><html>" + "<p>,</p>" * 100,
    "json": '{"a": [1, 2], "b": [3, 4]}',
    "gzip": b"\x1f\x8b\x08\x00" + bytes(100),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    "nothing": "",
    "lone surrogate": b"a,b\n\xed\xa0\x80,1\n",
    "overlong": b"a,b\n\xc0\xb1,1\n",
}


def bad_table(rng, folder):
    name = str(rng.choice(list(TABLES)))
    content = TABLES[name]
    path = folder / str(rng.choice(["t.csv", "t.CSV", "new\nline.csv", "déjà vu.csv"]))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"table with {name}", path, True


def damaged_text(rng, folder):
    path = folder / "t.csv"
    path.write_bytes(flipped(rng, ("a,b\n" + NUMBERS).encode()))
    return "damaged text", path, False
