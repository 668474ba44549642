import numpy as np
import pytest
from multimodal import small_data
from utterances import make_split

from mmim_example import reading


def test_rows_are_a_copy_in_their_order():
    split = make_split("train", 6)
    part = split.rows(np.array([4, 0]))
    assert part.ids == ("train_4", "train_0")
    assert part.text == ("what 4 said", "what 0 said")
    for name, array in part.features.items():
        np.testing.assert_array_equal(array, split.features[name][[4, 0]])
        assert not np.shares_memory(array, split.features[name])
    np.testing.assert_array_equal(part.tokens, split.tokens[[4, 0]])


def test_a_modality_taken_away_is_taken_from_those_rows_only():
    split = small_data().test
    lacking = reading.without(split, "audio", np.array([3, 4]))
    assert np.flatnonzero(lacking.missing["audio"]).tolist() == [3, 4]
    assert not lacking.missing["text"].any()
    assert not split.missing["audio"].any()


@pytest.mark.parametrize(
    ("utterance", "video"),
    [("abc$_$12", "abc"), ("a_b_12", "a_b"), ("-x_3", "-x"), ("abc[7]", "abc"), ("solo", "solo")],
)
def test_the_video_of_an_utterance(utterance, video):
    assert reading.video_of(utterance) == video
