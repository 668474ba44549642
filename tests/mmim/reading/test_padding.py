"""Features that MMSA-FET padded at the start are moved; ambiguous ones are refused."""

import numpy as np
import pytest
from published_files import dump, mmsa

from mmim_example.reading import DataError, load


def at_start(part, modality):
    """The valid frames of each utterance moved to the end, with zeros before them, and a copy of what they were."""
    frames, lengths = part[modality], part[f"{modality}_lengths"]
    moved = np.zeros_like(frames)
    for row, length, target in zip(frames, lengths, moved, strict=True):
        target[len(row) - length :] = row[:length]
    part[modality] = moved
    return frames


def test_padding_at_the_start_is_moved(tmp_path):
    content = mmsa(aligned=False)
    before = {name: at_start(part, "vision") for name, part in content.items()}
    for name, split in load(dump(tmp_path / "fet.pkl", content)).splits().items():
        assert split.lengths["vision"].tolist() == list(content[name]["vision_lengths"])
        for i, length in enumerate(split.lengths["vision"]):
            np.testing.assert_array_equal(split.features["vision"][i, :length], before[name][i, :length])


def test_padding_at_either_side_is_refused(tmp_path):
    content = mmsa(aligned=False)
    train = content["train"]
    train["audio_lengths"] = [4, 4, 4, 4, 4]
    before = at_start(train, "audio")
    train["audio"][0] = before[0]
    with pytest.raises(DataError, match=r"train: audio must be padded at the end .* at the start in 4 of 5 utterances"):
        load(dump(tmp_path / "mixed.pkl", content))


def test_a_first_frame_of_zeros_is_a_frame(tmp_path):
    content = mmsa(aligned=False)
    content["train"]["audio_lengths"] = [8, 8, 8, 8, 8]
    content["train"]["audio"][2, 0] = 0
    train = load(dump(tmp_path / "zero.pkl", content)).train
    np.testing.assert_array_equal(train.features["audio"], content["train"]["audio"])
