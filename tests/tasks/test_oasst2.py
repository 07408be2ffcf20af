"""OASST2, from tables and trees in the published shapes that are made here."""

import gzip
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import task_runs
from published_files import REPLIES, TREE, label_columns, message, nested
from split_texts import prompts_of, responses_of

from dro_jax.data.tasks import feedback_task
from dro_jax.errors import DataError
from dro_jax.tasks.oasst2 import TASKS, oasst2_task


def _table(number, lang):
    """The messages of a small tree as the columns that the tables have."""
    ask, reply = f"{number}0", f"{number}1"
    tree = {"lang": lang, "message_tree_id": f"m{ask}", "emojis": None}
    return [
        message(ask, None, "prompter", f"Ask {number}?", labels=None, **tree),
        message(
            reply,
            ask,
            "assistant",
            f"Reply {number}.",
            labels=label_columns(number / 8),
            **tree,
        ),
    ]


@pytest.fixture
def tables(data_folder):
    folder = data_folder / "oasst2" / "data"
    folder.mkdir(parents=True)
    for split, numbers in (("train", range(1, 7)), ("validation", (7, 8))):
        rows = [row for n in numbers for row in _table(n, "en" if n % 2 else "de")]
        path = folder / f"{split}-00000-of-00001-0123456789abcdef.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_splits_are_those_that_are_published(tables):
    task = feedback_task(oasst2_task("oasst2"))
    train = task.records("train")
    assert list(train.rewards) == [n / 8 for n in range(1, 7)]
    assert prompts_of(train)[0] == "Human: Ask 1?\n\nAssistant:"
    assert list(responses_of(task.records("validation"))) == ["Reply 7.", "Reply 8."]
    english = feedback_task(oasst2_task("oasst2_english")).records("train")
    assert list(english.rewards) == [1 / 8, 3 / 8, 5 / 8]


def test_a_tree_is_in_one_split(data_folder):
    folder = data_folder / "oasst2"
    folder.mkdir()
    trees = []
    for number in range(60):
        tree = {"message_tree_id": "m1", "prompt": nested(1)}
        tree["prompt"]["text"] = f"Where is {number}?"
        trees.append(tree)
    text = "".join(json.dumps(tree) + "\n" for tree in trees)
    path = folder / "2023-11-05_oasst2_ready.trees.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode()))
    task = feedback_task(oasst2_task("oasst2_trees"))
    count, first = 0, []
    for split in ("train", "validation"):
        records = task.records(split)
        count += len(records)
        firsts = {text.partition("?")[0] for text in prompts_of(records)}
        assert len(records) == len(REPLIES) * len(firsts) > 0
        first.append(firsts)
    assert count == 60 * len(REPLIES)
    assert not first[0] & first[1]
    assert len(TREE) == 7  # of which one is unrated and one deleted
    # What was deleted is of no split, and counts in both.
    reasons = {"missing_field": len(first[0]), "deleted": 60}
    assert task.record_report().reasons() == reasons


@pytest.mark.parametrize(
    ("name", "file"), [("oasst2", r"data/train\*"), ("oasst2_trees", "ready.trees")]
)
def test_without_files_people_are_told_where_to_get_them(data_folder, name, file):
    told = rf"no file matches .*{file}.*: .*OpenAssistant/oasst2.*DRO_JAX_DATA"
    with pytest.raises(DataError, match=told):
        list(TASKS[name].source().records("train"))


def test_the_run_takes_steps(tables, tmp_path):
    run = ["gin_configs/runs/paper/oasst2.gin"]
    assert task_runs.objective_of(run) == "DROV"
    assert np.isfinite(task_runs.cloned(run, tmp_path / "run", draws=False))
