"""`dro-jax tasks prepare`: splits prepared ahead, by one process, several, or Beam."""

import json
import sys

import numpy as np
import pytest
import seqio

from dro_jax.cli.main import main
from dro_jax.data.sources import JsonlSource
from dro_jax.data.store import folders
from dro_jax.data.tasks import feedback_task, register_feedback_task

MODULE = """
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task

register_feedback_task(
    "made_in_parts",
    JsonlSource({{"train": {files}, "validation": {files}[:1]}}),
    vocabulary="byte",
    on_bad_record="drop",
)
"""


@pytest.fixture
def files(tmp_path):
    """Two files, a bad record in each."""
    paths = []
    for name in "ab":
        records = [
            {"prompt": f"{name} {i}", "response": "yes" * (i % 5), "reward": i / 4}
            for i in range(1, 8)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        paths.append(str(path))
    return paths


@pytest.fixture
def module(files, tmp_path, monkeypatch):
    """The name of a module that registers the files as the task `made_in_parts`."""
    name = "module_of_made_in_parts"
    (tmp_path / f"{name}.py").write_text(MODULE.format(files=files))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    yield name
    sys.modules.pop(name, None)
    if "made_in_parts" in seqio.TaskRegistry.names():
        seqio.TaskRegistry.remove("made_in_parts")


@pytest.fixture
def prepare(module, tmp_path, capsys):
    """Runs the command; its report, or its status and message."""

    def run(*flags, folder="prepared"):
        path = tmp_path / "report.json"
        status = main(
            ["tasks", "prepare", f"--module={module}", f"--json={path}", *flags]
            + [f"--prepared_dir={tmp_path / folder}"]
        )
        run.out, run.err = capsys.readouterr()
        return json.loads(path.read_text()) if status == 0 else status

    yield run
    folders.set_prepared_dir(None)


def _columns(split):
    records = feedback_task("made_in_parts").source.records(split)
    positions = np.arange(len(records))
    return [
        records.rewards,
        records.indices,
        records.prompt_hashes,
        *(records.tokens(positions, side) for side in ("inputs", "targets")),
        [records.identity(position) for position in positions],
    ]


def test_all_splits_are_prepared_once(prepare, tmp_path):
    first = prepare("made_in_parts")
    assert [(one["split"], one["num_read"], one["num_kept"]) for one in first] == [
        ("train", 14, 12),
        ("validation", 7, 6),
    ]
    assert all(one["folder"].startswith(str(tmp_path / "prepared")) for one in first)
    assert prepare.out.count("is prepared, in") == 2
    assert prepare("made_in_parts", "--split=validation") == first[1:]
    assert prepare.out.count("was prepared already") == 1


@pytest.mark.slow
def test_processes_share_the_work(prepare):
    alone = prepare("made_in_parts", "--split=train")
    shared = prepare("made_in_parts", "--split=train", "--workers=2", folder="other")
    assert "starting 1 more process" in prepare.err
    assert shared[0]["num_kept"] == alone[0]["num_kept"] == 12


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["made_in_parts", "--split=test"],
            "has no split 'test': its splits are train",
        ),
        (["made_in_parts", "--workers=0"], "--workers = 0: give 1 or more"),
        (["made_in_parts", "--png=x.png"], "--png has no effect"),
        (["made_in_parts", "--layout=pairs"], "--layout has no effect"),
        (["made_in_parts", "--project=x"], "'--project=x' is not a flag"),
        (["made_in_parts", "--runner=DirectRunner", "--workers=2"], "--workers has no"),
        ([], "`dro-jax tasks prepare` needs a task's or mixture's name"),
        (["made_in_prts"], "Near names: made_in_parts"),
    ],
)
def test_what_cannot_be_done_is_said(prepare, flags, message):
    assert prepare(*flags) == 2
    assert message in prepare.err


def test_flags_of_prepare_are_its_own(capsys):
    assert main(["tasks", "list", "--workers=2"]) == 2
    assert "--workers has no effect with `tasks list`" in capsys.readouterr().err


def test_a_source_of_unknown_contents_cannot_be_prepared_for_others(prepare):
    def records(split, shuffle_files, seed=None):
        raise AssertionError("nothing is read")

    source = seqio.FunctionDataSource(records, splits=["train"])
    register_feedback_task("made_by_a_function", source, vocabulary="byte")
    try:
        assert prepare("made_by_a_function") == 2
    finally:
        seqio.TaskRegistry.remove("made_by_a_function")
    assert "cannot be prepared for other runs" in prepare.err


def test_without_beam_it_is_said_how_to_have_it(prepare, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert prepare("made_in_parts", "--runner=DirectRunner") == 2
    assert "pip install 'dro-jax[beam]'" in prepare.err


class TestBeam:
    @pytest.fixture(autouse=True)
    def beam(self):
        reason = "Apache Beam is not installed: pip install 'dro-jax[beam]'"
        pytest.importorskip("apache_beam", reason=reason)

    def test_a_pipeline_makes_the_same_store(self, prepare):
        alone = prepare("made_in_parts")
        expected = _columns("train")
        feedback_task("made_in_parts").source._records.clear()
        by_beam = prepare(
            "made_in_parts", "--runner=DirectRunner", "--no_such=1", folder="other"
        )
        assert "a pipeline of 2 parts on DirectRunner" in prepare.err
        for one, other in zip(alone, by_beam, strict=True):
            assert one.pop("folder") != other.pop("folder")
            assert one == other
        for one, other in zip(expected, _columns("train"), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_a_bad_record_is_named(self, prepare, files, tmp_path):
        register_feedback_task(
            "made_strict", JsonlSource({"train": files}), vocabulary="byte"
        )
        try:
            assert prepare("made_strict", "--runner=DirectRunner") == 2
        finally:
            seqio.TaskRegistry.remove("made_strict")
        assert "a.jsonl line 5: the response is empty. Correct" in prepare.err
        assert "Traceback" not in prepare.err
        assert not list((tmp_path / "prepared").rglob("unit-*"))

    def test_an_unknown_runner_is_named(self, prepare):
        assert prepare("made_in_parts", "--runner=NoRunner") == 2
        assert "--runner NoRunner" in prepare.err

    @pytest.mark.slow
    def test_workers_that_are_other_processes(self, prepare):
        (report,) = prepare(
            "made_in_parts",
            "--split=train",
            "--runner=DirectRunner",
            "--direct_num_workers=2",
            "--direct_running_mode=multi_processing",
        )
        assert report["num_kept"] == 12
