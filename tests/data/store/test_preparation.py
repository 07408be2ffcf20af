"""Preparing: once, again after a kill, by several, and where nothing can be kept."""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from split_texts import prompts_of

from dro_jax.data.sources import JsonlSource, SeqioSource
from dro_jax.data.store import claims, folders, preparation, unit_writing
from dro_jax.errors import ConfigError, DataError

RECORD = {"prompt": "p", "response": "r", "reward": 1.0}


def _write(path, count, start=0):
    rows = [{**RECORD, "prompt": f"prompt {i}"} for i in range(start, start + count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def reads(monkeypatch):
    """The numbers of the units that are read."""
    read = []
    whole = JsonlSource.unit_records

    def unit_records(self, split, unit):
        read.append(unit.number)
        return whole(self, split, unit)

    monkeypatch.setattr(JsonlSource, "unit_records", unit_records)
    return read


def test_a_split_is_prepared_once(tmp_path, register_source, reads, stores):
    path = _write(tmp_path / "logs.jsonl", 5)
    first = register_source(JsonlSource({"train": path})).records("train")
    second = register_source(JsonlSource({"train": path})).records("train")
    assert reads == [0]
    assert prompts_of(second) == prompts_of(first)
    assert len(stores()) == 1
    left = {file.name for file in first.folder.iterdir()}
    assert left == {
        "manifest.json",
        "records.columns",
        "unit-000000.tokens",
        "unit-000000.texts",
        "unit-000000.dropped",
    }


def test_a_small_split_costs_little(tmp_path, register_source):
    path = _write(tmp_path / "logs.jsonl", 5)
    register_source(JsonlSource({"train": path})).records("train")
    times = []
    for i in range(5):
        task = register_source(JsonlSource({"train": _write(path, 5, start=i + 1)}))
        began = time.perf_counter()
        task.records("train")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.2


def test_a_pass_that_was_broken_off_goes_on_behind_it(
    tmp_path, register_source, small_units, reads, monkeypatch
):
    path = _write(tmp_path / "logs.jsonl", 12)
    task = register_source(JsonlSource({"train": path}))
    num_units = len(preparation.units(task, "train"))
    assert num_units > 4
    write = unit_writing.ShardWriter.commit

    def commit(self, facts):
        if self._unit.number == 2:
            raise KeyboardInterrupt
        write(self, facts)

    with monkeypatch.context() as patched:
        patched.setattr(unit_writing.ShardWriter, "commit", commit)
        with pytest.raises(KeyboardInterrupt):
            task.records("train")
    reads.clear()
    records = task.records("train")
    assert reads[1:] == list(range(2, num_units))  # the first is the templates' check
    assert prompts_of(records) == [f"prompt {i}" for i in range(12)]
    assert not list(records.folder.glob("*.partial"))


PROCESS = """
import sys, time
from dro_jax.data.sources import JsonlSource
from dro_jax.data.store import file_facts, unit_writing
from dro_jax.data.tasks import register_feedback_task

file_facts.UNIT_BYTES = 64
source = JsonlSource({"train": sys.argv[1]})
task = register_feedback_task("logs", source, vocabulary="byte")
commit = unit_writing.ShardWriter.commit

def stuck(self, facts):
    if self._unit.number == 2:
        print("unit 2", flush=True)
        time.sleep(600)
    commit(self, facts)

unit_writing.ShardWriter.commit = stuck
task.records("train")
"""


@pytest.mark.slow
def test_a_unit_of_a_process_that_was_killed_is_taken_over(
    tmp_path, register_source, small_units, reads
):
    path = _write(tmp_path / "logs.jsonl", 12)
    code = [sys.executable, "-c", PROCESS, str(path)]
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout.readline() == "unit 2\n"
        killed.send_signal(signal.SIGKILL)
    task = register_source(JsonlSource({"train": path}))
    began = time.monotonic()
    assert prompts_of(task.records("train")) == [f"prompt {i}" for i in range(12)]
    assert time.monotonic() - began < claims.SILENT_SECONDS / 4
    assert reads[1] == 2


def test_several_share_the_units_of_a_split(
    tmp_path, register_source, small_units, reads
):
    path = _write(tmp_path / "logs.jsonl", 60)
    tasks = [register_source(JsonlSource({"train": path})) for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda task: task.records("train"), tasks))
    assert [prompts_of(records)[-1] for records in found] == ["prompt 59"] * 3
    # Each begins with the first unit, to see whether templates name fields.
    units = preparation.units(tasks[0], "train")
    assert sorted(reads[:-1]) == [0] * 3 + list(range(len(units)))


def test_an_owner_that_is_silent_for_long_is_gone(tmp_path, monkeypatch):
    with claims.take(tmp_path, "unit"):
        assert claims.take(tmp_path, "unit") is None
        monkeypatch.setattr(claims, "process_world", lambda: "another computer")
        assert claims.take(tmp_path, "unit") is None
        long_ago = time.time() - 2 * claims.SILENT_SECONDS
        os.utime(tmp_path / "unit.claim", (long_ago, long_ago))
        with claims.take(tmp_path, "unit"):
            assert claims.any_taken(tmp_path)
    assert not claims.any_taken(tmp_path)


def test_units_can_be_written_anywhere_in_any_order(
    tmp_path, register_source, small_units, reads
):
    path = _write(tmp_path / "logs.jsonl", 12)
    task = register_source(JsonlSource({"train": path}))
    folder = preparation.store_folder(task, "train")
    units = preparation.units(task, "train")
    for unit in reversed(units):
        preparation.write_unit(task, "train", unit, folder)
        preparation.write_unit(task, "train", unit, folder)
    records = preparation.finish(task, "train", folder)
    assert prompts_of(records) == [f"prompt {i}" for i in range(12)]
    reads.clear()
    assert prompts_of(task.records("train")) == prompts_of(records)
    assert reads == []


def test_a_unit_that_is_missing_is_named(tmp_path, register_source, small_units):
    task = register_source(JsonlSource({"train": _write(tmp_path / "logs.jsonl", 12)}))
    folder = preparation.store_folder(task, "train")
    units = preparation.units(task, "train")
    for unit in units[1:]:
        preparation.write_unit(task, "train", unit, folder)
    with pytest.raises(DataError, match=r"unit-000000.*not been written"):
        preparation.finish(task, "train", folder)


@pytest.mark.parametrize(
    "change", [lambda path: _write(path, 4), lambda path: path.unlink()]
)
def test_a_file_that_changes_while_it_is_read_is_refused(
    change, tmp_path, register_source, monkeypatch
):
    path = _write(tmp_path / "logs.jsonl", 3)
    read = JsonlSource._records_of

    def records_of(self, path):
        yield from read(self, path)
        change(tmp_path / "logs.jsonl")

    monkeypatch.setattr(JsonlSource, "_records_of", records_of)
    task = register_source(JsonlSource({"train": path}))
    with pytest.raises(DataError, match="was changed while it was read"):
        task.records("train")


def test_bad_data_leave_no_store(tmp_path, register_source, prepared_dir):
    path = tmp_path / "logs.jsonl"
    path.write_text(json.dumps(RECORD) + "\n?\n")
    task = register_source(JsonlSource({"train": path}))
    for _ in range(2):
        with pytest.raises(DataError, match="line 2: the line is not JSON"):
            task.records("train")
    assert not list(prepared_dir.glob("train-*"))


def test_bad_data_that_another_process_met_are_told(
    tmp_path, register_source, small_units, monkeypatch
):
    path = _write(tmp_path / "logs.jsonl", 12)
    with path.open("a") as file:
        file.write("?\n")
    task = register_source(JsonlSource({"train": path}))
    folder = preparation.store_folder(task, "train")
    folder.mkdir(parents=True)
    last = preparation.units(task, "train")[-1]
    assert claims.take(folder, last.name)
    # It removes the folder, in which nobody else is at work any more.
    monkeypatch.setattr(
        preparation.time, "sleep", lambda seconds: shutil.rmtree(folder)
    )
    with pytest.raises(DataError, match="line 13: the line is not JSON"):
        task.records("train")


def test_a_source_of_unknown_contents_is_prepared_for_this_process(
    register_source, prepared_dir
):
    import seqio
    import tensorflow as tf

    def examples(split, shuffle_files, seed=None):
        rows = {name: [value] * 3 for name, value in RECORD.items()}
        return tf.data.Dataset.from_tensor_slices(rows)

    source = seqio.FunctionDataSource(examples, ["train"])
    records = register_source(SeqioSource(source, name="made")).records("train")
    assert prompts_of(records) == ["p"] * 3
    assert records.identity(2) == "made[train] record 2"
    assert not records.is_shared
    assert prepared_dir not in records.folder.parents


def test_a_folder_that_cannot_be_written_to_is_told(
    tmp_path, register_source, monkeypatch, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path / "file"))
    path = _write(tmp_path / "logs.jsonl", 3)
    assert len(register_source(JsonlSource({"train": path})).records("train")) == 3
    told = capsys.readouterr().err
    assert "prepared splits cannot be kept" in told
    assert "is a file" in told
    assert folders.VARIABLE in told


