"""``python -m benchmarks.accuracy.default``."""

from benchmarks.accuracy.default.runs import main
from infomax import interrupts

if __name__ == "__main__":
    interrupts.run(main)
