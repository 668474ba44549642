"""``mmim_example``: the study of its terms, its readings against known truths, its speed and memory.

May import ``mmim_example`` and the modules at the top of ``benchmarks``, and no other room.
Results are in ``mmim/results``.
"""
