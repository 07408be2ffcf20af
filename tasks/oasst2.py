"""OASST2: OpenAssistant's message trees, each reply of an assistant with people's labels.

- `oasst2`: the published tables of messages, with the published splits; `oasst2_english`:
  the replies in English alone, for vocabularies that have no other letters, as T5's.
- `oasst2_trees`: the published file of trees. It has no splits: one tree in twenty is for
  validation, by a hash of its first message, the same ones always.

The prompt is the thread up to the reply. The reward is `quality`, the mean label, 0 to 1;
`reward_field` may name another, as `helpfulness`, `creativity`, `humor`, `toxicity` or
`violence`. Rewards are normalised to mean 0 and variance 1 over the split `train`.
Replies without the label, or below a deleted message, are left out, counted and listed.

Files, in the folder that the environment variable `DRO_JAX_DATA` names: `oasst2/data/` with
`train-….parquet` and `validation-….parquet`, or `oasst2/` with
`2023-11-05_oasst2_ready.trees.jsonl.gz`.

Source: Köpf et al. 2023 (arXiv 2304.07327).
"""

from collections.abc import Iterator
from typing import Any

from dro_jax.data.hashed_splits import split_by_text
from dro_jax.data.layouts import find_layout
from dro_jax.data.record_source import RecordSource
from dro_jax.data.sources import ExpandedSource
from dro_jax.tasks.published import PublishedTask, published_files, task_of_run

_LAYOUT = find_layout("oasst2")
_SETTINGS = {**_LAYOUT.settings, "reward_transform": "normalize"}
_SPLITS = ("train", "validation")
_HUB = "https://huggingface.co/datasets/OpenAssistant/oasst2"
_TABLES = (
    f"copy the folder data of {_HUB}, with train-….parquet and validation-….parquet, into "
    "the folder oasst2."
)
_TREES = (
    f"copy 2023-11-05_oasst2_ready.trees.jsonl.gz of {_HUB} into the folder oasst2."
)
_ONE_IN = 20


def _messages() -> RecordSource:
    files = {split: f"oasst2/data/{split}*" for split in _SPLITS}
    return _LAYOUT.source(published_files(files, _TABLES))


def _english() -> RecordSource:
    splits = {split: (split, _is_english) for split in _SPLITS}
    return ExpandedSource(_messages(), _as_it_is, splits)


def _trees() -> RecordSource:
    stored = published_files({"all": "oasst2/*ready.trees.jsonl*"}, _TREES)
    return split_by_text(_LAYOUT.source(stored), _first_message, _ONE_IN)


def _is_english(fields: Any) -> bool:
    return fields.get("lang") == "en"


def _as_it_is(fields: Any) -> Iterator[tuple[str, Any]]:
    yield "", fields


def _first_message(fields: Any) -> Any:
    return fields["messages"][0]["content"]


TASKS = {
    task.name: task
    for task in (
        PublishedTask(
            "oasst2",
            "Replies of people who play the assistant, with people's labels, by quality.",
            _messages,
            _SETTINGS,
        ),
        PublishedTask(
            "oasst2_english",
            "The same, the replies in English alone.",
            _english,
            _SETTINGS,
        ),
        PublishedTask(
            "oasst2_trees",
            "The same from the file of message trees.",
            _trees,
            _SETTINGS,
        ),
    )
}
for _task in TASKS.values():
    _task.register()


def oasst2_task(task: str = "oasst2_english", **settings: Any) -> str:
    """The name of one of these tasks with a run's settings.

    Args:
      task: `oasst2`, `oasst2_english` or `oasst2_trees`.
      **settings: those of `dro_jax.tasks.published.task_of_run`, as `reward_field`.

    Raises:
      ConfigError: as there.
    """
    return task_of_run(TASKS, "oasst2_task", task, **settings)
