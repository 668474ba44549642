"""Scripts that compare estimates with known truths, and speed with other packages: ``python -m benchmarks.ROOM.NAME``.

Rooms: ``accuracy``, ``peers``, ``speed``, ``representation`` and ``mmim``; ``summary`` writes the page of results. The
modules at the top serve all of them and import none.
Only public names of ``infomax`` are imported.

A script ends with ``interrupts.run(main)``.
"""

import sys

from infomax import interrupts

if sys.argv[0] == "-m":  # Python is looking for the script: it has not imported torch yet
    interrupts.arm("benchmarks: interrupted; run the same command again to continue")
