"""``python -m benchmarks.peers``."""

from benchmarks.peers.runs import main
from infomax import interrupts

if __name__ == "__main__":
    interrupts.run(main)
