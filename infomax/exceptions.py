"""Warning categories of the library; all derive from :class:`InfomaxWarning`."""


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


class SubsampleWarning(InfomaxWarning):
    """A random subset of the rows was used or measured."""
