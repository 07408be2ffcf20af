"""Dialogues about a passage: A-LoL's task on Wizard of Wikipedia and FaithDial.

- `wizard_of_wikipedia`: ParlAI's files, a wizard who reads Wikipedia and an apprentice.
- `faithdial`: the same dialogues, where people rewrote what the passage does not say.
- `faithdial_wow`: the mixture of both, each record of both once an epoch.

The prompt is the sentence that the wizard chose and the dialogue so far, its turns tagged
`Apprentice:` and `Wizard:`, the response the wizard's reply. Of the dialogue the oldest
turns are left out where it has more than 300 words, so that a prompt of 512 tokens keeps its
knowledge. The files hold no rewards: each reply is scored as a split is prepared, by
:func:`dro_jax.tasks.dialogue_rewards.dialogue_reward`, or any other reward.

Splits of Wizard of Wikipedia are `train`, `validation` and `test` (topics that training
does not have), `validation_seen` and `test_seen` (topics that it has); of FaithDial and the
mixture the first three. The A-LoL paper's code validates on the first kind too, and tests
all three on FaithDial's test.

Files, in the folder that the environment variable `DRO_JAX_DATA` names:
`wizard_of_wikipedia/{train,valid_topic_split,test_topic_split,valid_random_split,
test_random_split}.json` and `faithdial/{train,valid,test}.json`, as published.

Sources: see `dro_jax.data.layouts.grounded_dialogues`. Other than the A-LoL paper's code,
which parts turns by GPT-2's end of text, we tag them, since T5 has no such token; it leaves a
wizard's turn without a chosen sentence out of what is later the dialogue so far, which we
keep; and it cuts dialogues to 400 of GPT-2's tokens.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dro_jax.data import registry
from dro_jax.data.layouts import grounded_dialogues
from dro_jax.data.record_source import RecordSource
from dro_jax.data.sources import ExpandedSource
from dro_jax.data.tasks import as_feedback_task, feedback_task
from dro_jax.errors import ConfigError
from dro_jax.tasks.dialogue_rewards import dialogue_reward
from dro_jax.tasks.published import (
    PublishedTask,
    data_folder,
    published_files,
    task_of_run,
)

MOST_WORDS = 300
MIXTURE = "faithdial_wow"
_WIZARD_FILES = {
    "train": "wizard_of_wikipedia/train.json",
    "validation": "wizard_of_wikipedia/valid_topic_split.json",
    "test": "wizard_of_wikipedia/test_topic_split.json",
    "validation_seen": "wizard_of_wikipedia/valid_random_split.json",
    "test_seen": "wizard_of_wikipedia/test_random_split.json",
}
_WIZARD_ADVICE = (
    "unpack http://parl.ai/downloads/wizard_of_wikipedia/wizard_of_wikipedia.tgz into "
    "the folder wizard_of_wikipedia."
)
_FAITHDIAL_FILES = {
    "train": "faithdial/train.json",
    "validation": "faithdial/valid.json",
    "test": "faithdial/test.json",
}
_FAITHDIAL_ADVICE = (
    "copy the files in the folder data of "
    "https://huggingface.co/datasets/McGill-NLP/FaithDial into the folder faithdial."
)


def _source(
    files: Mapping[str, str],
    advice: str,
    expand: Callable[..., Any],
    most_words: int | None = MOST_WORDS,
) -> RecordSource:
    return ExpandedSource(
        published_files(files, advice),
        functools.partial(expand, most_words=most_words),
        {split: (split, _any) for split in files},
    )


def _any(fields: Any) -> bool:
    return True


_SETTINGS = {
    **grounded_dialogues.SETTINGS,
    # The paper's code takes the words of Wizard of Wikipedia's replies for all three.
    "scored_by": dialogue_reward(str(data_folder() / _WIZARD_FILES["train"])),
}
TASKS = {
    task.name: task
    for task in (
        PublishedTask(
            "wizard_of_wikipedia",
            "A wizard's replies that rest on a sentence of Wikipedia, by four attributes.",
            functools.partial(
                _source,
                _WIZARD_FILES,
                _WIZARD_ADVICE,
                grounded_dialogues.expand_wizard,
            ),
            _SETTINGS,
        ),
        PublishedTask(
            "faithdial",
            "Such replies that people made faithful to the sentence, by four attributes.",
            functools.partial(
                _source,
                _FAITHDIAL_FILES,
                _FAITHDIAL_ADVICE,
                grounded_dialogues.expand_faithdial,
            ),
            _SETTINGS,
        ),
    )
}
for _task in TASKS.values():
    _task.register()


def dialogue_task(
    task: str = "wizard_of_wikipedia",
    most_words: int | None = MOST_WORDS,
    **settings: Any,
) -> str:
    """The name of one of these with a run's settings, registered by the first call.

    Args:
      task: `wizard_of_wikipedia`, `faithdial` or `faithdial_wow`.
      most_words: of the dialogue so far; None, all of it.
      **settings: those of `dro_jax.tasks.published.task_of_run`, as `scored_by`.

    Raises:
      ConfigError: as there.
    """
    of_run = functools.partial(
        task_of_run,
        TASKS,
        "dialogue_task",
        options={"most_words": most_words},
        **settings,
    )
    if task in TASKS:
        return of_run(task)
    if task != MIXTURE:
        known = ", ".join(map(repr, (*TASKS, MIXTURE)))
        raise ConfigError(
            f"dialogue_task.task = {task!r} is unknown: use one of {known}"
        )
    if settings.get("name"):
        raise ConfigError(
            f"dialogue_task.name has no effect with task = {MIXTURE!r}, a mixture of "
            "two tasks: remove it"
        )
    return _mixed(f"{MIXTURE}_of_run", [of_run(name) for name in TASKS])


def _mixed(name: str, tasks: Sequence[str]) -> str:
    """The name of a mixture of registered tasks, in proportion to their sizes."""
    if name in registry.mixture_names():
        now = {feedback_task(task) for task in tasks}
        if {as_feedback_task(task) for task, _ in registry.mixture(name)} == now:
            return name
        registry.remove(name)  # of tasks that others have replaced
    registry.add_mixture(name, tasks, lambda task: task.num_input_examples("train"))
    return name


_mixed(MIXTURE, list(TASKS))
