import copy
import math

import pytest
import torch
from torch import nn

from infomax import bounds, estimate, tasks
from infomax.critics.networks import Cosine, Separable
from infomax.densities.conditional import Flow
from infomax.io.batches import draws
from infomax.training import replicas
from infomax.training.cross_fitting import cross_fit
from infomax.training.fit import Schedule, fit
from infomax.training.replicas import fit_replicas

SCHEDULE = Schedule(steps=40, batch_size=32, learning_rate=1e-2, check_every=5, patience=3)


def generators(count):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def seeded(seed, build, *arguments, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(*arguments, **options)


class Problem:
    """Rows of their own for each replica, in float64: what differs by more than rounding differs."""

    def __init__(self, count=3, dims=(3, 3), dtype=torch.float64):
        name = "multinormal-dense-3-3-0.5"
        x, y = (torch.from_numpy(side).to(dtype) for side in tasks.get(name).sample(250 * count, 0))
        x, y = x[:, : dims[0]], y[:, : dims[1]]
        # Rows of three lengths: a fold has one row more than another.
        starts = [250 * i for i in range(count)]
        self.trains = [(x[a : a + 150 + a // 250], y[a : a + 150 + a // 250]) for a in starts]
        self.validations = [(x[a + 180 : a + 250], y[a + 180 : a + 250]) for a in starts]

    def compare(self, each, schedule=SCHEDULE, tolerance=1e-9):
        """Fit copies in turn and together; what each way made."""
        alone = copy.deepcopy(each)
        histories = [
            fit(bound, *pairs, schedule=schedule, generator=generator)
            for bound, *pairs, generator in zip(
                alone, self.trains, self.validations, generators(len(each)), strict=True
            )
        ]
        together = fit_replicas(
            each, self.trains, self.validations, schedule=schedule, generators=generators(len(each))
        )
        assert together is not None
        for (bound, history), other, expected in zip(together, alone, histories, strict=True):
            assert (history.steps, history.best_step) == (expected.steps, expected.best_step)
            assert history.validation == pytest.approx(expected.validation, abs=tolerance, nan_ok=True)
            assert history.diverged == expected.diverged
            assert not bound.training
            if tolerance < 1e-6:
                state, wanted = bound.state_dict(), other.state_dict()
                for key in wanted:
                    torch.testing.assert_close(state[key], wanted[key], rtol=0, atol=1e-7, equal_nan=True, msg=key)
        return together, alone


def made_for_estimation(name, dtype=torch.float64, count=3, dims=(3, 3)):
    return [seeded(i, bounds.get(name).for_estimation, *dims, 150 + i).to(dtype) for i in range(count)]


@pytest.fixture
def ways(monkeypatch):
    """How bounds were trained together."""
    used = []
    train = replicas._train

    def spy(*arguments):
        used.append(len(arguments[0]))
        train(*arguments)

    monkeypatch.setattr(replicas, "_train", spy)
    return used


class TestEqualToSeparateFits:
    @pytest.mark.parametrize("name", bounds.names())
    def test_every_registered_bound(self, name, ways):
        Problem().compare(made_for_estimation(name))
        assert ways == [3]

    @pytest.mark.parametrize("name", ["infonce", "nwj", "flo", "ba"])
    def test_in_float32(self, name):
        schedule = Schedule(steps=40, batch_size=32, learning_rate=2e-3, check_every=5)
        Problem(dtype=torch.float32).compare(made_for_estimation(name, torch.float32), schedule, tolerance=1e-5)

    @pytest.mark.parametrize(("dims", "batch"), [((1, 1), 29), ((1, 2), 31), ((3, 1), 30)])
    def test_sides_of_one_column_in_float32(self, dims, batch, ways):
        schedule = Schedule(steps=20, batch_size=batch, learning_rate=2e-3, check_every=5)
        each = made_for_estimation("infonce", torch.float32, dims=dims)
        Problem(dims=dims, dtype=torch.float32).compare(each, schedule, tolerance=1e-5)
        assert ways == [3]

    @pytest.mark.parametrize("name", ["infonce", "js", "tuba", "flo", "doe"])
    def test_sides_of_unequal_dimensions(self, name):
        Problem(dims=(3, 1)).compare(made_for_estimation(name, dims=(3, 1)))

    @pytest.mark.parametrize("batch", [7, 150])
    @pytest.mark.parametrize("name", ["infonce", "mine", "smile"])
    def test_batches_of_any_size(self, name, batch):
        """The remainder of a pass begins the next; of large batches the objectives are taken in turn."""
        Problem().compare(made_for_estimation(name), Schedule(steps=25, batch_size=batch, check_every=10))

    @pytest.mark.parametrize(
        "critic",
        [
            lambda: Separable(3, 3, hidden=(8, 8, 8), embed_dim=4),
            lambda: Separable(3, 3, hidden=()),
            lambda: Cosine(3, 3),
            lambda: "bilinear",
            lambda: "predictor",
        ],
    )
    @pytest.mark.parametrize("name", ["infonce", "nwj"])
    def test_other_critics(self, name, critic, ways):
        each = [seeded(i, lambda: bounds.get(name)(3, 3, critic=critic()).double()) for i in range(3)]
        Problem().compare(each)
        assert ways == [3]

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("infonce", {"symmetric": True}),
            ("cpc", {"hidden": (8,), "normalize": True, "temperature": "learned"}),
            ("cpc", {"critic": "separable"}),
            ("fdime", {"divergence": "hellinger"}),
            ("tuba", {"baseline": "constant"}),
        ],
    )
    def test_options(self, name, options):
        Problem().compare([seeded(i, bounds.get(name), 3, 3, **options).double() for i in range(3)])

    def test_frozen_parts_stay_as_they_are(self):
        each = [seeded(i, bounds.get("infonce"), 3, 3).double() for i in range(3)]
        for bound in each:
            bound.critic.g.requires_grad_(False)
        together, _ = Problem().compare(each)
        for (bound, _), before in zip(together, each, strict=True):
            assert torch.equal(bound.critic.g[0].weight, before.critic.g[0].weight)

    def test_many_are_trained_in_parts(self, monkeypatch, ways):
        monkeypatch.setattr("infomax.training.replicas.MOST", 2)
        Problem(5).compare(made_for_estimation("nwj", count=5))
        assert len(ways) == 3

    def test_one_alone(self):
        Problem(1).compare(made_for_estimation("infonce", count=1))


class TestEachStopsByItself:
    def test_when_nothing_more_is_gained(self):
        """Large rates overfit each set of rows at another time."""
        together, _ = Problem(5).compare(
            made_for_estimation("infonce", count=5), Schedule(steps=200, batch_size=64, check_every=2, patience=4)
        )
        last = [history.steps[-1] for _, history in together]
        assert len(set(last)) > 2
        assert max(last) < 200

    @pytest.mark.parametrize("name", ["infonce", "mine", "ba"])
    def test_when_its_loss_is_no_number(self, name):
        """Not-a-number among its rows, and the others learn what they learn without it."""
        problem, each = Problem(), made_for_estimation(name)
        schedule = Schedule(steps=30, batch_size=32, check_every=5)
        assert all(bound.warm_start(*pairs) is None for bound, pairs in zip(each, problem.trains, strict=True))
        for bound in each:
            bound.warm_start = lambda x, y: None
        problem.trains[1][0][100:] = math.nan
        together, _ = problem.compare(each, schedule)
        assert [history.diverged for _, history in together] == [False, True, False]
        assert [history.steps[-1] for _, history in together] == [30, 5, 30]
        for bound, _ in together:
            assert all(parameter.isfinite().all() for parameter in bound.parameters())

    def test_ticks_count_the_steps_of_all(self):
        problem, ticks = Problem(), []
        together = fit_replicas(
            made_for_estimation("infonce"),
            problem.trains,
            problem.validations,
            schedule=Schedule(steps=33, batch_size=32, check_every=10),
            generators=generators(3),
            tick=ticks.append,
        )
        assert sum(ticks) == sum(history.steps[-1] for _, history in together)


def test_what_is_returned_shares_nothing():
    problem, each = Problem(), made_for_estimation("infonce")
    before = copy.deepcopy([bound.state_dict() for bound in each])
    together, _ = problem.compare(each)
    for bound, state in zip(each, before, strict=True):
        assert all(torch.equal(bound.state_dict()[key], state[key]) for key in state)
    for bound, _ in together:
        for parameter in bound.parameters():
            assert parameter.untyped_storage().nbytes() == parameter.numel() * parameter.element_size()


class Picky(bounds.get("infonce")):
    """Control flow that depends on data, which cannot be mapped."""

    def loss(self, x, y):
        loss = super().loss(x, y)
        return loss if loss > -100 else 2 * loss


class Noisy(bounds.get("ba")):
    def loss(self, x, y):
        return super().loss(x + 0.1 * torch.randn_like(x), y)


class Remembering(bounds.get("nwj")):
    """A tensor that is no buffer."""

    last = None

    def loss(self, x, y):
        loss = super().loss(x, y)
        scaled = loss if self.last is None else loss * (1 + self.last)
        self.last = loss.detach()
        return scaled


class Counting(bounds.get("nwj")):
    """Its state is a plain attribute, which a mapped copy does not have."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.scale = self.critic.g[0].weight[0, 0].item()

    def loss(self, x, y):
        return self.scale * super().loss(x, y)


class TestInTurn:
    """What cannot be trained together is left as it was."""

    def refused(self, each, **options):
        problem = Problem(len(each), **options)
        before, state = copy.deepcopy(each), torch.get_rng_state()
        assert (
            fit_replicas(each, problem.trains, problem.validations, schedule=SCHEDULE, generators=generators(len(each)))
            is None
        )
        assert torch.equal(torch.get_rng_state(), state)
        for bound, other in zip(each, before, strict=True):
            for key, value in bound.state_dict().items():
                assert torch.equal(value, other.state_dict()[key]) or value.isnan().all()

    def test_control_flow(self):
        self.refused([seeded(i, Picky, 3, 3).double() for i in range(3)])
        self.refused([seeded(i, Picky, 3, 3, critic="cosine").double() for i in range(3)])

    def test_networks_of_every_pair(self):
        self.refused([seeded(i, bounds.get("nwj"), 3, 3, critic="concat").double() for i in range(3)])

    def test_what_is_left_behind_outside_of_the_state(self):
        self.refused([seeded(i, Remembering, 3, 3, critic="cosine").double() for i in range(3)])

    def test_random_numbers(self):
        self.refused([seeded(i, Noisy, 3, 3).double() for i in range(3)])
        dropout = [nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 1), nn.Flatten(0)) for _ in range(3)]
        self.refused([bounds.get("tuba")(3, 3, baseline=baseline).double() for baseline in dropout])

    def test_what_a_copy_does_not_know(self):
        self.refused([seeded(i, Counting, 3, 3).double() for i in range(3)])

    def test_structures_that_differ(self):
        infonce = bounds.get("infonce")
        self.refused([infonce(3, 3, critic=Separable(3, 3, hidden=(width,))).double() for width in (8, 9)])
        self.refused([infonce(3, 3, critic=critic).double() for critic in ("separable", "bilinear")])
        self.refused([infonce(3, 3).double(), bounds.get("ba")(3, 3).double()])
        self.refused([infonce(3, 3).double(), bounds.get("nwj")(3, 3).double()])
        self.refused([bounds.get("fdime")(3, 3, divergence=name).double() for name in ("gan", "kl")])

    def test_batches_that_differ(self):
        problem = Problem()
        schedule = Schedule(steps=10, batch_size=1000)
        options = {"schedule": schedule, "generators": generators(3)}
        assert fit_replicas(made_for_estimation("infonce"), problem.trains, problem.validations, **options) is None

    def test_flows_are_fitted_either_way(self):
        x, y = tasks.get("normal-1d-1").sample(160, 0)
        flow = bounds.get("ba")(1, 1, density=Flow(1, 1, hidden=(8,)))
        result = estimate(x, y, bound=flow, quick=True, progress=False, schedule=Schedule(steps=5, check_every=5))
        assert [history.steps for history in result.history] == [[0, 5], [0, 5]]


class TestCrossFit:
    """Folds together, as :func:`infomax.estimate` fits them, against folds in turn."""

    def folds(self, name, n=333, folds=3, **options):
        x, y = (torch.from_numpy(side) for side in tasks.get("multinormal-dense-3-3-0.5").sample(n, 0))
        parts = {
            "seed": 0,
            "folds": folds,
            "schedule": Schedule(steps=40, batch_size=64, check_every=10, patience=2),
            "device": torch.device("cpu"),
        }
        return cross_fit(
            n,
            lambda parts: [(x[rows], y[rows]) for rows in map(torch.from_numpy, parts)],
            lambda rows: bounds.get(name).for_estimation(3, 3, rows).double(),
            **{**parts, **options},
        )

    @pytest.mark.parametrize("name", ["infonce", "mine", "ba", "l1out"])
    def test_equal(self, name, monkeypatch, ways):
        ticks = []
        together = self.folds(name, tick=ticks.append)
        assert sum(ticks) == 3 * 40
        assert len(ways) == 1
        monkeypatch.setattr("infomax.training.cross_fitting.fit_replicas", lambda *arguments, **options: None)
        for fold, other in zip(together, self.folds(name), strict=True):
            for field in ("value", "variance", "in_sample"):
                assert getattr(fold, field) == pytest.approx(getattr(other, field), abs=1e-9), field
            assert fold.history.validation == pytest.approx(other.history.validation, abs=1e-9)
            assert fold.history.steps == other.history.steps

    def test_rows_that_are_too_many_are_fitted_in_parts(self, monkeypatch, ways):
        together = self.folds("infonce", folds=5)
        monkeypatch.setattr("infomax.training.cross_fitting._MOST_ROWS", 600)  # 266 each
        parts = self.folds("infonce", folds=5)
        assert len(ways) == 1 + 2  # 2, 2, and one alone
        assert [fold.value for fold in parts] == pytest.approx([fold.value for fold in together], abs=1e-9)

    def test_small_folds_whose_batches_differ_are_fitted_in_parts(self, ways):
        schedule = Schedule(steps=10, batch_size=1000, check_every=5)
        found = self.folds("infonce", n=334, schedule=schedule)
        assert [fold.rows for fold in found] == [112, 111, 111]
        assert len(ways) == 1

    def test_the_seed_decides(self):
        x, y = tasks.get("multinormal-dense-3-3-0.5").sample(300, 0)
        options = {"bound": "infonce", "schedule": Schedule(steps=20), "progress": False}
        one, same, other = (estimate(x, y, seed=seed, **options) for seed in (0, 0, 1))
        assert (one.mi, one.stderr, one.history) == (same.mi, same.stderr, same.history)
        assert one.mi != other.mi


def test_draws_pass_over_all_rows_and_lose_none():
    batches = draws(10, 4, torch.Generator().manual_seed(0))
    drawn = torch.cat([next(batches) for _ in range(10)])
    for start in range(0, 40, 10):
        assert drawn[start : start + 10].sort().values.tolist() == list(range(10))


def test_the_rate_falls_by_half_a_cosine():
    schedule = Schedule(steps=4, learning_rate=2.0)
    rates = [schedule.rate(step) for step in range(5)]
    assert rates == pytest.approx([2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5), 0], abs=1e-12)
