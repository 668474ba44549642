"""Labels other than the usual one, ids of three parts, and transcripts joined by row."""

import csv

import numpy as np
import pytest
from published_files import SIZES, dump, mmsa, official, write_labels

from mmim_example.__main__ import main
from mmim_example.reading import DataError, DataWarning, join_rows, join_text, load, save, video_of


def mosi_with_times():
    """MulT's MOSI: ids have the columns video_clip, start and end, as bytes; its loader reads all three."""
    content = official()
    for name, part in content.items():
        part["id"] = np.array([[f"{name}vid_{i}".encode(), b"0.5", b"1.5"] for i in range(SIZES[name])])
    return content


def mosei():
    """MulT's MOSEI: ids have the columns video, start and end; two utterances of each video."""
    content = official(columns=7)
    for name, part in content.items():
        part["id"] = np.array([[f"{name}{i // 2}", f"{i}.5", f"{i + 1}.25"] for i in range(SIZES[name])])
    return content


def write_rows(path, content, *, label=True):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["video_id", "clip_id", "text"] + ["label"] * label)
        for part in content.values():
            for i, (video, _, _) in enumerate(part["id"]):
                given = [round(float(part["labels"][i, 0, 0]), 4)] * label
                table.writerow([video, i, f"{video} said {i}", *given])
    return path


def test_mults_ids_of_three_columns_join(tmp_path):
    source = dump(tmp_path / "mosi_data_noalign.pkl", mosi_with_times())
    keys = [f"{name}vid_{i}" for name, n in SIZES.items() for i in range(n)]
    labels = write_labels(tmp_path / "MOSI-label.csv", reversed(keys))
    words = ["convert", tmp_path / "plain", "--data", source, "--labels-csv", labels]
    assert main([str(word) for word in words]) == 0
    train = load(tmp_path / "plain").train
    assert train.ids[1] == "trainvid_1"
    assert train.text[1] == '"trainvid_1", said é'


class TestRows:
    def test_rows_join_and_keep_their_videos(self, tmp_path):
        content = mosei()
        source = dump(tmp_path / "mosei_senti_data_noalign.pkl", content)
        labels = write_rows(tmp_path / "MOSEI-label.csv", content)
        words = ["convert", tmp_path / "plain", "--data", source, "--labels-csv", labels, "--join", "rows"]
        assert main([str(word) for word in words]) == 0
        valid = load(tmp_path / "plain").valid
        assert valid.text == ("valid0 said 0", "valid0 said 1")
        assert valid.ids == ("valid0[0.5,1.25]", "valid0[1.5,2.25]")
        assert [video_of(i) for i in valid.ids] == ["valid0", "valid0"]

    def test_a_join_by_id_says_what_to_do(self, tmp_path):
        content = mosei()
        dataset = load(dump(tmp_path / "x.pkl", content))
        with pytest.raises(DataError, match=r"as MOSEI's, need --join rows"):
            join_text(dataset, write_rows(tmp_path / "labels.csv", content))

    def test_rows_that_differ_are_refused(self, tmp_path):
        content, path = mosei(), tmp_path / "labels.csv"
        dataset = load(dump(tmp_path / "x.pkl", content))
        write_rows(path, content)
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]), encoding="utf-8")  # of one video
        with pytest.raises(DataError, match=r"label must be .*, that of 'train0\[0.5,1.25\]', in row 0; got"):
            join_rows(dataset, path)
        path.write_text("\n".join([lines[0], lines[4], *lines[2:4], lines[1], *lines[5:]]), encoding="utf-8")
        with pytest.raises(DataError, match=r"video_id must be that of 'train0\[0.5,1.25\]' in row 0; got 'train1'"):
            join_rows(dataset, path)
        path.write_text("\n".join(lines[:-1]), encoding="utf-8")
        with pytest.raises(DataError, match=r"must have a row for each of the 10 utterances; got 9"):
            join_rows(dataset, path)

    def test_without_labels_a_warning_says_what_was_not_compared(self, tmp_path):
        content = mosei()
        dataset = load(dump(tmp_path / "x.pkl", content))
        with pytest.warns(DataWarning, match="only videos were compared"):
            join_rows(dataset, write_rows(tmp_path / "labels.csv", content, label=False))


class TestLabels:
    def test_an_emotion_of_mosei(self, tmp_path):
        content = mosei()
        source = dump(tmp_path / "x.pkl", content)
        found = load(source, label="anger")
        np.testing.assert_array_equal(found.test.labels, content["test"]["labels"][:, 0, 3].astype("f4"))
        with pytest.raises(DataError, match=r"label must be one of sentiment, happy, .*; got 'joy'"):
            load(source, label="joy")

    def test_a_field_of_mmsa(self, tmp_path):
        content = mmsa(aligned=True)
        for part in content.values():
            part["regression_labels_T"] = np.linspace(-0.5, 0.5, len(part["id"])).astype("f4")
        source = dump(tmp_path / "x.pkl", content)
        words = ["convert", tmp_path / "plain", "--data", source, "--label", "classification_labels"]
        assert main([str(word) for word in words]) == 0
        assert load(tmp_path / "plain").train.labels.tolist() == content["train"]["classification_labels"].tolist()
        assert load(source, label="regression_labels_T").valid.labels.tolist() == [-0.5, 0.5]
        with pytest.raises(DataError, match=r"annotations must be numeric; got str"):
            load(source, label="annotations")
        with pytest.raises(DataError, match=r"label must be a field of the file; got 'regression_labels_V' and text"):
            load(source, label="regression_labels_V")

    def test_a_column_of_the_plain_format(self, tmp_path):
        save(load(dump(tmp_path / "x.pkl", mmsa(aligned=True))), tmp_path / "plain")
        table = tmp_path / "plain" / "utterances.csv"
        lines = table.read_text(encoding="utf-8").splitlines()
        rows = [f"{line},{i}" for i, line in enumerate(lines[1:])]
        table.write_text("\n".join([lines[0] + ",label_A", *rows]), encoding="utf-8")
        assert load(tmp_path / "plain", label="label_A").train.labels.tolist() == [0, 1, 2, 3, 4]
        with pytest.raises(DataError, match="must have columns id, split, label_V"):
            load(tmp_path / "plain", label="label_V")

    def test_a_range(self, tmp_path, capsys):
        content = mmsa(aligned=True)
        content["valid"]["regression_labels"] = np.array([0, 90.0])
        words = ["convert", tmp_path / "plain", "--data", dump(tmp_path / "x.pkl", content)]
        assert main([str(word) for word in words]) == 2
        assert "labels must lie in -3..3; got 90.0" in capsys.readouterr().err
        assert main([str(word) for word in (*words, "--label-range", "-100", "100")]) == 0

    def test_iemocap_is_refused_by_name(self, tmp_path):
        content = official()
        for part in content.values():
            part["labels"] = np.zeros((len(part["id"]), 4, 2))
        with pytest.raises(
            DataError, match=r"got shape \(5, 4, 2\), the four yes/no labels of IEMOCAP: write the class"
        ):
            load(dump(tmp_path / "iemocap_data.pkl", content))

    def test_other_columns_are_not_reduced_to_the_first(self, tmp_path):
        with pytest.raises(DataError, match=r"labels must have one value for each utterance; got shape \(5, 1, 3\)"):
            load(dump(tmp_path / "x.pkl", official(columns=3)))
