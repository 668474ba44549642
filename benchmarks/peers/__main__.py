"""``python -m benchmarks.peers``."""

from benchmarks.peers.runs import main

if __name__ == "__main__":
    main()
