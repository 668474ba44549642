"""The ``infomax`` command: what it reads, computes and prints.

Imports all other rooms, on first use.
"""
