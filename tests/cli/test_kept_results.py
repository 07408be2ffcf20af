"""A command that was killed goes on: nothing lost, nothing twice, the same bytes."""

import json
import os

import pytest

from dro_jax.cli.kept_results import KeptResults
from dro_jax.cli.outputs import Output
from dro_jax.errors import ConfigError

SIZES = [3, 3, 2]
RESULTS = [{"n": n, "text": f"é\u2028{n}"} for n in range(8)]
OF = {"seed": "0", "checkpoint": "abc"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def partial(path):
    return path.with_name("out.jsonl.partial")


def opened(path, **changes):
    return KeptResults(Output.at("--output", path), OF | changes, SIZES)


def go_on(kept):
    """Adds the batches that are missing; gives all that are there."""
    begun = kept.num_batches
    for batch, size in list(enumerate(SIZES))[begun:]:
        kept.add(RESULTS[sum(SIZES[:batch]) :][:size])
    return begun, [kept.at(number) for number in range(kept.num_records)]


def whole(path, partial):
    with opened(path) as kept:
        assert go_on(kept) == (0, RESULTS)
    return partial.read_bytes()


def test_cut_anywhere_it_ends_as_if_it_had_not_been(path, partial):
    content = whole(path, partial)
    header = content.index(b"\n") + 1
    batches = set()
    for length in range(0, len(content) + 1, 5):
        partial.write_bytes(content[:length])
        with opened(path) as kept:
            begun, found = go_on(kept)
        assert found == RESULTS and partial.read_bytes() == content
        if length < header:
            assert begun == 0
        batches.add(begun)
    assert batches >= {0, 1, 2}


def test_what_a_failing_computer_did_not_write_is_computed_anew(path, partial):
    content = bytearray(whole(path, partial))
    at = content.index(b'{"n": 4')
    content[at : at + 20] = bytes(20)
    partial.write_bytes(content)
    with opened(path) as kept:
        assert go_on(kept) == (1, RESULTS)


def test_other_settings_are_named_and_nothing_is_lost(path, partial):
    content = whole(path, partial)
    with pytest.raises(ConfigError) as raised:
        opened(path, seed="1")
    assert "(kept → now): seed: 0 → 1. Go on with" in str(raised.value)
    assert partial.read_bytes() == content
    # Where nothing was computed yet, nothing is in the way.
    partial.write_bytes(content[: content.index(b"\n") + 1])
    with opened(path, seed="1") as kept:
        assert go_on(kept) == (0, RESULTS)


@pytest.mark.parametrize("foreign", [b"my own notes", b"a\nb\n", b"{}\n", b"[1]\n"])
def test_another_file_of_that_name_is_left_alone(path, partial, foreign):
    partial.write_bytes(foreign)
    with pytest.raises(ConfigError, match="was not written by this command"):
        opened(path)
    assert partial.read_bytes() == foreign


def test_two_commands_do_not_write_one_file(path):
    with opened(path) as kept:
        with pytest.raises(ConfigError, match="being written by another command"):
            opened(path)
        kept.delete()
    with opened(path):
        pass


def test_a_command_that_fails_says_what_is_kept(path, partial, capsys):
    with pytest.raises(RuntimeError), opened(path) as kept:
        kept.add(RESULTS[:3])
        raise RuntimeError
    assert "3 records of 8 are kept in" in capsys.readouterr().err
    with opened(path) as kept:
        assert (kept.num_batches, kept.num_records) == (1, 3)
    assert "3 records of 8 are in" in capsys.readouterr().err
    partial.unlink()
    with pytest.raises(RuntimeError), opened(path):
        raise RuntimeError
    assert os.listdir(path.parent) == []


def test_a_folder_that_takes_no_file_is_refused(path, partial):
    partial.mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        opened(path)


def test_it_lies_beside_what_a_link_leads_to(path, tmp_path):
    (tmp_path / "there").mkdir()
    path.symlink_to("there/real.jsonl")
    with opened(path) as kept:
        go_on(kept)
    header = (tmp_path / "there" / "real.jsonl.partial").read_bytes().split(b"\n")[0]
    assert json.loads(header)["of"] == OF
