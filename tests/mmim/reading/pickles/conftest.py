import pytest

from mmim_example.reading.pickles import read_pickle


@pytest.fixture
def read(tmp_path):
    """What the bytes of a pickle hold."""

    def from_bytes(content):
        path = tmp_path / "data.pkl"
        path.write_bytes(content)
        return read_pickle(path)

    return from_bytes
