"""Representations by the training losses of the library, evaluated by a linear probe.

May import the modules at the top of ``benchmarks``, and no other room.
Results are in ``representation/results``.
"""
