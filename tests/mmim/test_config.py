import json

import pytest
from multimodal import small_config

from mmim_example import config
from mmim_example.config import Config, Modality

TWO = {"text": Modality(), "audio": Modality()}


@pytest.mark.parametrize("name", config.PRESETS)
def test_presets_survive_json(name, tmp_path):
    made = config.preset(name)
    config.write(made, tmp_path / "config.json")
    assert config.read(tmp_path / "config.json") == made


def test_the_presets_hold_the_papers_values():
    mosi, mosei = config.preset("mosi"), config.preset("mosei")
    assert [(c.batch_size, c.lr, c.lr_pairs, c.alpha, c.beta, c.clip) for c in (mosi, mosei)] == [
        (32, 1e-3, 4e-3, 0.3, 0.1, 5.0),
        (64, 5e-4, 1e-3, 0.1, 0.05, 5.0),
    ]
    assert [[c.modalities[m].hidden for m in ("vision", "audio")] for c in (mosi, mosei)] == [[32, 32], [64, 16]]
    for c in (mosi, mosei):
        assert (c.lr_transformer, c.weight_decay, c.fusion, c.epochs, c.patience) == (5e-5, 1e-4, 128, 40, 10)
        assert c.pairs == (("text", "vision"), ("text", "audio"))
        assert c.modalities["audio"].out == c.modalities["vision"].out == 16
    assert (mosi.pair_share, mosei.pair_share) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": {"text": Modality()}}, "modalities must be two or more; got text"),
        ({"pairs": (("text", "smell"),)}, "each pair must be two different modalities among text, audio; got"),
        ({"pairs": (("text", "text"),)}, "each pair must be two different modalities"),
        ({"classes": 3}, "classes must be 1 for regression"),
        ({"target": "classification"}, "classes must be 1 for regression and more for classification; got 1"),
        ({"entropy_classes": "label"}, "entropy_classes must be 'sign' or 'none' for regression"),
        ({"target": "ranking"}, "target must be 'regression' or 'classification'; got 'ranking'"),
        ({"lr": 0}, "lr must be greater than 0; got 0"),
        ({"alpha": float("nan")}, "alpha must be a finite number; got nan"),
        ({"batch_size": 0}, "batch_size must be greater than or equal to 1; got 0"),
        ({"dropout": 1.0}, "dropout must be less than 1; got 1.0"),
        ({"pair_share": 0.0}, "pair_share must be greater than 0; got 0.0"),
        ({"seed": -1}, "seed must be greater than or equal to 0; got -1"),
        ({"use_pairs": "False"}, "use_pairs must be a valid boolean; got 'False'"),
        ({"legacy": 1}, "legacy must be a valid boolean; got 1"),
        ({"init": "orthogonal"}, "init must be 'pytorch' or 'xavier'; got 'orthogonal'"),
        ({"epochs": 1.5}, "epochs must be a valid integer; got 1.5"),
        ({"epochs": True}, "epochs must be a valid integer; got True"),
        ({"alpha": "foo"}, "alpha must be a valid number; got 'foo'"),
        ({"pair_bound": 5}, "pair_bound must be a valid string; got 5"),
        ({"fusion_options": 3}, "fusion_options must be a valid dictionary; got 3"),
        ({"pairs": (("text", "audio"), ("text", "audio"))}, "pairs must differ from each other"),
        ({"modalities": {"a.b": Modality(), "text": Modality()}}, "must consist of letters, digits and _; got 'a.b'"),
        ({"modalities": {"type": Modality(), "text": Modality()}}, "must consist of letters, digits and _; got 'type'"),
    ],
)
def test_values_out_of_range_are_told(changes, message):
    settings = {"modalities": TWO, "pairs": (("text", "audio"),)} | changes
    with pytest.raises(ValueError, match=message):
        Config(**settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "cnn"}, "kind must be one of vector, frames, transformer, or your own by --import FILE; got 'cnn'"),
        (
            {"kind": "transformer"},
            "pretrained must name a model for kind 'transformer', and be empty for other kinds; got ''",
        ),
        ({"pretrained": "bert"}, "pretrained must name a model for kind 'transformer', and be empty for other kinds"),
        ({"kind": "frames", "hidden": 0}, "hidden must be at least 1"),
        ({"out": -1}, "out must be greater than or equal to 0; got -1"),
        ({"hidden": "16"}, "hidden must be a valid integer; got '16'"),
    ],
)
def test_encoders_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Modality(**given)


