"""Warning categories of the library, all derived from :class:`InfomaxWarning`, and the warning of renamed things."""

import sys
import warnings


class InfomaxWarning(UserWarning):
    """Base class: something about the samples or the estimate that the user should know.

    >>> import warnings
    >>> with warnings.catch_warnings():  # a script that stops at the first doubt
    ...     warnings.simplefilter("error", InfomaxWarning)
    ...     warnings.warn("most rows are copies", DependenceWarning)
    Traceback (most recent call last):
    infomax.exceptions.DependenceWarning: most rows are copies
    """


class ColumnWarning(InfomaxWarning):
    """Columns of the samples, before anything is estimated: text that looks like numbers, very many rare categories.

    >>> import warnings, numpy as np
    >>> from infomax import estimate
    >>> text = np.random.default_rng(0).normal(size=500).round(2).astype(str)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     result = estimate(text, text, bound="plugin")
    >>> {warning.category.__name__ for warning in caught} >= {"ColumnWarning"}
    True
    """


class ConstantColumnWarning(ColumnWarning):
    """A column has a single value and so carries no information; it was dropped.

    >>> import warnings, numpy as np
    >>> from infomax import estimate
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> x[:, 1] = 7
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     result = estimate(x, x[:, 0] > 0, bound="ksg")
    >>> [warning.category.__name__ for warning in caught]
    ['ConstantColumnWarning']
    """


class IndexWarning(InfomaxWarning):
    """Data frames with different indexes were paired by position.

    >>> import warnings, numpy as np, pandas as pd
    >>> from infomax import estimate
    >>> x = pd.Series(np.random.default_rng(0).normal(size=500))
    >>> y = x.set_axis(range(1, 501))  # other labels; rows are paired by position
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     result = estimate(x, y > 0, bound="ksg")
    >>> caught[0].category.__name__
    'IndexWarning'
    """


class SaturationWarning(InfomaxWarning):
    """The estimate is too large for the number of rows, or close to the ceiling of its bound.

    >>> import warnings, numpy as np
    >>> from infomax import estimate
    >>> x = np.random.default_rng(0).normal(size=200)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     result = estimate(x, x, bound="ksg")  # infinite
    >>> SaturationWarning in {warning.category for warning in caught}, len(result.warnings) == len(caught)
    (True, True)
    """


class TrainingWarning(InfomaxWarning):
    """Training diverged, did not take place, or overfitted.

    >>> import warnings, numpy as np
    >>> from infomax import estimate
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 100))  # too few rows to validate a network
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     result = estimate(x, x + noise, bound="nwj", folds=2, progress=False)
    >>> TrainingWarning in {warning.category for warning in caught}
    True
    """


class DependenceWarning(InfomaxWarning):
    """Rows depend on each other, or seem to: the estimate assumes that they do not.

    >>> import warnings, numpy as np
    >>> from infomax import estimate
    >>> walks = np.random.default_rng(0).normal(size=(2, 500)).cumsum(1)  # independent of each other
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     result = estimate(*walks, bound="ksg")
    >>> DependenceWarning in {warning.category for warning in caught}
    True
    """


class SubsampleWarning(InfomaxWarning):
    """A random subset of the rows was used or measured.

    >>> import warnings, numpy as np
    >>> from infomax import estimate
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", SubsampleWarning)  # of files with millions of rows, a sample will do
    ...     result = estimate(x, x + noise, bound="ksg")
    >>> result.n
    500
    """


def warn_of_new_name(what: str, old: str, new: str) -> None:
    """Warn at the line of the user, which is the first one outside the library, that a name has changed.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_new_name("critic", "anchored", "gaussian_residual")
    >>> str(caught[0].message)
    "critic 'anchored' is now called 'gaussian_residual'"
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(("infomax", "contextlib")):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"{what} {old!r} is now called {new!r}", DeprecationWarning, stacklevel=level)
