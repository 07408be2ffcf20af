import json
import math
import multiprocessing
import os
import signal
import threading

import pytest

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards.score_cache import MISSING, ScoreCache

VALUES = [
    0.1 + 0.2,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    3,
    None,
    "naïve\u2028\ud83d \x00",
    {"total": 1 / 3, "parts": {"a": [1, 2.5]}},
    [],
]


def test_values_are_read_back_exactly(tmp_path):
    with ScoreCache("scorer", tmp_path) as cache:
        for n, value in enumerate(VALUES):
            cache.put(("prompt", str(n)), value)
    again = ScoreCache("scorer", tmp_path)
    found = again.get_many(("prompt", str(n)) for n in range(len(VALUES)))
    assert found == VALUES and math.copysign(1, found[1]) == -1
    assert len(again) == len(VALUES)


def test_texts_and_fingerprints_tell_values_apart(tmp_path):
    cache = ScoreCache("scorer", tmp_path)
    texts = [("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", ""), ("\ud800", ""), ()]
    for n, item in enumerate(texts):
        cache.put(item, n)
    assert cache.get_many(texts) == list(range(len(texts)))
    assert cache.get("a", "b") is MISSING
    assert ScoreCache("scorer 2", tmp_path).get_many(texts) == [MISSING] * len(texts)
    cache.close()


def test_a_file_cut_or_damaged_at_any_byte_costs_those_lines_alone(tmp_path, capsys):
    with ScoreCache("scorer", tmp_path) as cache:
        for n in range(3):
            cache.put(("p", str(n)), n + 0.5)
    (path,) = cache.folder.iterdir()
    data = path.read_bytes()
    ends = [n for n, byte in enumerate(data, 1) if byte == ord("\n")]

    def found():
        return ScoreCache("scorer", tmp_path).get_many(("p", str(n)) for n in range(3))

    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        assert found() == [0.5, 1.5, 2.5][:whole] + [MISSING] * (3 - whole)
    capsys.readouterr()
    for place in range(ends[0], ends[1]):  # every byte of the second line
        for byte in (0, data[place] ^ 1, ord("\n")):
            if byte != data[place]:
                path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
                values = found()
                assert values[0] == 0.5 and values[1] is MISSING
                # Without its end, a line takes the next one with it.
                assert values[2] == 2.5 or place == ends[1] - 1
    assert "cannot be read, as after a crash" in capsys.readouterr().err


def _writes(folder, process, ready):
    cache = ScoreCache("scorer", folder)
    ready.wait()
    for n in range(200):
        cache.put(("shared", str(n)), [n, "x" * 500])
        cache.put((f"own {process}", str(n)), n)
    if process == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def test_several_processes_at_once_lose_nothing_one_of_them_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    workers = [
        context.Process(target=_writes, args=(str(tmp_path), n, ready))
        for n in range(3)
    ]
    with ScoreCache("scorer", tmp_path) as open_before:
        for worker in workers:
            worker.start()
        ready.set()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [-signal.SIGKILL, 0, 0]
        # What was open sees what others have added.
        for cache in (open_before, ScoreCache("scorer", tmp_path)):
            shared = cache.get_many(("shared", str(n)) for n in range(200))
            assert shared == [[n, "x" * 500] for n in range(200)]
            for process in range(3):
                own = cache.get_many((f"own {process}", str(n)) for n in range(200))
                assert own == list(range(200))


def test_threads_may_share_one(tmp_path):
    cache = ScoreCache("scorer", tmp_path)

    def put(thread):
        for n in range(100):
            cache.put((str(thread), str(n)), [thread, n])

    threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.close()
    again = ScoreCache("scorer", tmp_path)
    items = [(thread, n) for thread in range(8) for n in range(100)]
    found = again.get_many((str(thread), str(n)) for thread, n in items)
    assert found == [list(item) for item in items]


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {1, 2}, b"x"])
def test_what_is_no_json_is_refused(value, tmp_path):
    cache = ScoreCache("scorer", tmp_path)
    with pytest.raises(DataError, match="cannot be kept as JSON"):
        cache.put(("p", "r"), value)
    assert cache.get("p", "r") is MISSING and not list(cache.folder.iterdir())


def test_lines_are_json_that_holds_no_text(tmp_path):
    with ScoreCache("scorer", tmp_path) as cache:
        cache.put(("my prompt", "my response"), {"total": 1.5})
    (path,) = cache.folder.iterdir()
    line = json.loads(path.read_text())
    assert line["key"] == cache.key(("my prompt", "my response"))
    assert line["value"] == {"total": 1.5} and "my" not in path.read_text()


def test_a_cut_write_is_taken_back(tmp_path, monkeypatch):
    cache = ScoreCache("scorer", tmp_path)
    cache.put(("p", "0"), 0)
    write = os.write

    def full(file, data):
        if len(data) > 30:
            return write(file, data[:30])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", lambda file, data: full(file, data[:31]))
    with pytest.raises(
        ConfigError, match="No space left on device.*DRO_JAX_SCORES_DIR"
    ):
        cache.put(("p", "1"), 1)
    monkeypatch.undo()
    cache.put(("p", "2"), 2)
    cache.close()
    again = ScoreCache("scorer", tmp_path)
    assert again.get_many(("p", str(n)) for n in range(3)) == [0, MISSING, 2]


def test_the_folder_is_the_users_unless_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DRO_JAX_SCORES_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert ScoreCache("s").folder.parent == tmp_path / "caches" / "dro_jax" / "scores"
    monkeypatch.setenv("DRO_JAX_SCORES_DIR", str(tmp_path / "mine"))
    assert ScoreCache("s").folder.parent == tmp_path / "mine"
    assert ScoreCache("s", tmp_path / "given").folder.parent == tmp_path / "given"
    with pytest.raises(ConfigError, match="cannot be kept at gs://"):
        ScoreCache("s", "gs://bucket/scores")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file.*DRO_JAX_SCORES_DIR"):
        ScoreCache("s", tmp_path / "file")
