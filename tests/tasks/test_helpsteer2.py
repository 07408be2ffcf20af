"""HelpSteer2, from files in NVIDIA's shape that are made here."""

import gzip
import json

import numpy as np
import pytest
import task_runs
from published_files import PUBLISHED
from split_texts import prompts_of

from dro_jax.data.tasks import feedback_task
from dro_jax.errors import DataError
from dro_jax.tasks.helpsteer2 import TASKS, helpsteer2_task

ROWS, TRAJECTORIES = PUBLISHED["helpsteer2"]


@pytest.fixture
def published(data_folder):
    folder = data_folder / "helpsteer2"
    folder.mkdir()
    marks = [{**row, "helpfulness": i % 5} for i, row in enumerate(ROWS * 5)]
    for split, rows in (("train", marks), ("validation", ROWS[:1])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(text.encode()))


def test_splits_are_those_that_are_published(published):
    task = feedback_task(helpsteer2_task())
    train = task.records("train")
    assert list(prompts_of(train))[:2] == [prompt for prompt, _, _ in TRAJECTORIES]
    assert list(train.rewards) == [0, 1, 2, 3, 4] * 2
    assert list(task.records("validation").rewards) == [3.0]
    figures = task.statistics().transformed
    assert (figures.mean, figures.std) == pytest.approx((0, 1), abs=1e-6)


def test_without_files_people_are_told_where_to_get_them(data_folder):
    told = r"no file matches .*helpsteer2/train\*: .*nvidia/HelpSteer2.*DRO_JAX_DATA"
    with pytest.raises(DataError, match=told):
        list(TASKS["helpsteer2"].source().records("train"))


def test_the_run_takes_steps_by_another_attribute(published, tmp_path):
    run = ["gin_configs/runs/paper/helpsteer2.gin"]
    assert task_runs.objective_of(run) == "DROV"
    verbose = ("REWARD_FIELD = 'verbosity'", "REWARD_TRANSFORM = 'none'")
    assert np.isclose(
        task_runs.cloned(run, tmp_path / "run", *verbose, draws=False), 1.0
    )