def test_only_text_is_made_of_tokens():
    bert = Modality("transformer", pretrained="bert")
    with pytest.raises(ValueError, match="modalities other than text; got 'audio'"):
        Config(modalities={"text": Modality(), "audio": bert}, pairs=())


def test_unknown_names_are_told_with_the_closest(tmp_path):
    path = tmp_path / "config.json"
    for plain, message in (
        ({"modalities": {}, "alfa": 1}, "Config has no 'alfa'; did you mean 'alpha'"),
        ({"modalities": {"text": {"hiden": 3}}}, "modalities.text: Modality has no 'hiden'; did you mean 'hidden'"),
        ({}, "modalities must be given; got none"),
        ({"modalities": {"text": 3}}, "modalities.text must be a valid dictionary or instance of Modality; got 3"),
        (
            {"modalities": {"text": {}, "audio": {}}, "pairs": ["text", "audio"]},
            "pairs.0 must be a valid tuple; got 'text'",
        ),
        ([], "must contain a JSON object; got list"),
    ):
        path.write_text(json.dumps(plain), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            config.read(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"config.json must be JSON; got"):
        config.read(path)


def test_changes_by_name_leave_what_they_change_as_it_was():
    options = {"temperature": "learned"}
    before = Config(modalities=TWO, pairs=(("text", "audio"),))
    made = before.changed(
        {"modalities.text.hidden": 7, "fusion_options": options, "fusion_options.normalize": True, "alpha": 0.5}
    )
    assert (made.modalities["text"].hidden, made.modalities["audio"].hidden, made.alpha) == (7, 0, 0.5)
    assert made.fusion_options == {"temperature": "learned", "normalize": True}
    assert options == {"temperature": "learned"}
    assert before == Config(modalities=TWO, pairs=(("text", "audio"),))


def test_an_unknown_preset_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="preset must be one of mosi, mosei, generated, published, sims; got 'mosy'"):
        config.preset("mosy")


class TestInitialisation:
    """It is a setting of its own; in older versions, the published objective implied the published initialisation."""

    @pytest.mark.parametrize(("legacy", "init"), [(True, "xavier"), (False, "pytorch")])
    def test_a_configuration_of_an_older_version_keeps_its_meaning(self, legacy, init, tmp_path):
        plain = Config(modalities=TWO, pairs=(("text", "audio"),), legacy=legacy).to_dict()
        del plain["init"]
        (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
        assert config.read(tmp_path / "config.json").init == init

    def test_a_changed_objective_keeps_the_initialisation(self):
        paper = config.preset("mosi")
        assert paper.changed({"legacy": True}).init == paper.replace(legacy=True).init == "pytorch"
        assert paper.changed({"init": "xavier"}).legacy is False

    def test_a_stored_choice_is_kept(self):
        made = config.preset("mosi").replace(legacy=True)
        assert Config.from_dict(made.to_dict()) == made


class TestBoundsDefaultOptions:
    """A changed bound gets its own default options, not those of the bound before."""

    def test_a_changed_bound(self):
        paper = config.preset("mosi")
        assert paper.fusion_options == {"normalize": True}
        assert paper.changed({"fusion_bound": "nwj"}).fusion_options == {}
        assert paper.replace(fusion_bound="nwj").fusion_options == {}
        assert paper.changed({"fusion_bound": "nwj"}).changed({"fusion_bound": "cpc"}) == paper

    def test_options_that_are_given_are_kept(self):
        generated = config.preset("generated")
        learned = {"normalize": True, "temperature": "learned"}
        assert generated.changed({"fusion_bound": "cpc", "alpha": 0.2}).fusion_options == learned  # the same bound
        options = {"critic": "cosine"}
        assert generated.changed({"fusion_options": options, "fusion_bound": "nwj"}).fusion_options == options
        dotted = generated.changed({"fusion_bound": "nwj", "fusion_options.critic": "cosine"})
        assert dotted.fusion_options == options
        assert small_config(pair_options={"entropy": "upper"}).changed({"pair_bound": "infonce"}).pair_options == {}

    def test_a_file_with_a_bound_alone(self, tmp_path):
        plain = small_config().to_dict() | {"fusion_bound": "infonce"}
        del plain["fusion_options"], plain["pair_options"]
        (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
        assert config.read(tmp_path / "config.json").fusion_options == {}
