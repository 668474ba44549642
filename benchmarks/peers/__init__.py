"""Other packages on the same samples, each in its own environment (``requirements`` lists its pinned packages).

May import the modules at the top of ``benchmarks``, and no other room.
Results are in ``peers/results``.
"""
