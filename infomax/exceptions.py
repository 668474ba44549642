"""Warning categories of the library, all derived from :class:`InfomaxWarning`, and the warning of renamed things."""

import sys
import warnings


class InfomaxWarning(UserWarning):
    """Base class: something about the samples or the estimate that the user should know."""


class ConstantColumnWarning(InfomaxWarning):
    """A column has a single value and so carries no information; it was dropped."""


class IndexWarning(InfomaxWarning):
    """Data frames with different indexes were paired by position."""


class SaturationWarning(InfomaxWarning):
    """The estimate is too large for the number of rows, or close to the ceiling of its bound."""


class TrainingWarning(InfomaxWarning):
    """Training diverged, did not take place, or overfitted."""


class DependenceWarning(InfomaxWarning):
    """Rows depend on each other, or seem to: the estimate assumes that they do not."""


class SubsampleWarning(InfomaxWarning):
    """A random subset of the rows was used or measured."""


def warn_of_new_name(what: str, old: str, new: str) -> None:
    """Warn at the line of the user, which is the first one outside the library, that a name has changed."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(("infomax", "contextlib")):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"{what} {old!r} is now called {new!r}", DeprecationWarning, stacklevel=level)
