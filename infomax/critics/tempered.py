"""Any critic with a temperature."""

from __future__ import annotations

from torch import Tensor, nn

from infomax.critics.choice import make
from infomax.critics.networks import ScaledInnerProduct, embedding, largest_score
from infomax.critics.temperature import TEMPERATURES, Temperature, make_temperature


class Tempered(nn.Module):
    """The scores of another critic, divided by a temperature.

    Args:
        critic: the other critic. temperature, learn, limits: see :class:`Temperature`.

    >>> import torch
    >>> from infomax.critics import Bilinear, Temperature
    >>> critic, x, y = Bilinear(2, 3), torch.ones(4, 2), torch.ones(6, 3)
    >>> scores = Tempered(critic, Temperature(0.5))(x, y)
    >>> bool(torch.allclose(scores, 2 * critic(x, y)))
    True
    """

    def __init__(self, critic: nn.Module, temperature: Temperature) -> None:
        super().__init__()
        self.critic, self.temperature = critic, temperature

    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Call ``warm_start(x, y)`` of the critic, if it has that method."""
        warm_start = getattr(self.critic, "warm_start", None)
        if callable(warm_start):
            warm_start(x, y)

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """The embeddings of the critic, that of x divided by the temperature; ``None`` if it has none."""
        sides = embedding(self.critic, x, y)
        return None if sides is None else (self.temperature(sides[0]), sides[1])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        scores: Tensor = self.temperature(self.critic(x, y))
        return scores

    def largest_score(self) -> Tensor | None:
        """The largest absolute score, 0-d, or ``None`` if there is no limit."""
        largest = largest_score(self.critic)
        return None if largest is None else self.temperature(largest)


def with_temperature(
    critic: str | nn.Module,
    x_dim: int,
    y_dim: int,
    temperature: float | str | None,
    limits: tuple[float, float] = TEMPERATURES,
) -> nn.Module:
    """The critic of that name, or a module, with scores divided by a temperature; unchanged for ``None``.

    Raises:
        ValueError: if a module has a temperature of its own, and as :func:`make` and :func:`make_temperature`.

    >>> type(with_temperature("bilinear", 2, 3, 0.1)).__name__, type(with_temperature("bilinear", 2, 3, None)).__name__
    ('Tempered', 'Bilinear')
    """
    found = make(critic, x_dim, y_dim)
    if temperature is None:
        return found
    own = isinstance(found, ScaledInnerProduct)
    if own and isinstance(critic, nn.Module):
        raise ValueError(f"temperature must be set on the critic itself, {type(critic).__name__}, which has one")
    if own:
        found.temperature = make_temperature(temperature, limits)
        return found
    return Tempered(found, make_temperature(temperature, limits))
