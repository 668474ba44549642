"""What comes of runs: metrics with intervals, paired comparisons, figures.

May import: everything that trains a model, but not ``ablation``.
"""
