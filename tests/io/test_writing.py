"""A file is replaced when the new one is complete, and is unchanged after an error."""

import resource
import subprocess
import sys

import pytest

from infomax import atomic_write


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_complete_file_replaces_the_previous_one(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_an_error_leaves_the_previous_file(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(tmp_path / "a") as file:  # noqa: PT012 - both raise
        file.write(b"half")
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_link_still_points_to_its_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_is_reported_with_the_name_of_the_file(tmp_path, exists):
    path = tmp_path / "a"
    if exists:
        path.write_bytes(b"old")
    code = "import sys; from infomax import atomic_write\nwith atomic_write(sys.argv[1]) as f: f.write(bytes(5000))"
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))}
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False, **limited)
    state = "the previous file is kept" if exists else "there is no file"
    assert done.stderr.splitlines()[-1] == f"OSError: [Errno 27] cannot be written: File too large; {state}: '{path}'"
    assert names(tmp_path) == ["a"] * exists
    assert not exists or path.read_bytes() == b"old"


def test_one_of_two_files_that_fails_is_the_one_that_is_named(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left; there is no file: '.*b'"),
        atomic_write(tmp_path / "a"),
        atomic_write(tmp_path / "b"),
    ):
        raise OSError(28, "No space left")
    assert names(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"No such file or directory; there is no file: '.*none/a'"),
        atomic_write(tmp_path / "none" / "a"),
    ):
        pass
