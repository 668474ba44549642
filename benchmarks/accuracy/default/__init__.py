"""The default estimator: runs on every task, tests of independence, and the report with its figures.

May import ``benchmarks.accuracy.known_mi`` and the modules at the top of ``benchmarks``.
The order within: ``rows``, ``errors`` and ``figures``, ``report``, ``runs``.
"""
