"""Tables and figures of :mod:`benchmarks.default`."""

from __future__ import annotations

from pathlib import Path


def write_report(path: Path, path_of_tests: Path) -> Path:
    """Write ``default.md`` and figures beside the CSVs; returns the path of the former."""
    return path.with_suffix(".md") if path_of_tests else path
