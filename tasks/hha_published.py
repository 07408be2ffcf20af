"""HHA from Anthropic's own files, with thumbs, or with a reward of your choice.

`hha_published`: each dialogue's last reply is a record. The chosen reply counts as a thumb
up and the rejected one as a thumb down, or, with `scored_by`, as much as a reward says: a
reward model, a classifier, a server, a program. Of the files for training one prompt in
ten is for validation, the same ones always; Anthropic's test files are the split `test`.

Files, in the folder that the environment variable `DRO_JAX_DATA` names:
`hh-rlhf/NAME/train.jsonl.gz` and `hh-rlhf/NAME/test.jsonl.gz` of the NAMEs that are there
(`harmless-base`, `helpful-base`, `helpful-online`, `helpful-rejection-sampled`), as
published.

Source of the files: Bai et al. 2022 (arXiv 2204.05862).
"""

from typing import Any

from dro_jax.data.layouts.pairs import expand_dialogues
from dro_jax.data.record_source import RecordSource
from dro_jax.data.sources import ExpandedSource
from dro_jax.tasks.hha import in_any, in_train, in_validation
from dro_jax.tasks.published import (
    PublishedTask,
    published_files,
    task_of_run,
)

_PUBLISHED = (
    "copy the folders of https://huggingface.co/datasets/Anthropic/hh-rlhf "
    "(harmless-base, helpful-base, …) into the folder hh-rlhf."
)


def _pairs() -> RecordSource:
    files = {split: f"hh-rlhf/*/{split}.jsonl*" for split in ("train", "test")}
    return ExpandedSource(
        published_files(files, _PUBLISHED),
        expand_dialogues,
        {
            "train": ("train", in_train),
            "validation": ("train", in_validation),
            "test": ("test", in_any),
        },
    )


TASKS = {
    "hha_published": PublishedTask(
        "hha_published",
        "Anthropic's dialogues: the chosen reply a thumb up, the rejected a thumb down.",
        _pairs,
        {"reward_kind": "thumbs"},
    )
}
for _task in TASKS.values():
    _task.register()


def hha_task(task: str = "hha_published", **settings: Any) -> str:
    """The name of the task with a run's settings.

    Args:
      task: `hha_published`.
      **settings: those of `dro_jax.tasks.published.task_of_run`; `scored_by` is a reward
        in the thumbs' place.

    Raises:
      ConfigError: as there.
    """
    return task_of_run(TASKS, "hha_task", task, **settings)
