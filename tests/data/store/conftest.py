"""A folder of stores for each test, and small units of work."""

import pytest

from dro_jax.data.store import file_facts, folders


@pytest.fixture(autouse=True)
def prepared_dir(tmp_path, monkeypatch):
    """The folder of stores."""
    folder = tmp_path / "prepared"
    monkeypatch.setenv(folders.VARIABLE, str(folder))
    return folder


@pytest.fixture
def small_units(monkeypatch):
    """Units of 64 bytes and the line that they end in."""
    monkeypatch.setattr(file_facts, "UNIT_BYTES", 64)


@pytest.fixture
def stores(prepared_dir):
    """The folders of all stores."""
    return lambda: sorted(prepared_dir.glob("*-*/manifest.json"))
