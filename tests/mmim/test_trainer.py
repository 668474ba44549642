import signal
import time

import numpy as np
import pytest
import torch
from multimodal import (
    TIMEOUT,
    assert_same,
    frames_config,
    frames_data,
    small_config,
    small_data,
    start,
    tensors,
)

from mmim_example import config, reading
from mmim_example.__main__ import main
from mmim_example.reading import Split
from mmim_example.runs import log
from mmim_example.runs.facts import CheckpointError
from mmim_example.trainer import Trainer, TrainingError, train


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Data and a configuration on disk, for the command line."""
    folder = tmp_path_factory.mktemp("stored")
    reading.save(frames_data((192, 48, 48)), folder / "data")
    config.write(frames_config(epochs=4, accumulate=2), folder / "config.json")
    return folder


class TestResume:
    def test_a_killed_run_goes_on_to_the_same_bits(self, stored, tmp_path):
        words = ("--data", stored / "data", "--config", stored / "config.json", "--no-progress")
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        resume = ("--data", stored / "data", "--resume", "--no-progress")
        assert main([str(word) for word in ("train", whole, *words)]) == 0
        for epochs in (1, 3):  # killed twice, in the middle of an epoch
            process = start(main, [str(word) for word in ("train", broken, *(resume if epochs > 1 else words))])
            deadline = time.monotonic() + TIMEOUT
            while len(log.records(broken)) < 1 + epochs and time.monotonic() < deadline:
                time.sleep(0.002)
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        assert main([str(word) for word in ("train", broken, *resume)]) == 0
        assert_same(tensors(whole), tensors(broken))
        assert_same(tensors(whole, "best.safetensors"), tensors(broken, "best.safetensors"))
        records = [
            [{k: v for k, v in r.items() if k != "seconds"} for r in log.records(run)] for run in (whole, broken)
        ]
        assert records[0] == records[1]

    def test_every_epoch_is_a_place_to_stop(self, tmp_path):
        modalities = {name: config.Modality(out=4, dropout=0.3) for name in ("text", "audio", "vision")}
        settings = {"modalities": modalities, "dropout": 0.3, "noise": 0.3, "pair_start": True}
        dataset, settings = small_data(), small_config(epochs=4, lr_patience=0, patience=4, **settings)
        train(settings, dataset, tmp_path / "whole", progress=False)
        for epochs in range(1, 5):
            train(settings.replace(epochs=epochs), dataset, tmp_path / "parts", resume=epochs > 1, progress=False)
        assert_same(tensors(tmp_path / "whole"), tensors(tmp_path / "parts"))

    def test_a_transformer_resumes_too(self, tiny_bert, tmp_path):
        dataset, settings = with_text(tiny_bert)
        train(settings, dataset, tmp_path / "whole", progress=False)
        train(settings.replace(epochs=1), dataset, tmp_path / "parts", progress=False)
        train(settings, dataset, tmp_path / "parts", resume=True, progress=False)
        assert_same(tensors(tmp_path / "whole"), tensors(tmp_path / "parts"))

    def test_another_configuration_is_refused_by_its_first_difference(self, tmp_path):
        train(small_config(epochs=1), small_data(), tmp_path, progress=False)
        with pytest.raises(CheckpointError, match=r"another configuration: its alpha is 0.1, not 0.2"):
            train(small_config(epochs=2, alpha=0.2), small_data(), tmp_path, resume=True, progress=False)

    def test_other_data_are_refused(self, tmp_path):
        train(small_config(epochs=1), small_data(), tmp_path, progress=False)
        with pytest.raises(CheckpointError, match="belongs to other data than generated, seed 1"):
            train(small_config(epochs=2), small_data(seed=1), tmp_path, resume=True, progress=False)

    def test_other_features_are_other_data(self, tmp_path):
        train(small_config(epochs=1), small_data(), tmp_path, progress=False)
        changed = small_data()
        changed.train.features["audio"][:] = 0.5
        with pytest.raises(CheckpointError, match="belongs to other data than generated"):
            train(small_config(epochs=2), changed, tmp_path, resume=True, progress=False)

    def test_a_run_is_neither_overwritten_nor_made_up(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no run to resume"):
            train(small_config(), small_data(), tmp_path, resume=True, progress=False)
        train(small_config(epochs=1), small_data(), tmp_path, progress=False)
        with pytest.raises(FileExistsError, match="already contains a run"):
            train(small_config(epochs=1), small_data(), tmp_path, progress=False)


def with_text(tiny_bert, n=(48, 16, 16)):
    """Frames, and texts whose words tell the label."""
    dataset = frames_data(n)
    splits = {}
    for name, split in dataset.splits().items():
        text = tuple("good film" if label > 0 else "a very bad film" for label in split.labels[:-1])
        splits[name] = Split(split.ids, split.labels, split.features, split.lengths, text=(*text, " "))
    settings = frames_config(epochs=2, lr_transformer=1e-3)
    text = config.Modality("transformer", out=4, pretrained=str(tiny_bert))
    modalities = dict(settings.modalities) | {"text": text}
    return reading.Dataset(**splits, source="texts"), settings.replace(modalities=modalities)


class TestTwoStages:
    def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before(self, tmp_path):
        dataset = small_data()
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            torch.manual_seed(len(name) + seed)
            torch.randn(seed + 3)
            before = torch.get_rng_state()
            train(small_config(epochs=1, seed=seed, dropout=0.3), dataset, tmp_path / name, progress=False)
            assert torch.equal(before, torch.get_rng_state())  # and leaves everybody else's numbers alone
        assert_same(tensors(tmp_path / "a"), tensors(tmp_path / "b"))
        a, c = tensors(tmp_path / "a"), tensors(tmp_path / "c")
        assert not torch.equal(a["model/fusion.first.weight"], c["model/fusion.first.weight"])

    def test_stage_1_leaves_the_pairs_bounds_as_they_are(self):
        made = Trainer(small_config(), small_data(), torch.device("cpu"))
        made.fit_pairs(0)
        parameters = [p.clone() for p in made.model.pair_parameters()]
        weights = made.model.fusion.first.weight.clone()
        made.progress.epoch = 1
        made.fit_main()
        made.model.pair_bounds.requires_grad_(True)
        assert all(torch.equal(a, b) for a, b in zip(parameters, made.model.pair_parameters(), strict=True))
        assert not torch.equal(weights, made.model.fusion.first.weight)

    def test_stage_0_leaves_everything_else_as_it_is_and_fits(self):
        made = Trainer(small_config(lr_pairs=1e-2), small_data(), torch.device("cpu"))
        main = [p.clone() for p in made.model.main_parameters()]
        fits = [made.fit_pairs(epoch) for epoch in range(10)]
        assert all(torch.equal(a, b) for a, b in zip(main, made.model.main_parameters(), strict=True))
        assert fits[-1] < fits[0] - 1  # nats

    @pytest.mark.parametrize("firm", [True, False], ids=["closed form, noise", "as in the paper"])
    def test_with_strong_dropout_both_stages_see_the_same_representations(self, firm):
        # q fitted on representations without dropout read -11.7 and -5.8 nats here in stage 1, against 0.1 and -1.3.
        modalities = {
            name: config.Modality(hidden=32, out=8, dropout=0.5 if name != "audio" else 0.1)
            for name in ("text", "audio", "vision")
        }
        changes = {"correlated": firm, "pair_start": firm, "noise": 0.3 * firm, "memory": 512, "lr_pairs": 4e-3}
        settings = small_config(modalities=modalities, dropout=0.5, fusion=32, batch_size=64, **changes)
        made = Trainer(settings, small_data((200, 200, 20)), torch.device("cpu"))
        for _ in range(15):
            record, _ = made.epoch()
        readings = {part: record[part]["pairs"]["text-vision"] for part in ("train", "valid")}
        assert abs(readings["train"] - readings["valid"]) < 0.8
        assert readings["train"] > -1

    def test_pair_share_says_how_much_stage_0_sees(self):
        seen = []
        made = Trainer(small_config(pair_share=0.5), small_data(), torch.device("cpu"))
        represent = made._represent
        made._represent = lambda order: seen.append(len(order)) or represent(order)
        made.fit_pairs(0)
        assert seen == [48]

    def test_accumulated_batches_are_one_step_of_their_mean_gradient(self):
        # Without contrast the loss is a mean over rows: two halves accumulated are the whole.
        alone = {"use_pairs": False, "use_fusion": False, "clip": 100.0}
        made = [
            Trainer(small_config(batch_size=size, accumulate=k, **alone), small_data(), torch.device("cpu"))
            for size, k in ((32, 1), (16, 2), (8, 4))
        ]
        for one in made:
            one.progress.epoch = 1
            one.fit_main()
        first = list(made[0].model.main_parameters())
        for other in made[1:]:
            for a, b in zip(first, other.model.main_parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)

    def test_gradients_are_clipped(self):
        settings = small_config(use_pairs=False, use_fusion=False, clip=1e-3)
        made = Trainer(settings, small_data(), torch.device("cpu"))
        norms = []
        step = made.main.step
        made.main.step = lambda: (
            norms.append(torch.cat([p.grad.flatten() for p in made.model.main_parameters()]).norm().item()) or step()
        )
        made.progress.epoch = 1
        made.fit_main()
        assert len(norms) == 6
        assert max(norms) <= 1e-3 * 1.001

    def test_learning_rates_are_halved_when_validation_stalls(self, tmp_path):
        settings = small_config(epochs=5, lr=1e-6, lr_patience=0, patience=5)
        train(settings, small_data(), tmp_path, progress=False)
        rates = [r["lr"] for r in log.records(tmp_path) if r["event"] == "epoch"]
        assert rates[-1] < rates[0]

    def test_training_stops_when_validation_does_not_improve_and_keeps_the_best(self, tmp_path):
        run = train(small_config(epochs=40, patience=2, lr=0.05), small_data(), tmp_path, progress=False)
        tasks = [r["valid"]["task"] for r in log.records(tmp_path) if r["event"] == "epoch"]
        assert run.epochs < 40
        assert run.epochs == len(tasks) == run.best_epoch + 2
        assert run.best_valid == min(tasks) == tasks[run.best_epoch - 1]

    def test_the_test_split_is_not_looked_at(self, tmp_path):
        dataset = small_data()
        dataset.test.labels[:] = np.nan
        train(small_config(epochs=1), dataset, tmp_path, progress=False)

    def test_the_task_is_learned(self, tmp_path):
        run = train(
            small_config(epochs=8, lr=1e-2, batch_size=32), small_data((400, 200, 32)), tmp_path, progress=False
        )
        guess_the_median = 1.5 * np.sqrt(2 / np.pi)  # the mean absolute deviation of the labels, 1.197
        assert run.best_valid < 0.65 * guess_the_median

    def test_a_fine_tuned_text_learns_from_words(self, tiny_bert, tmp_path):
        dataset, settings = with_text(tiny_bert, (160, 80, 16))
        settings = settings.replace(epochs=8, use_pairs=False, use_fusion=False, lr=1e-2)
        run = train(settings, dataset, tmp_path, progress=False)
        labels = dataset.valid.labels
        assert run.best_valid < 0.8 * np.abs(labels - np.median(labels)).mean()

    def test_a_loss_that_is_not_finite_is_told_with_its_term(self, tmp_path):
        dataset = frames_data()
        dataset.train.labels[:] = 1.0  # the published entropy needs both signs
        with pytest.raises(
            TrainingError, match=r"stage 1 must be finite; got nan in epoch 1, from text-vision.*few rows"
        ):
            train(frames_config(legacy=True), dataset, tmp_path, progress=False)


def test_stage_0_sees_each_row_as_it_is_encoded_alone():
    made = Trainer(frames_config(dropout=0.0), frames_data(), torch.device("cpu"))
    for part in made.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    order = np.random.default_rng(0).permutation(len(made.dataset.train))
    h, present = made._represent(order)
    for place, row in enumerate(order):
        alone = made._share(made.dataset.train, np.array([row]))
        for name, values in made.model.encode(alone).items():
            torch.testing.assert_close(h[name][place], values[0], rtol=1e-5, atol=1e-6)
            assert present[name][place] == alone.present[name][0]


def test_a_frozen_transformer_is_not_stored(tiny_bert, tmp_path):
    dataset, settings = with_text(tiny_bert)
    text = config.Modality("transformer", out=4, pretrained=str(tiny_bert), frozen=True)
    settings = settings.replace(epochs=1, modalities=dict(settings.modalities) | {"text": text})
    train(settings, dataset, tmp_path, progress=False)
    names = tensors(tmp_path, "best.safetensors")
    assert not [name for name in names if name.startswith("encoders.text.model")]
    assert "encoders.text.project.1.weight" in names


def test_the_log_says_what_was_trained_on(tmp_path):
    train(small_config(epochs=1), small_data(), tmp_path, progress=False)
    start, epoch = log.records(tmp_path)
    assert start["rows"] == {"train": 96, "valid": 32, "test": 32}
    assert epoch["ceilings"]["fusion"]["text"] == pytest.approx(np.log(16) - np.log1p(15 * np.exp(-2)))
    # Weighted by rows, terms add up to the loss.
    for part in ("train", "valid"):
        found = epoch[part]
        total = found["task"] - 0.1 * sum(found["fusion"].values()) - 0.1 * sum(found["pairs"].values())
        assert found["loss"] == pytest.approx(total, abs=1e-5)


def test_threads_are_as_they_were_afterwards(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    train(small_config(epochs=1, threads=1), small_data(), tmp_path, progress=False)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
