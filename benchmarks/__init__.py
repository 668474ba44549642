"""Scripts that hold the library against known truths; ``python -m benchmarks.NAME --help``."""
