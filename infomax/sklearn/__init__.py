"""Feature selection by mutual information, for pipelines of scikit-learn (``pip install 'infomax[sklearn]'``).

It loads scikit-learn; ``import infomax`` does not.
"""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError("infomax.sklearn needs scikit-learn; pip install 'infomax[sklearn]'", name="sklearn")

from infomax.sklearn.score_function import mutual_info
from infomax.sklearn.selector import MutualInfoSelector

__all__ = ["MutualInfoSelector", "mutual_info"]
