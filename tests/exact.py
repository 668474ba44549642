"""What a perfect bound would have learned of correlated normal pairs."""

import torch


class ExactLogRatio(torch.nn.Module):
    """log p(x, y) / p(x) p(y) of standard normal pairs whose first Dy coordinates correlate by rho."""

    def __init__(self, task):
        super().__init__()
        self.mi, self.dim = task.mi, task.y_dim
        self.rho = (1 - torch.exp(torch.tensor(-2 * task.mi / task.y_dim, dtype=torch.float64))) ** 0.5

    def forward(self, x, y):
        x = x[:, : self.dim]
        cross = self.rho * x @ y.T
        squares = 0.5 * self.rho**2 * (x.square().sum(1)[:, None] + y.square().sum(1)[None])
        return (cross - squares) / (1 - self.rho**2) + self.mi


class ExactConditional(torch.nn.Module):
    """log p(y|x) of the same pairs."""

    def __init__(self, task):
        super().__init__()
        self.dim = task.y_dim
        self.rho = ExactLogRatio(task).rho

    def log_prob(self, y, x):
        deviation = (1 - self.rho**2) ** 0.5
        return torch.distributions.Normal(self.rho * x[:, : self.dim], deviation).log_prob(y).sum(1)
