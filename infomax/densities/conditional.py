"""Densities: q(y|x), which bounds fit by maximum likelihood, and q(y)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from infomax.critics.networks import MLP
from infomax.scores.precision import autocast_type, products, widened, without_autocast
from infomax.statistics.gaussian import fit_gaussian, ledoit_wolf

#: Log-variances are kept within ±this, so that a y that x determines has a finite density.
_LOG_VARIANCE_LIMIT = 14.0
#: Share of each variance that is added to it, so that collinear columns in any unit have a covariance with a factor.
_RELATIVE_FLOOR = 1e-12
#: Elements that :func:`log_prob_matrix` holds at a time when no gradient is needed.
_TILE_ELEMENTS = 1 << 22


def gaussian_log_prob(y: Tensor, mean: Tensor, log_variance: Tensor, regression: Tensor | None = None) -> Tensor:
    r"""Log-density of normal coordinates, ``(…)``, in nats, with its :math:`-\tfrac12 \log \sigma^2`.

    Args:
        y, mean, log_variance: ``(…, D)``, broadcast against each other, half precision in float32; log-variances are
            kept within ±14.
        regression: ``(D, D)``, used below its diagonal: what each standardised residual takes from those before it.

    >>> zeros = torch.zeros(3, 2)
    >>> [round(value, 3) for value in gaussian_log_prob(zeros, zeros, zeros).tolist()]  # -log(2 pi)
    [-1.838, -1.838, -1.838]
    """
    y, mean, log_variance = widened(y), widened(mean), widened(log_variance)
    log_variance = log_variance.clamp(-_LOG_VARIANCE_LIMIT, _LOG_VARIANCE_LIMIT)
    residual = (y - mean) * torch.exp(-0.5 * log_variance)
    if regression is not None:
        residual = residual + products(residual, regression.tril(-1))
    log_prob: Tensor = -0.5 * (residual.square() + log_variance + math.log(2 * math.pi)).sum(-1)
    return log_prob


def gaussian_mean_log_prob(y: Tensor, mean: Tensor, log_variance: Tensor, regression: Tensor | None = None) -> Tensor:
    r"""The mean over all ``y (M, D)`` of :func:`gaussian_log_prob` for each of N normals, ``(N,)``, in nats.

    In O(N D) from the mean and the variances of y, or in O(N D²) with a regression, from the covariance of y:
    :math:`E\|L(y - \mu)\|^2 = \|L(\bar y - \mu)\|^2 + \mathrm{tr}(L S L^\top)`.

    Args:
        y: ``(M, D)``. mean, log_variance: ``(N, D)``. regression: ``(D, D)``.
    """
    y, log_variance = widened(y), widened(log_variance).clamp(-_LOG_VARIANCE_LIMIT, _LOG_VARIANCE_LIMIT)
    center = y.mean(0)
    of_center = gaussian_log_prob(center, mean, log_variance, regression)
    centered = y - center
    if regression is None:
        return of_center - 0.5 * products(torch.exp(-log_variance), centered.square().mean(0)[None])[:, 0]
    lower = torch.eye(len(regression)).to(widened(regression)) + widened(regression).tril(-1)
    spread = products(lower.T, lower.T) * products(centered.T, centered.T) / len(y)
    deviations = torch.exp(-0.5 * log_variance)
    return of_center - 0.5 * (products(deviations, spread) * deviations).sum(1)


def residual_parameters(residual: Tensor) -> tuple[Tensor, Tensor]:
    """Log-variances ``(D,)`` and regression ``(D, D)`` of :func:`gaussian_log_prob`, from residuals ``(N, D)``."""
    smallest = math.exp(-_LOG_VARIANCE_LIMIT) + _RELATIVE_FLOOR * residual.var(0, correction=0)
    factor = torch.linalg.cholesky(ledoit_wolf(residual, floor=smallest))
    inverse = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)
    return 2 * factor.diagonal().log(), inverse * factor.diagonal()


def _rows_at_a_time(x: Tensor, y: Tensor) -> int:
    return max(1, len(x) if torch.is_grad_enabled() else _TILE_ELEMENTS // max(1, y.numel()))


def log_prob_matrix(density: nn.Module, y: Tensor, x: Tensor) -> Tensor:
    """Log-density of every ``y (M, Dy)`` given every ``x (N, Dx)``: ``(N, M)``, in nats; [i, j] is log q(y_j | x_i).

    From the density's own ``log_prob_matrix(y, x)`` if it has one, else from ``log_prob`` of repeated rows, in blocks
    where no gradient is needed.

    >>> import torch
    >>> density = ConditionalGaussian(2, 1)
    >>> log_prob_matrix(density, torch.zeros(6, 1), torch.zeros(4, 2)).shape
    torch.Size([4, 6])
    """
    own = getattr(density, "log_prob_matrix", None)
    if callable(own):
        matrix: Tensor = own(y, x)
        return matrix
    blocks = []
    for block in torch.split(x, _rows_at_a_time(x, y)):
        pairs = y.repeat(len(block), 1), block.repeat_interleave(len(y), 0)
        log_prob: Tensor = density.log_prob(*pairs)  # type: ignore[operator]
        if log_prob.shape != (len(block) * len(y),):
            raise ValueError(
                f"density.log_prob must return shape ({len(block) * len(y)},); got {tuple(log_prob.shape)}"
            )
        blocks.append(log_prob.view(len(block), len(y)))
    return torch.cat(blocks)


class ConditionalGaussian(nn.Module):
    r""":math:`q(y|x) = N(\mu(x), \mathrm{diag}\,\sigma^2(x))`, with its complete log-density.

    Mean and log-variance are each a linear layer plus a perceptron that starts near zero.

    Args:
        x_dim, y_dim: dimensions of x and y. hidden: widths of the two perceptrons' hidden layers.
        correlated: also learn how the coordinates of y correlate given x (the same for every x): each standardised
            residual is regressed on those before it.

    >>> density = ConditionalGaussian(3, 2)
    >>> density.log_prob(torch.zeros(5, 2), torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    def __init__(self, x_dim: int, y_dim: int, *, hidden: Sequence[int] = (64,), correlated: bool = False) -> None:
        super().__init__()
        self.linear_mean = nn.Linear(x_dim, y_dim)
        self.linear_log_variance = nn.Linear(x_dim, y_dim)
        self.mean = MLP(x_dim, hidden, y_dim, last_gain=0.01)
        self.log_variance = MLP(x_dim, hidden, y_dim, last_gain=0.01)
        self.regression = nn.Parameter(torch.zeros(y_dim, y_dim)) if correlated else None  # used below its diagonal
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from unit variances without correlation; the means' parameters are those of their own layers."""
        nn.init.zeros_(self.linear_log_variance.weight)
        nn.init.zeros_(self.linear_log_variance.bias)
        if self.regression is not None:
            nn.init.zeros_(self.regression)

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Set the linear part from samples, by the shrunk regression of :func:`infomax.statistics.fit_gaussian`."""
        x, y = x.double(), y.double()
        fit = fit_gaussian(x, y)
        # E[y|u] in the canonical directions u of x: y covaries with u as with v, times the correlation.
        u = (x - fit.mean_x) @ fit.directions_x
        loadings = ledoit_wolf(y) @ fit.directions_y * fit.correlations  # (Dy, K)
        weight = loadings @ fit.directions_x.T
        residual = y - fit.mean_y - u @ loadings.T
        self.linear_mean.weight.copy_(weight)
        self.linear_mean.bias.copy_(fit.mean_y - fit.mean_x @ weight.T)
        self.linear_log_variance.weight.zero_()
        if self.regression is None:
            smallest = math.exp(-_LOG_VARIANCE_LIMIT)
            self.linear_log_variance.bias.copy_(residual.square().mean(0).clamp_min(smallest).log())
        else:
            log_variance, regression = residual_parameters(residual)
            self.linear_log_variance.bias.copy_(log_variance)
            self.regression.copy_(regression)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of y given each ``x (N, Dx)``: ``(N, Dy)`` each."""
        return self.linear_mean(x) + self.mean(x), self.linear_log_variance(x) + self.log_variance(x)

    def log_prob(self, y: Tensor, x: Tensor) -> Tensor:
        """Log-density of each ``y (N, Dy)`` given its ``x (N, Dx)``: ``(N,)``, in nats."""
        return gaussian_log_prob(y, *self.moments(x), self.regression)

    def log_prob_and_mean(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`log_prob`, and for each x the mean of log q(y' | x) over all rows y', ``(N,)`` each: O(N)."""
        moments = self.moments(x)
        own = gaussian_log_prob(y, *moments, self.regression)
        return own, gaussian_mean_log_prob(y, *moments, self.regression)

    def log_prob_matrix(self, y: Tensor, x: Tensor) -> Tensor:
        """Log-density of every ``y (M, Dy)`` given every ``x (N, Dx)``: ``(N, M)``, in nats."""
        mean, log_variance = (moment[:, None] for moment in self.moments(x))
        rows = _rows_at_a_time(x, y)
        blocks = zip(torch.split(mean, rows), torch.split(log_variance, rows), strict=True)
        return torch.cat([gaussian_log_prob(y, *block, self.regression) for block in blocks])


class MarginalGaussian(nn.Module):
    r""":math:`q(y) = N(\mu, \Sigma)`, learned; the standard normal at first.

    Args:
        dim: dimension of y.

    >>> MarginalGaussian(2).log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dim))
        self.log_variance = nn.Parameter(torch.zeros(dim))
        self.regression = nn.Parameter(torch.zeros(dim, dim))  # used below its diagonal

    def reset_parameters(self) -> None:
        """Go back to the standard normal."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    @torch.no_grad()
    def warm_start(self, y: Tensor) -> None:
        """Set everything from samples ``y (N, D)``, with a shrunk covariance."""
        y = y.double()
        self.mean.copy_(y.mean(0))
        log_variance, regression = residual_parameters(y - y.mean(0))
        self.log_variance.copy_(log_variance)
        self.regression.copy_(regression)

    def log_prob(self, y: Tensor) -> Tensor:
        """Log-density of each ``y (N, D)``: ``(N,)``, in nats."""
        return gaussian_log_prob(y, self.mean, self.log_variance, self.regression)


class Flow(nn.Module):
    """A neural spline flow: q(y|x), or q(y), of any smooth shape. Needs ``infomax[flows]``.

    The splines act on [−5, 5]: y should be standardised, as :func:`infomax.estimate` does.

    Args:
        x_dim: dimension of x; 0 for a density of y alone.
        y_dim: dimension of y.
        transforms: number of autoregressive transforms. hidden: widths of each one's hidden layers.
        bins: of the splines.

    Raises:
        ImportError: if zuko is not installed.

    Source: Durkan et al., "Neural Spline Flows", 2019, arXiv 1906.04032.

    >>> import torch
    >>> density = Flow(2, 1)  # q(y|x)
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(64, 2, generator=generator), torch.randn(64, 1, generator=generator)
    >>> loss = -density.log_prob(y, x).mean()  # in nats; minimise it to fit the density
    >>> Flow(0, 1).log_prob(y).shape  # q(y)
    torch.Size([64])
    """

    def __init__(
        self, x_dim: int, y_dim: int, *, transforms: int = 2, hidden: Sequence[int] = (64, 64), bins: int = 8
    ) -> None:
        super().__init__()
        try:
            from zuko.flows import NSF  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ImportError("flows need zuko: pip install 'infomax[flows]'") from error
        self.flow = NSF(y_dim, x_dim, bins=bins, transforms=transforms, hidden_features=tuple(hidden))

    def log_prob(self, y: Tensor, x: Tensor | None = None) -> Tensor:
        """Log-density of each ``y (N, Dy)``, given its ``x (N, Dx)`` unless the flow has none: ``(N,)``, in nats."""
        if autocast_type(y) is not None:  # splines need more digits than half precision has
            y, x = widened(y), x if x is None else widened(x)
        with without_autocast(y):
            log_prob: Tensor = self.flow(x).log_prob(y)
        return log_prob
