"""Accuracy: errors of estimates, coverage of intervals and tests of independence, against known truths.

May import the modules at the top of ``benchmarks``, and no other room.
Results are in ``accuracy/results``.
"""
