"""Feature selection by mutual information, for pipelines of scikit-learn (``pip install 'infomax[sklearn]'``).

It loads scikit-learn; ``import infomax`` does not.
"""

from infomax.sklearn.score_function import mutual_info
from infomax.sklearn.selector import MutualInfoSelector

__all__ = ["MutualInfoSelector", "mutual_info"]
