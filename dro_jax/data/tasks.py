"""Feedback tasks: registering them, and finding them by name."""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dro_jax.data import registry
from dro_jax.data.chat_template import PLAIN, ChatTemplate
from dro_jax.data.feedback_source import FeedbackSource
from dro_jax.data.feedback_task import (
    FeedbackTask,
    ResponseFn,
    RewardFn,
    SeqioMetrics,
    as_feedback_task,
)
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import ERROR
from dro_jax.data.reward_transforms import TransformLike, transform_chain
from dro_jax.data.rewards import reward_kind as make_reward_kind
from dro_jax.data.scored_source import ScoredSource
from dro_jax.data.sources import RecordSource, as_record_source
from dro_jax.data.task_names import check_name_is_free, unknown_name
from dro_jax.data.truncation import LEFT, RIGHT, check_side
from dro_jax.data.vocabularies import Vocabulary, resolve_vocabulary
from dro_jax.errors import ConfigError
from dro_jax.import_hooks import after_import

# What `seqio_tasks` imports that imports seqio itself.
_OF_SEQIO_TASKS = (
    "dro_jax.data.cut_metric",
    "dro_jax.data.preprocessing",
    "dro_jax.data.seqio_vocabularies",
)
__all__ = ["as_feedback_task", "feedback_task", "register_feedback_task"]


