"""What a task holds, before anything is trained on it."""

import numpy as np

from dro_jax.data import registry
from dro_jax.data.feedback_task import as_feedback_task, is_feedback_task
from dro_jax.data.inspection_tokens import read_side, texts_as_read
from dro_jax.data.packing import padding_share
from dro_jax.data.reward_statistics import Histogram
from dro_jax.data.settings import check_lengths, make_packing
from dro_jax.data.task_report import Example, Lengths, TaskReport
from dro_jax.data.tasks import feedback_task
from dro_jax.data.vocabularies import describe_vocabulary


def inspect_task(
    name: str,
    split: str = "train",
    lengths: dict[str, int] | None = None,
    num_examples: int = 3,
) -> TaskReport:
    """Reads a whole split of a registered feedback task and reports on it.

    Args:
      name: the task's name.
      split: the split's name.
      lengths: `inputs` and `targets`, to hold token lengths against; None, those of
        the longest records.
      num_examples: how many records to show.

    Raises:
      ConfigError: there is no such task, or the lengths cannot be used.
      DataError: the split, a record or the vocabulary cannot be used.
    """
    task = feedback_task(name)
    records, rewards = task.records(split), task.source.rewards(split)
    prompt_tokens, prompt_fidelity = read_side(task, split, "inputs")
    response_tokens, response_fidelity = read_side(task, split, "targets")
    packed, given = None, lengths
    if lengths is not None:
        check_lengths("inspect_task", lengths)
        packed = _packed_padding_share(prompt_tokens, response_tokens, lengths)
    else:
        lengths = {
            "inputs": int(prompt_tokens.max()),
            "targets": int(response_tokens.max()),
        }
    prompt = Lengths.of(prompt_tokens, lengths["inputs"])
    response = Lengths.of(response_tokens, lengths["targets"])
    count = len(records)
    shown = np.linspace(0, count - 1, min(num_examples, count)).astype(int)
    texts = texts_as_read(
        task,
        records.texts(shown, "inputs"),
        records.texts(shown, "targets"),
        given,
    )
    return TaskReport(
        name=name,
        split=split,
        vocabulary=describe_vocabulary(task.vocabulary),
        examples=tuple(
            Example(
                identity=records.identity(i),
                prompt=text_of_prompt,
                response=text_of_response,
                recorded_reward=float(records.rewards[i]),
                reward=float(rewards[i]),
                prompt_tokens=int(prompt_tokens[i]),
                response_tokens=int(response_tokens[i]),
            )
            for i, (text_of_prompt, text_of_response) in zip(shown, texts, strict=True)
        ),
        prompt=prompt,
        response=response,
        prompt_fidelity=prompt_fidelity,
        response_fidelity=response_fidelity,
        padding_share=float(
            np.average(
                [prompt.padding_share, response.padding_share],
                weights=[prompt.limit, response.limit],
            )
        ),
        packed_padding_share=packed,
        rewards=task.statistics(split),
        histogram=Histogram.of(rewards),
        records=records.report,
    )


def list_tasks() -> str:
    """The registered feedback tasks and the mixtures of them; reads no records.

    A row each, and below it what the task is, where it says so.
    """
    rows = [("task", "splits", "source", "vocabulary")]
    about = {}
    for name in sorted(registry.task_names()):
        if is_feedback_task(found := registry.task(name)):
            task = as_feedback_task(found)
            vocabulary = describe_vocabulary(task.vocabulary)
            rows.append((name, ", ".join(task.splits), str(task.source), vocabulary))
            about[name] = f"\n    {task.about}" if task.about else ""
    for name in sorted(registry.mixture_names()):
        tasks = [task for task, _ in registry.mixture(name)]
        if all(map(is_feedback_task, tasks)):
            tasks = list(map(as_feedback_task, tasks))
            parts = " + ".join(task.name for task in tasks)
            vocabulary = describe_vocabulary(tasks[0].vocabulary)
            splits = ", ".join(tasks[0].splits)
            rows.append((name, splits, f"mixture of {parts}", vocabulary))
    if len(rows) == 1:
        return "no feedback task is registered: import a module that registers one"
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        + about.get(row[0], "")
        for row in rows
    )


def _packed_padding_share(
    prompt_tokens: np.ndarray, response_tokens: np.ndarray, lengths: dict[str, int]
) -> float:
    tokens = np.stack(
        [
            np.minimum(prompt_tokens, lengths["inputs"]),
            np.minimum(response_tokens, lengths["targets"]),
        ],
        axis=1,
    )
    order = np.random.default_rng(0).permutation(len(tokens))
    return padding_share(tokens[order], make_packing(lengths))
