"""Several processes with parts of a batch are one process with the whole."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import ranks
import torch

import infomax
import infomax.command_line.main
from infomax import GlobalBatch, distributed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=[pytest.param(2, marks=pytest.mark.slow), 3])
def found(request, tmp_path_factory):
    """By rank, what each case gave."""
    world, folder = request.param, tmp_path_factory.mktemp("ranks")
    assert ranks.start(ranks.run, world, folder / "store", folder / "found") == [0] * world
    return [torch.load(f"{folder / 'found'}-{rank}", weights_only=False) for rank in range(world)]


def assert_is_one_process(found, name, alone, sizes, **tolerances):
    """Values and averaged gradients on every rank; of its own rows, as many times as there are ranks."""
    for of_rank, part in zip(found, ranks.slices(sizes), strict=True):
        assert isinstance(of_rank[name], dict), of_rank[name]
        assert of_rank[name].keys() == alone.keys()
        for key, value in alone.items():
            expected = len(found) * value[part] if key in ("x", "y") else value
            torch.testing.assert_close(
                of_rank[name][key], expected, msg=lambda m, key=key: f"{name}: {key}: {m}", **tolerances
            )


@pytest.mark.parametrize("case", ranks.ALL)
def test_value_and_gradients_are_those_of_one_process(found, case):
    alone = ranks.step(case)
    for how, sizes in ranks.PARTS[len(found)].items():
        for exchange in ("gather", "ring") if case in ranks.EXCHANGED else ("gather",):
            assert_is_one_process(found, f"{case}, {how}, {exchange}", alone, sizes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ranks.PAIRED)
def test_chosen_pairs_are_those_of_one_process(found, case):
    alone, pointwise = ranks.step(case), ranks.paired_pointwise(case)["pointwise"]
    for how, sizes in ranks.PARTS[len(found)].items():
        assert_is_one_process(found, f"{case}, {how}, gather", alone, sizes, rtol=1e-9, atol=1e-12)
        for of_rank, part in zip(found, ranks.slices(sizes), strict=True):
            came = of_rank[f"{case}, {how}, pointwise"]["pointwise"]
            torch.testing.assert_close(came, pointwise[part], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("option", ranks.QUEUED)
def test_a_queue_is_that_of_one_process(found, option):
    """Each rank passes on its share of what all hold."""
    alone = ranks.queued(option)
    for how, sizes in ranks.PARTS[len(found)].items():
        for name in (f"queue {option}, {how}", *([] if option else [f"queue inside, {how}"])):
            assert_is_one_process(found, name, alone, sizes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ranks.EXCHANGED)
def test_float32_differs_by_rounding(found, case):
    """By 1e-6 of the length of all parameters' gradients together, of x's and of y's: single ones may cancel out."""
    alone = ranks.step(case, dtype=torch.float32)
    for how, sizes in ranks.PARTS[len(found)].items():
        for of_rank, part in zip(found, ranks.slices(sizes), strict=True):
            came = of_rank[f"{case}, {how}, float32"]
            assert came["value"].item() == pytest.approx(alone["value"].item(), abs=1e-6)  # nats
            parameters = [key for key in alone if key.startswith("parameter")]
            a, b = (torch.cat([values[key].flatten() for key in parameters]) for values in (came, alone))
            assert (a - b).norm() <= 1e-6 * b.norm()
            for side in ("x", "y"):
                wanted = len(found) * alone[side]
                assert (came[side] - wanted[part]).norm() <= 1e-6 * wanted.norm()


@pytest.mark.parametrize("exchange", ["gather", "ring"])
def test_more_rows_than_a_block(found, exchange):
    alone = ranks.step("cpc", rows=700 * len(found))
    assert_is_one_process(found, f"many rows, {exchange}", alone, [700] * len(found), rtol=1e-9, atol=1e-12)
    alone = ranks.step("cpc", rows=len(found))
    assert_is_one_process(found, f"one row each, {exchange}", alone, [1] * len(found), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["infonce separable", "cpc", "infonce concat", "js", "dv", "ba"])
