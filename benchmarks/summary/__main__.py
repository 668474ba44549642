"""``python -m benchmarks.summary``."""

from benchmarks.summary.page import main
from infomax import interrupts

if __name__ == "__main__":
    interrupts.run(main)
