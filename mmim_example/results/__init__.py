"""What trained models achieve: metrics with confidence intervals, paired comparisons, tables and figures.

Imports the model and :mod:`mmim_example.runs`, but neither the trainer nor the ablation.
"""