def register_feedback_task(
    name: str,
    source: RecordSource | Any,
    *,
    vocabulary: str | os.PathLike | Vocabulary,
    about: str = "",
    extra_ids: int = 0,
    keep_whitespace: Mapping[str, str] | bool = False,
    prompt_field: str = "prompt",
    response_field: str = "response",
    reward_field: str = "reward",
    id_field: str | None = None,
    source_field: str | None = None,
    prompt_template: str = "{prompt}",
    response_template: str = "{response}",
    chat_template: Mapping[str, str] | None = None,
    text_prompts: str = PLAIN,
    prompt_truncation: str = LEFT,
    response_truncation: str = RIGHT,
    reward_kind: str = "float",
    likert_range: tuple[float, float] | None = None,
    reward_transform: TransformLike = "none",
    on_bad_record: str = ERROR,
    scored_by: Any = None,
    reward_fn: RewardFn | None = None,
    best_response_fn: ResponseFn | None = None,
    rewards: Any = None,
    metric_fns: Sequence[Callable[..., Any]] | None = None,
    metric_objs: Sequence[Any] | None = None,
    postprocess_fn: Callable[..., Any] | None = None,
) -> FeedbackTask:
    """Registers a task of single-trajectory feedback; reads no data yet.

    It is a task of seqio's too, as soon as a program imports seqio; nothing here does.

    Args:
      name: the task's name, letters, digits and `_.:#`.
      source: a `JsonlSource`, a `TfdsSource` or any `seqio.DataSource`.
      vocabulary: `byte`, the path of a SentencePiece model, or a vocabulary, also a
        `seqio.Vocabulary`.
      about: what the task is, in a line, for `dro-jax tasks list`.
      extra_ids: sentinels to add to the vocabulary, for a name or a path.
      keep_whitespace: whether line breaks, tabs and runs of spaces are kept, which
        SentencePiece reads as single spaces; or the words to keep them as, `{'\\n':
        '<n>'}`: see `dro_jax.data.whitespace`.
      prompt_field: the field with the prompt.
      response_field: the field with the response.
      reward_field: the field with the feedback.
      id_field: a field that names records in messages.
      source_field: a field that says where a record is from, by which the report of
        advantages tells what is left over; for that raw records are read once more.
      prompt_template: the model's input; `{prompt}` is the prompt field, any other name
        in braces is the record's field of that name.
      response_template: the model's target, likewise; it must contain `{response}`.
      chat_template: how the turns of messages become a prompt, role to text, as
        `{'user': 'Human: {content}'}`; see `dro_jax.data.chat_template.ChatTemplate`.
      text_prompts: how prompts that are text are read: `plain`, as they are; `user`, as
        a user's turn; `helpsteer`, likewise, with turns that `<extra_id_1>` begins.
      prompt_truncation: the side that is cut from a prompt that is too long.
      response_truncation: likewise for a response.
      reward_kind: `float`, `thumbs` or `likert`.
      likert_range: the worst and the best mark, for `likert`.
      reward_transform: `none`, `normalize` (mean 0, variance 1 over the train split),
        `sigmoid`, `clip(low, high)`, or several of these in a tuple.
      on_bad_record: `error` stops at the first record that cannot be used; `drop`
        leaves such records out, counts and lists them.
      scored_by: of `dro_jax.rewards`, a reward whose score each record gets in
        `reward_field` as it is read, for files that hold none, or another; None, what
        is recorded counts.
      reward_fn: (prompt, response) to the true reward of any response, where a program
        knows it. It is given the texts as the model reads and writes them.
      best_response_fn: prompt to a response that no other beats under `reward_fn`.
      rewards: of `dro_jax.rewards`, one or several by which `t5x.eval` scores too.
      metric_fns, metric_objs: seqio metrics; default those of
        `dro_jax.data.task_metrics`, where `postprocess_fn` is not given either.
      postprocess_fn: seqio's postprocessing of decoded responses.

    Returns:
      The task, which :func:`feedback_task` finds by its name.

    Raises:
      ConfigError: a setting cannot be used, or the name is taken.
    """
    check_name_is_free(name)
    check_side(prompt_truncation, "prompt_truncation")
    check_side(response_truncation, "response_truncation")
    record_format = RecordFormat(
        prompt_field=prompt_field,
        response_field=response_field,
        reward_field=reward_field,
        id_field=id_field,
        prompt_template=prompt_template,
        response_template=response_template,
        reward_kind=make_reward_kind(reward_kind, likert_range),
        chat_template=ChatTemplate(chat_template or {}),
        text_prompts=text_prompts,
    )
    vocabulary = resolve_vocabulary(vocabulary, extra_ids, keep_whitespace)
    source = as_record_source(source, name)
    raw_source = source
    if scored_by is not None:
        source = ScoredSource(source, record_format, scored_by)
    feedback_source = FeedbackSource(
        name,
        source,
        record_format,
        transform_chain(reward_transform),
        on_bad_record,
        vocabulary,
    )
    metrics = SeqioMetrics(metric_fns, metric_objs, postprocess_fn, rewards)
    if rewards is not None and not metrics.are_default:
        raise ConfigError(
            f"task '{name}': beside metrics of its own, rewards have no effect; add "
            "dro_jax.data.task_metrics.reward_metrics(reward) to these"
        )
    task = FeedbackTask(
        name,
        feedback_source,
        about=about,
        source_field=source_field,
        raw_source=raw_source,
        reward_fn=reward_fn,
        best_response_fn=best_response_fn,
        truncation=(prompt_truncation, response_truncation),
        metrics=metrics,
    )
    for module, tell in _TELLING.items():
        after_import(module, tell)
    registry.add(task)
    return task


def feedback_task(name: str) -> FeedbackTask:
    """The registered feedback task of that name.

    Raises:
      ConfigError: there is none, or it is a mixture's name.
    """
    if name in registry.task_names():
        return as_feedback_task(registry.task(name))
    if name in registry.mixture_names():
        tasks = ", ".join(task.name for task, _ in registry.mixture(name))
        raise ConfigError(f"'{name}' is a mixture of {tasks}: name one of these")
    raise unknown_name(name)


def _tell_seqio(imported: str = "seqio") -> None:
    needed = [sys.modules.get(name) for name in _OF_SEQIO_TASKS if name != imported]
    if any(getattr(one and one.__spec__, "_initializing", False) for one in needed):
        return  # it is one of these that imports it, and tells when it has been
    from dro_jax.data import seqio_tasks  # which tells it of all that are registered

    del seqio_tasks


_TELLING = {
    name: functools.partial(_tell_seqio, name) for name in ("seqio", *_OF_SEQIO_TASKS)
}
