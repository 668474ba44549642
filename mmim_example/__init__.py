"""MMIM: a multimodal fusion model that maximises mutual information, composed of infomax's bounds.

Source: Han, Chen and Poria, "Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for
Multimodal Sentiment Analysis", EMNLP 2021, arXiv 2109.00412.
"""
