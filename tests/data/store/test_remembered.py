"""What is computed from whole stores is computed once."""

import pytest

from dro_jax.data.split_fingerprint import split_fingerprint
from dro_jax.data.store import remembered as module
from dro_jax.data.store.remembered import remembered


@pytest.fixture
def parts(register, trajectories, monkeypatch):
    monkeypatch.setattr(module, "_WORTH_IT", 1)
    return [register(trajectories(n)).records("train") for n in (2, 3)]


def test_it_is_computed_once_for_the_same_parts_in_their_order(parts):
    assert remembered("sum", parts, lambda: "a") == "a"
    assert remembered("sum", parts, lambda: "b") == "a"
    assert remembered("sum", parts[::-1], lambda: "c") == "c"
    assert remembered("other", parts, lambda: "d") == "d"
    assert remembered("sum", parts[:1], lambda: "e") == "e"


def test_what_serves_one_process_is_not_kept(parts):
    parts[1].is_shared = False
    assert remembered("sum", parts, lambda: "a") == "a"
    assert remembered("sum", parts, lambda: "b") == "b"


def test_a_digest_that_is_kept_is_the_one_that_is_computed(
    register, trajectories, monkeypatch
):
    tasks = [register(trajectories(n)) for n in (4, 5)]
    lengths = {"inputs": 8, "targets": 8}
    computed = split_fingerprint(tasks, "train", lengths)
    monkeypatch.setattr(module, "_WORTH_IT", 1)
    assert split_fingerprint(tasks, "train", lengths) == computed
    assert split_fingerprint(tasks, "train", lengths) == computed
