"""The table of presets in docs/mmim.md, against the presets and the options of the official command."""

import json
import re
from pathlib import Path

import pytest

from mmim_example.config import PRESETS, Config

PAGE = Path(__file__).parents[2] / "docs" / "mmim.md"
COLUMNS = ("published", "mosi", "mosei", "generated")
#: Values of `python main.py --dataset mosi --contrast`: defaults of its options, and what its code fixes.
COMMAND = {
    "text.kind": "transformer", "text.pretrained": "bert-base-uncased", "text.out": 0, "text.pooling": "first",
    "text.frozen": False,
    **{f"{m}.{name}": value for m in ("audio", "vision") for name, value in {
        "kind": "frames", "hidden": 16, "out": 16, "layers": 1, "bidirectional": False, "standardize": False,
        "dropout": 0.0,  # 0.1, but the code replaces it by 0 if there is one layer
    }.items()},
    "target": "regression", "classes": 1, "fusion": 128, "dropout": 0.1, "use_fusion": True, "use_pairs": True,
    "pairs": [["text", "vision"], ["text", "audio"]], "alpha": 0.1, "beta": 0.1, "legacy": True, "init": "xavier",
    "batch_size": 32, "epochs": 40, "patience": 10, "lr_patience": 20, "lr": 1e-3, "lr_transformer": 5e-5,
    "lr_pairs": 1e-3, "weight_decay": 1e-4, "clip": 1.0, "accumulate": 1, "seed": 1111, "pair_share": 1.0,
}  # fmt: skip
OPTIONS = {
    "--dropout_a", "--dropout_v", "--dropout_prj", "--contrast", "--add_va", "--n_layer", "--cpc_layers", "--d_vh",
    "--d_ah", "--d_vout", "--d_aout", "--bidirectional", "--d_prjh", "--pretrain_emb", "--cpc_activation",
    "--batch_size", "--clip", "--lr_main", "--lr_bert", "--lr_mmilb", "--alpha", "--beta", "--weight_decay_main",
    "--num_epochs", "--when", "--patience", "--update_batch", "--seed",
}  # fmt: skip


def flat(config):
    plain = config.to_dict()
    modalities = plain.pop("modalities")
    return plain | {f"{m}.{name}": value for m, spec in modalities.items() for name, value in spec.items()}


def table():
    """Setting -> cells by column."""
    text = PAGE.read_text(encoding="utf-8").partition("### Presets, and the official command")[2]
    lines = [line for line in text.partition("\n\nThese differences")[0].splitlines() if line.startswith("| ")]
    header, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines)
    assert header[2:-1] == [f"`{name}`" for name in COLUMNS]
    return {name: dict(zip(header, row, strict=True)) for row in rows for name in re.findall(r"`([^`]*)`", row[0])}


def shown(value):
    return (value if isinstance(value, str) else json.dumps(value)) or "–"


def test_the_published_preset_is_the_official_command():
    published = flat(PRESETS["published"])
    assert {name: published[name] for name in COMMAND} == COMMAND


@pytest.mark.parametrize("preset", COLUMNS)
def test_the_table_has_the_values_of_the_presets(preset):
    values = flat(PRESETS[preset])
    assert {name: cells[f"`{preset}`"] for name, cells in table().items()} == {
        name: shown(values[name]) for name in table()
    }


def test_the_table_has_every_setting_in_which_presets_differ_with_a_reason():
    presets = [flat(PRESETS[name]) for name in COLUMNS]
    differing = {name for name in presets[0] if len({shown(preset[name]) for preset in presets}) > 1}
    assert differing <= table().keys()
    for name in sorted(differing - {"text.hidden", "pair_share"}):  # of an encoder and a data set in the same row
        assert table()[name]["why they differ"] != "–", name


def test_the_table_has_the_options_of_the_official_command():
    cells = " ".join(row["official option"] for row in table().values())
    assert set(re.findall(r"--\w+", cells)) == OPTIONS


def test_what_the_page_says_of_other_presets():
    sims, mosi, published = (flat(PRESETS[name]) for name in ("sims", "mosi", "published"))
    differing = {name: sims[name] for name in sims if sims[name] != mosi[name]}
    assert differing == {"text.pretrained": "bert-base-chinese", "metrics": "sims"}
    default = flat(Config(modalities=PRESETS["published"].modalities))
    differing = {name: default[name] for name in default if default[name] != published[name]}
    assert differing == {"legacy": False, "init": "pytorch", "lr_patience": 5, "seed": 0}
