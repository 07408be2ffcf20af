"""What can be wrong with a storage, and that no password is told."""

import socket
import sqlite3
import sys
import time

import pytest
import sqlalchemy

from dro_jax.errors import ConfigError, StorageError
from dro_jax.sweeps import postgresql, storage_lock
from dro_jax.sweeps.storage import shown, storage_url
from dro_jax.sweeps.trial_store import open_store


def test_addresses(tmp_path):
    assert storage_url(None, tmp_path).database == str(tmp_path / "sweep.sqlite3")
    for given in ("postgres://me@host/db", "postgresql://me@host/db"):
        url = storage_url(given, tmp_path)
        assert shown(url) == "postgresql+psycopg://me@host/db"
    chosen = storage_url("postgresql+psycopg2://host/db", tmp_path)
    assert chosen.drivername == "postgresql+psycopg2"


def test_passwords_are_hidden(tmp_path):
    url = storage_url("postgresql://me:ge{h}eim@host/db?sslpassword=auch", tmp_path)
    assert url.password == "ge{h}eim"
    assert shown(url) == "postgresql+psycopg://me:***@host/db?sslpassword=hidden"


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("my trials:geheim", "--storage is no database's address"),
        ("mysql://me:geheim@host/db", "mysql://me:***@host/db: mysql is not known"),
        ("sqlite://", "is kept in memory"),
        ("sqlite:///:memory:", "is kept in memory"),
    ],
)
def test_what_is_no_storage(tmp_path, url, wrong):
    with pytest.raises(ConfigError) as refused:
        open_store(url, tmp_path, "sweep")
    assert wrong in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(StorageError) as refused:
        open_store("postgresql://me:geheim@127.0.0.1:1/db", tmp_path, "sweep")
    assert "//me:***@127.0.0.1:1/db cannot be used: " in str(refused.value)
    assert "onnection refused" in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_a_driver_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'dro-jax\[postgresql\]'"):
        open_store("postgresql://me@host/db", tmp_path, "sweep")


def test_optuna_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'dro-jax\[sweep\]'"):
        open_store(None, tmp_path, "sweep")


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "sweep.sqlite3").write_text("trials, " * 1000)
    with pytest.raises(StorageError, match="file is not a database"):
        open_store(None, tmp_path, "sweep")
    with pytest.raises(StorageError, match="No such file or directory"):
        open_store(f"sqlite:///{tmp_path}/none/trials.sqlite3", tmp_path, "sweep")


def test_tables_of_another_version(tmp_path):
    open_store(None, tmp_path, "sweep")
    with sqlite3.connect(tmp_path / "sweep.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    connection.close()
    with pytest.raises(StorageError, match="pip install -U optuna"):
        open_store(None, tmp_path, "sweep")


def test_a_lock_that_somebody_keeps(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_lock, "_PATIENCE", 0.05)
    url = sqlalchemy.URL.create("sqlite", database=str(tmp_path / "trials.sqlite3"))
    lock = storage_lock.lock_of(url)
    with lock(), pytest.raises(StorageError, match="is paused or hangs"), lock():
        pass
    with lock():
        pass


def test_a_server_that_does_not_answer_is_waited_for_so_long(tmp_path, monkeypatch):
    pytest.importorskip("psycopg", reason="needs the extra postgresql")
    monkeypatch.setattr(postgresql, "_CONNECT_SECONDS", 2)  # libpq's least
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port, began = silent.getsockname()[1], time.monotonic()
        url = f"postgresql://me@127.0.0.1:{port}/db"
        with pytest.raises(StorageError, match="cannot be used: .*timeout"):
            open_store(url, tmp_path, "sweep").__enter__()
        assert time.monotonic() - began < 60


def test_time_limits_that_are_given_hold(monkeypatch):
    url = sqlalchemy.make_url("postgresql://host/db?connect_timeout=90")
    found = postgresql.connect_args(url)
    assert "connect_timeout" not in found and found["keepalives_idle"] == 10
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "60")
    url = sqlalchemy.make_url("postgresql://host/db?keepalives_idle=600")
    assert not {"connect_timeout", "keepalives_idle"} & set(
        postgresql.connect_args(url)
    )
