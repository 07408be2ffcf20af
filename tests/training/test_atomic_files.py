"""Files that are new or not written, where the file system has links and where not."""

import errno
import os
import threading

import pytest

from dro_jax.errors import CheckpointError
from dro_jax.training.atomic_files import claim_folder, write_whole


@pytest.fixture(params=["links", "no links"])
def file_system(request, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "not permitted")

    if request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)


def test_a_new_file_replaces_none(file_system, tmp_path):
    for content in (b"first", b"second"):
        write_whole(tmp_path / "x", lambda file, c=content: file.write(c), new=True)
    assert (tmp_path / "x").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_of_two_keys_at_once_one_claims_the_folder(file_system, tmp_path):
    start, refused = threading.Barrier(2), []

    def claim(value):
        start.wait()
        try:
            claim_folder(tmp_path / "f", {"k": value}, "this was made", "Go away")
        except CheckpointError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=claim, args=(value,)) for value in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1 and "Go away" in refused[0]
