"""Conditional densities q(y|x)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from infomax.critics import MLP
from infomax.gaussian import fit_gaussian, ledoit_wolf

#: Log-variances are kept within ±this, so that a y that x determines has a finite density.
_LOG_VARIANCE_LIMIT = 14.0


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
        """Set the linear part from samples, by the shrunk regression of :func:`infomax.gaussian.fit_gaussian`."""
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
        smallest = math.exp(-_LOG_VARIANCE_LIMIT)
        if self.regression is None:
            variance = residual.square().mean(0)
        else:
            factor = torch.linalg.cholesky(ledoit_wolf(residual, floor=smallest))
            variance = factor.diagonal().square()
            inverse = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)
            self.regression.copy_(inverse * factor.diagonal())
        self.linear_log_variance.bias.copy_(variance.clamp_min(smallest).log())

    def log_prob(self, y: Tensor, x: Tensor) -> Tensor:
        """Log-density of each ``y (N, Dy)`` given its ``x (N, Dx)``: ``(N,)``, in nats."""
        mean = self.linear_mean(x) + self.mean(x)
        log_variance = self.linear_log_variance(x) + self.log_variance(x)
        log_variance = log_variance.clamp(-_LOG_VARIANCE_LIMIT, _LOG_VARIANCE_LIMIT)
        residual = (y - mean) * torch.exp(-0.5 * log_variance)
        if self.regression is not None:
            residual = residual + residual @ self.regression.tril(-1).T
        log_prob: Tensor = -0.5 * (residual.square() + log_variance + math.log(2 * math.pi)).sum(1)
        return log_prob
