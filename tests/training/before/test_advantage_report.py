"""What is left over of a log, by hand."""

import json

import numpy as np
import pytest
import seqio
from array_data import ArrayDataset

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.records_in_words import MOST_VALUES, OTHERS, labels_of
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.training.before.advantage_report import AdvantageReport, Share

# Reward, where it is from; one record is bad and left out.
LOG = [(1.0, "chat"), (3.0, "mail"), (None, "mail"), (2.0, "chat"), (5.0, None)]


@pytest.fixture
def data(tmp_path):
    """A mixture of a task that says where records are from, and one that does not."""
    names = ("own_log", "other_log")
    lines = [
        {"prompt": f"p{n}", "response": f"r{n}", "reward": reward, "from": source}
        for n, (reward, source) in enumerate(LOG)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, field in zip(names, ("from", None), strict=True):
        register_feedback_task(
            name,
            JsonlSource({"train": path}),
            vocabulary="byte",
            on_bad_record="drop",
            source_field=field,
        )
    seqio.MixtureRegistry.add("both_logs", names, default_rate=1.0)
    yield DatasetConfig("both_logs", {"inputs": 8, "targets": 8})
    seqio.MixtureRegistry.remove("both_logs")
    for name in names:
        seqio.TaskRegistry.remove(name)


def test_the_leftover_is_told_by_task_and_by_field(data):
    records = data.prompt_records()
    # In the order of the mixture's tasks by name: other_log, then own_log.
    assert records.rewards.tolist() == [1, 3, 2, 5] * 2
    values = np.array([2, 2, 2, 2, 4, 2, 1, 4], np.float32)
    advantages = records.rewards - values  # -1 1 0 3 | -3 1 1 1
    report = AdvantageReport.of(data, advantages, records.rewards)
    assert (report.leftover, report.advantages.count) == (5, 8)
    assert report.shares == (
        Share("task", "other_log", 4, 2, 0.75),
        Share("task", "own_log", 4, 3, 0.0),
        Share("from", "chat", 2, 1, -1.0),
        Share("from", "mail", 1, 1, 1.0),
        Share("from", "not said", 1, 1, 1.0),
    )
    first, *_ = report.most
    assert first["identity"].endswith("log.jsonl line 5") and len(report.most) == 8
    told = {key: first[key] for key in ("task", "prompt", "response", "value")}
    assert told == {"task": "other_log", "prompt": "p4", "response": "r4", "value": 2}
    least = [(x["task"], x["prompt"], x["advantage"]) for x in report.least[:3]]
    assert least == [
        ("own_log", "p0", -3),
        ("other_log", "p0", -1),
        ("other_log", "p3", 0),
    ]
    head, *others = report.text().splitlines()
    assert "62.5% of 8 records left over" in head and "both_logs" in head
    assert others[0] == "  task other_log   50.0% of 4, mean +0.750"
    assert len(others) == 5
    # What a run keeps is JSON, the same when it is read again.
    assert json.loads(json.dumps(report.to_json()))["shares"][1]["leftover"] == 3


def test_many_sources_are_told_apart_up_to_some(data, monkeypatch):
    task = data.tasks()[1]
    values = iter([f"page {n}" for n in range(5)])
    monkeypatch.setattr("dro_jax.data.records_in_words.MOST_VALUES", 2)
    monkeypatch.setattr("dro_jax.data.records_in_words._values", lambda *_: values)
    assert task.name == "own_log" and MOST_VALUES > 2
    _, field = labels_of(data)
    assert field.names == ("page 0", "page 1", OTHERS)
    assert field.codes.tolist() == [-1] * 4 + [0, 1, 2, 2]


def test_data_that_are_made_of_no_tasks_have_figures_alone():
    data = ArrayDataset()
    rewards = data.prompt_records().rewards
    report = AdvantageReport.of(data, rewards * 0.5, rewards)
    assert report.shares == report.most == report.least == ()
    assert report.leftover == np.count_nonzero(rewards > 0)
    assert report.histogram.values == (-0.5, 0.5)
