"""What the tests of tasks over published files share."""

import pytest
import seqio
import task_runs


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """An empty folder of published files, named as people name it.

    Tasks that a run makes of it are taken out of the registry again.
    """
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("DRO_JAX_DATA", str(folder))
    before = set(seqio.TaskRegistry.names())
    yield folder
    task_runs.forget(before)
