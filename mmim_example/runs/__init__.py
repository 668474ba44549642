"""What a training run needs besides the model: device and random state, checkpoints, a log, a progress bar.

Imports the configuration, the encoders and :mod:`mmim_example.reading`.
"""