def test_loss_and_pointwise(found, case):
    alone = ranks.loss_and_pointwise(case)
    for how, sizes in ranks.PARTS[len(found)].items():
        for of_rank, part in zip(found, ranks.slices(sizes), strict=True):
            came = of_rank[f"{case}, {how}, loss"]
            torch.testing.assert_close(came["loss"], alone["loss"], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(came["x"], alone["x"], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(came["pointwise"], alone["pointwise"][part], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("exchange", ["gather", "ring"])
def test_half_precision_and_no_gradients(found, exchange):
    wide = ranks.step("cpc")
    for of_rank in found:
        narrow = of_rank[f"bfloat16, {exchange}"]
        assert narrow["value"].dtype is torch.float32
        assert narrow["x"].dtype is torch.bfloat16
        assert narrow["value"].item() == pytest.approx(wide["value"].item(), abs=0.05)
        name = "parameter bound.critic.predict.0.weight"
        assert (narrow[name].double() - wide[name]).abs().max() < 0.05 * wide[name].abs().max()
        mixed = of_rank[f"autocast, {exchange}"]
        assert mixed["value"].item() == pytest.approx(wide["value"].item(), abs=0.01)
        assert (mixed[name].double() - wide[name]).abs().max() < 0.01 * wide[name].abs().max()
        fixed = of_rank[f"no gradients, {exchange}"]
        assert fixed["value"].item() == pytest.approx(wide["value"].item(), rel=1e-9)
        x, y = ranks.data()
        scores = (x @ y.T).T
        expected = (scores.diagonal() - scores.logsumexp(1)).mean() + math.log(len(x))
        assert fixed["plain"].item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_rank_may_need_no_gradients(found):
    for name, options in (("cpc", {}), ("infonce", {"critic": "concat"}), ("nwj", {})):
        torch.manual_seed(0)
        bound = infomax.bounds.get(name)(ranks.IN, ranks.IN, **options).double().requires_grad_(False)
        x, y = ranks.data()
        value = bound(x.requires_grad_(), y)
        value.backward()
        own = found[0]["only one rank needs gradients"][f"{name} x"]
        torch.testing.assert_close(own, len(found) * x.grad[: len(own)], rtol=1e-9, atol=1e-12)
        assert all(f["only one rank needs gradients"][name] == pytest.approx(value.item(), rel=1e-9) for f in found)


def test_a_group_of_some_ranks(found):
    alone = ranks.step("cpc")
    for of_rank in found[-2:]:
        for came in of_rank["group"].values():
            torch.testing.assert_close(came["value"], alone["value"], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(came["gradient"], alone["parameter y.weight"], rtol=1e-9, atol=1e-12)


def test_a_gradient_that_no_rank_has_stays_missing(found):
    world = len(found)
    for of_rank in found:
        everywhere, somewhere, nowhere = of_rank["gradients that are missing"]
        assert everywhere.tolist() == [(world + 1) / 2] * 2
        assert somewhere.tolist() == [6 / world] * 2
        assert nowhere is None


def test_distributed_data_parallel_averages_to_one_process(found):
    model = ranks.Model("cpc as in mmim").double()
    x, y = ranks.data()
    (0.1 * model(x, y) + model.x(x).square().mean()).backward()
    for of_rank in found:
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(of_rank["DDP"][f"parameter {name}"], parameter.grad, rtol=1e-9, atol=1e-12)


def test_ceiling_memory_warm_start_and_gather(found):
    world = len(found)
    torch.manual_seed(0)
    ba = infomax.BA(ranks.IN, ranks.IN, components=2).double()
    ba(*ranks.data(), torch.arange(ranks.ROWS) % 2)
    started = ranks.warm_start(slice(None), shared=False)
    for rank, of_rank in enumerate(found):
        assert of_rank["ceiling"]["ceiling"].item() == pytest.approx(math.log(10 * world))
        torch.testing.assert_close(of_rank["labels"]["samples"], ba.memory.samples, rtol=0, atol=0)
        torch.testing.assert_close(of_rank["labels"]["counts"], ba.memory.counts)
        for key, value in started.items():
            torch.testing.assert_close(of_rank["warm start"][key], value, rtol=0, atol=0)
        own = slice(rank * (rank + 1) // 2, (rank + 1) * (rank + 2) // 2)
        total = world * (world + 1) / 2
        numbers = torch.cat([torch.full((r + 1,), float(r)) for r in range(world)])
        assert of_rank["gather"]["rows"][:, 0].equal(numbers)
        assert of_rank["gather"]["flags"].equal(numbers == 0)
        assert of_rank["gather"]["gradient"][:, 1].equal(total * (1 + torch.arange(len(numbers)))[own])


@pytest.mark.parametrize(
    ("case", "told", "told_rank_1"),
    [
        ("columns", "ValueError: x must have the same shape after its rows on every rank; got (3,) on rank", None),
        (
            "types",
            "ValueError: x must have the same type on every rank; got torch.float32 on rank 0, torch.float64",
            None,
        ),
        (
            "one rank's batch",
            "RankError: rank 1 failed: ValueError: x must have shape (N, 3); got (4, 4)",
            "ValueError: x must have shape (N, 3); got (4, 4)",
        ),
        (
            "one rank's batch, whole",
            "RankError: rank 1 failed: ValueError: x must have shape (N, 3); got (4, 4)",
            "ValueError: x must have shape (N, 3); got (4, 4)",
        ),
        ("one row in all", "ValueError: x must have at least 2 rows on all ranks together; got 1", None),
        (
            "gradients off",
            "ValueError: gradients must have the same setting on every rank; got on on rank 0, off",
            None,
        ),
        (
            "other samples",
            "ValueError: x and y must be the same on every rank to share the work; got others on rank",
            None,
        ),
        ("one rank fails", "RankError: rank 1 failed: ValueError: of its own", "ValueError: of its own"),
        (
            "missing values",
            "RankError: rank 1 failed: ValueError: x must be finite; got nan in row 7, column 0",
            "ValueError: x must be finite; got nan in row 7, column 0",
        ),
        (
            "one rank's labels",
            "RankError: rank 1 failed: ValueError: labels must have shape (4,); got (3,)",
            "ValueError: labels must have shape (4,); got (3,)",
        ),
        (
            "one rank's mask",
            "RankError: rank 1 failed: ValueError: mask must leave every row a negative; row 0 has none",
            "ValueError: mask must leave every row a negative; row 0 has none",
        ),
        ("other options", "ValueError: all ranks must pass the same options; got ['labels'", None),
        ("weights", "ValueError: weights and positives must leave a row; got none", None),
        ("options in a ring", "ValueError: exchange must be 'gather' with options of pairs", None),
        (
            "options of nwj",
            "TypeError: NWJ takes no options but negatives, mask, weights; got labels: InfoNCE, CPC and SigLIP",
            None,
        ),
        ("twice", "RuntimeError: second derivatives are not available across ranks", None),
    ],
)
def test_disagreement_is_told_on_all_ranks(found, case, told, told_rank_1):
    for rank, of_rank in enumerate(found):
        expected = told_rank_1 if told_rank_1 and rank == 1 else told
        assert of_rank[f"error: {case}"].startswith(expected), of_rank[f"error: {case}"]


def test_after_an_error_the_ranks_go_on(found):
    assert_is_one_process(
        found, "after the errors", ranks.step("cpc"), ranks.PARTS[len(found)]["even"], rtol=1e-9, atol=1e-12
    )


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
def test_shared_estimates_are_those_of_one_process(found):
    alone = ranks.estimates(shared=False)
    for of_rank in found:
        for how, results in alone.items():
            for result, came in zip(results, of_rank["estimates"][how], strict=True):
                assert came.keys() == result.keys()
                for key in ("mi", "stderr", "gap"):
                    assert came[key] == pytest.approx(result[key], rel=1e-4, abs=1e-5), (how, result["bound"], key)
                assert came["warnings"] == result["warnings"]
        assert of_rank["shared out"] == [0, 10, 20, 30, 40]


def test_the_command_reads_a_file_for_each_rank(found):
    x, y = ranks.samples()
    expected = infomax.estimate(x, y, bound="gaussian")
    for rank, of_rank in enumerate(found):
        done = of_rank["command"]
        assert (done["status"], done["err"]) == (0, "")
        if rank:
            assert done["out"] == ""
        else:
            printed = json.loads(done["out"])
            assert (printed["n"], printed["mi"]) == (len(x), pytest.approx(expected.mi, rel=1e-12))
        assert of_rank["command, empty files"] == done
        nothing = of_rank["command, nothing"]
        assert nothing["status"] == 2
        assert "x must have at least 20 rows; got 0" in nothing["err"]
        failed = of_rank["command, a file is missing"]
        assert (failed["status"], failed["out"]) == (2, "")
        assert ("no file " if rank == 1 else "rank 1 failed: FileNotFoundError: no file ") in failed["err"]


def test_of_too_many_rows_each_rank_draws_its_share(found):
    world = len(found)
    for of_rank in found:
        few, everything = of_rank["drawn"]["few"], of_rank["drawn"]["everything"]
        assert of_rank["drawn"]["total"] == sum(100 * (r + 1) for r in range(world)) == len(everything["x"])
        for samples in (few, everything):
            assert np.array_equal(samples["y"], np.hstack([-samples["x"], 2 * samples["x"]]))
        whose = few["x"][:, 0] // 1000
        assert np.bincount(whose.astype(int)).tolist() == {2: [10, 20], 3: [5, 10, 15]}[world]
        assert len(np.unique(few["x"])) == 30
        assert np.isin(few["x"], everything["x"]).all()
        assert np.ptp(few["x"][whose == 0]) > 30  # not the first ones
        assert np.array_equal(few["x"], found[0]["drawn"]["few"]["x"])
        done = of_rank["command, too many rows"]
        assert done["status"] == 0
    sizes = [len(part) for part in np.array_split(ranks.samples()[0], world)]
    used = sum(100 * size // sum(sizes) for size in sizes)
    assert json.loads(found[0]["command, too many rows"]["out"])["n"] == used
    said = f"infomax: warning: {used} of {sum(sizes)} rows of all ranks are used, drawn at random\n"
    assert [of_rank["command, too many rows"]["err"] for of_rank in found] == [said] + [""] * (world - 1)


def test_a_killed_rank_ends_the_others_with_an_error(tmp_path):
    assert ranks.start(ranks.die, 2, tmp_path / "store", tmp_path / "found") == [3, -9]
    assert "another rank failed or did not answer" in (tmp_path / "found-0").read_text()


def test_alone_it_is_the_bound_itself():
    x, y = (side.requires_grad_() for side in ranks.data())
    for exchange in ("gather", "ring"):
        torch.manual_seed(0)
        bound = infomax.CPC(ranks.IN, ranks.IN, symmetric=True).double()
        shared = GlobalBatch(bound, exchange=exchange)
        assert shared(x, y).equal(bound(x, y))
        assert shared.loss(x, y).equal(bound.loss(x, y))
        assert shared.pointwise(x, y).equal(bound.pointwise(x, y))
        assert shared.ceiling(18) == bound.ceiling(18)
        assert (shared.kind, shared.x_dim, shared.y_dim) == (bound.kind, ranks.IN, ranks.IN)
    assert distributed.gather(x) is x
    assert (distributed.rank(), distributed.world_size()) == (0, 1)


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match="exchange must be one of gather, ring; got 'broadcast'"):
        GlobalBatch(infomax.CPC(2, 2), exchange="broadcast")
    for bound in (infomax.InfoNCE(2, 2, critic="concat"), infomax.NWJ(2, 2)):
        with pytest.raises(ValueError, match="exchange must be 'gather' unless scores are inner products"):
            GlobalBatch(bound, exchange="ring")
