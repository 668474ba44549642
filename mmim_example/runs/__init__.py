"""What a run needs beside the model: its device and seeds, its checkpoints, its log.

May import: ``config`` and ``reading``.
"""
