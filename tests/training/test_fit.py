"""One fit: schedules, the state that is kept, and when training stops."""

import pytest
import torch

from infomax import (
    NWJ,
    InfoNCE,
    tasks,
)
from infomax.training.fit import Schedule, fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps must be at least 0; got -1"),
        ({"batch_size": 1}, "batch_size must be at least 2; got 1"),
        ({"check_every": 0}, "check_every must be at least 1; got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive; got 0.0"),
    ],
)
def test_a_schedule_is_held_to_its_rules(options, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**options)


class TestFit:
    def pairs(self, n=400):
        x, y = (torch.from_numpy(side).float() for side in tasks.get("normal-1d-1").sample(n, 0))
        return (x[: n // 2], y[: n // 2]), (x[n // 2 :], y[n // 2 :])

    def test_keeps_the_best_state_and_stops(self):
        torch.manual_seed(0)
        bound = InfoNCE(1, 1)
        schedule = Schedule(steps=400, check_every=10, patience=3)
        history = fit(bound, *self.pairs(), schedule=schedule, generator=torch.Generator().manual_seed(0))
        assert not bound.training
        best = history.validation[history.steps.index(history.best_step)]
        assert best == pytest.approx(max(history.validation))
        assert bound(*self.pairs()[1]).item() == pytest.approx(best, abs=1e-6)
        assert history.steps[-1] == 400 or history.steps[-1] - history.best_step == 30

    def test_divergence_is_survived_and_said(self):
        class Diverging(NWJ):
            def loss(self, x, y):
                return super().loss(x, y) * (1.0 if self.calls() < 3 else torch.nan)

            def calls(self):
                self.count = getattr(self, "count", 0) + (not self.training)
                return self.count

        bound = Diverging(1, 1)
        schedule = Schedule(steps=100, check_every=10)
        history = fit(bound, *self.pairs(), schedule=schedule, generator=torch.Generator())
        assert history.diverged
        assert all(p.isfinite().all() for p in bound.parameters())

    def test_every_row_is_drawn_once_a_pass(self):
        seen = []

        class Spy(InfoNCE):
            def loss(self, x, y):
                if self.training:
                    seen.append(x[:, 0])
                return super().loss(x, y)

        train, validation = self.pairs(120)
        schedule = Schedule(steps=5, batch_size=24, check_every=5)
        fit(Spy(1, 1), train, validation, schedule=schedule, generator=torch.Generator().manual_seed(0))
        drawn = torch.cat(seen[: 60 // 24])
        assert len(drawn.unique()) == 48
        assert len(torch.cat(seen).unique()) == 60
