"""Results as tables: HTML for notebooks, and data frames of pandas, which is loaded on first use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


def data_frame(rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """A row of the frame for each row.

    Raises:
        ImportError: without pandas.
    """
    try:
        from pandas import DataFrame  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError("data frames need pandas; pip install pandas") from error
    return DataFrame(rows)


def html_table(
    caption: str, header: Sequence[str] | None, rows: Iterable[Sequence[str]], notes: Iterable[str] = ()
) -> str:
    """A table with a caption, headings of rows in the first column, and notes below; all text is escaped.

    >>> html_table("a < b", None, [["value", "1"]])
    '<table><caption>a &lt; b</caption><tbody><tr><th scope="row">value</th><td>1</td></tr></tbody></table>'
    """
    parts = [f"<table><caption>{escape(caption)}</caption>"]
    if header is not None:
        names = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
        parts.append(f"<thead><tr>{names}</tr></thead>")
    parts.append("<tbody>")
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        parts.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    parts.append("</tbody></table>")
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return "".join(parts) + (f"<p>Warnings:</p><ul>{listed}</ul>" if listed else "")


def pvalue_text(pvalue: float, least: float) -> str:
    """The p-value with its relation: "=", or "≤" where it is the smallest possible.

    >>> pvalue_text(0.04, least=0.005), pvalue_text(0.005, least=0.005)
    ('= 0.04', '≤ 0.005')
    """
    return f"{'≤' if pvalue <= least * (1 + 1e-9) else '='} {pvalue:.3g}"
