"""``python -m benchmarks.accuracy.default``."""

from benchmarks.accuracy.default.runs import main

if __name__ == "__main__":
    main()
