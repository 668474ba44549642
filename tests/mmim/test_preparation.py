import numpy as np
import pytest
from multimodal import frames_config, frames_data, small_config, small_data

from mmim_example import preparation
from mmim_example.config import Modality
from mmim_example.reading import DataError, Dataset, Split
from mmim_example.trainer import train


def test_frames_are_not_taken_for_vectors(tmp_path):
    with pytest.raises(
        DataError,
        match=r"audio must have 2 axes for .* 'vector'; got shape \(48, 7, 3\); .* --preset mosi or",
    ):
        train(small_config(), frames_data(), tmp_path, progress=False)


def test_classes_that_are_not_whole_numbers_are_refused(tmp_path):
    settings = small_config(target="classification", classes=3)
    with pytest.raises(DataError, match=r"train: labels must be integers from 0 to 2; got .* in row 0"):
        train(settings, small_data(), tmp_path, progress=False)


def test_texts_are_embedded_in_the_place_of_frames(tiny_bert, tmp_path):
    dataset = frames_data()
    splits = {}
    for name, split in dataset.splits().items():
        text = tuple("good film" if label > 0 else "bad" for label in split.labels[:-1])
        splits[name] = Split(split.ids, split.labels, split.features, split.lengths, text=(*text, ""))
    embedded = preparation.with_embedded_text(Dataset(**splits, source="texts"), str(tiny_bert))
    assert embedded.dims()["text"] == 16
    assert np.flatnonzero(embedded.test.missing["text"]).tolist() == [15]
    settings = frames_config(epochs=1)
    modalities = dict(settings.modalities) | {"text": Modality(out=4)}
    train(settings.replace(modalities=modalities), embedded, tmp_path, progress=False)
    with pytest.raises(DataError, match="there must be text to embed; got none"):
        preparation.with_embedded_text(dataset, str(tiny_bert))
