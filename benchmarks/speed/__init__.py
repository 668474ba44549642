"""Speed and memory: ratios to plain PyTorch, to other packages and to the limit of the machine.

May import the modules at the top of ``benchmarks``, and ``benchmarks.peers.environments`` to run other packages.
Results are in ``speed/results``. This file imports nothing: it is also loaded in the environments of other packages.
"""