def test_a_store_in_a_folder_that_is_only_readable_is_used(
    tmp_path, register_source, monkeypatch, reads
):
    path = _write(tmp_path / "logs.jsonl", 3)
    os.utime(path, (1e9, 1e9))  # old, so that its facts are remembered
    first = register_source(JsonlSource({"train": path})).records("train")

    def read_only(folder, setting=""):
        raise ConfigError(f"{folder} cannot be written to: choose another")

    # Root writes everywhere, so the answer is given in the system's place.
    monkeypatch.setattr(folders.paths, "make_folder", read_only)
    folders._usable.cache_clear()
    again = register_source(JsonlSource({"train": path})).records("train")
    assert again.folder == first.folder
    assert reads == [0]


def test_a_full_disk_is_told_and_what_was_done_is_kept(
    tmp_path, register_source, small_units, monkeypatch, reads
):
    path = _write(tmp_path / "logs.jsonl", 12)
    task = register_source(JsonlSource({"train": path}))
    append = unit_writing.ShardWriter.write

    def write(self, records):
        if self._unit.number == 3:
            raise OSError(28, "No space left on device")
        append(self, records)

    with monkeypatch.context() as patched:
        patched.setattr(unit_writing.ShardWriter, "write", write)
        with pytest.raises(DataError, match=r"No space left on device\): make room"):
            task.records("train")
    reads.clear()
    assert len(task.records("train")) == 12
    assert reads[1] == 3


def test_a_large_pass_is_told_and_a_small_one_is_silent(
    tmp_path, register_source, monkeypatch, capsys
):
    path = _write(tmp_path / "logs.jsonl", 3)
    register_source(JsonlSource({"train": path})).records("train")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("dro_jax.data.store.progress._FIRST_SECONDS", -1.0)
    path = _write(tmp_path / "logs.jsonl", 4)
    task = register_source(JsonlSource({"train": path}), "told")
    folder = task.records("train").folder
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("note: preparing task 'told', split 'train': ")
    assert first.endswith(f"kept in {folder}")
    assert last.startswith("prepared task 'told', split 'train': 4 records in ")
