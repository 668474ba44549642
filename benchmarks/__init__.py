"""Scripts that compare estimates with known truths, and speed with other packages: ``python -m benchmarks.ROOM.NAME``.

Rooms: ``accuracy``, ``peers``, ``speed`` and ``mmim``. The modules at the top serve all of them and import none.
Only public names of ``infomax`` are imported.
"""
