"""MMIM: a multimodal fusion model that maximises mutual information, composed of infomax's bounds.

Source: Han, Chen and Poria, "Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for
Multimodal Sentiment Analysis", EMNLP 2021, arXiv 2109.00412.
"""

import sys

from infomax import interrupts

if sys.argv[0] == "-m":  # Python is looking for __main__: it has not imported torch yet
    interrupts.arm("mmim_example: interrupted; for training, --resume continues after the last finished epoch")
