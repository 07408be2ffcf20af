"""`dro-jax tasks inspect FILE`: what a file of feedback is, and how to train on it."""

import itertools
import math
import os
import shlex
from typing import Any

from dro_jax import paths
from dro_jax.data import registry
from dro_jax.data.inspection import inspect_task
from dro_jax.data.layouts import LAYOUTS, settings_of
from dro_jax.data.layouts.guessing import Guess, guess_layout
from dro_jax.data.records import DROP
from dro_jax.data.several_responses import jsonl_source
from dro_jax.data.sources import JsonlSource
from dro_jax.data.task_report import TaskReport
from dro_jax.data.tasks import register_feedback_task
from dro_jax.data.vocabularies import BYTE
from dro_jax.errors import ConfigError, DataError

_TASK = "file"
_SPLIT = "train"
_LOOKED_AT = 200
_GIVEN = ("layout", "prompt_field", "response_field", "reward_field", "reward_kind")
_LONGEST = {"inputs": 1024, "targets": 512}
# Bytes need 259; a multiple of 128 suits accelerators.
_BYTE_ROWS = 384
_ROWS = 128


def names_file(name: str) -> bool:
    """Whether what was named is a file, folder, glob or URL and no registered task."""
    if name in registry.task_names() | registry.mixture_names():
        return False
    return (
        paths.is_url(name) or any(c in name for c in "/.*?~$") or os.path.exists(name)
    )


def inspect_file(
    arguments: Any, lengths: dict[str, int] | None
) -> tuple[TaskReport, str]:
    """Reads a file as what it seems to be.

    Args:
      arguments: of the command: `name`, the file, and what is known of it.
      lengths: to hold token lengths against, or None.

    Returns:
      The report, and in words what was guessed and how to go on.

    Raises:
      ConfigError: the records do not tell the layout or a field, or hold no rewards.
      DataError: the file or its records cannot be read.
    """
    if arguments.split != _SPLIT:
        raise ConfigError(
            f"--split {arguments.split} has no effect: a file is one split, '{_SPLIT}'"
        )
    guess = guess_layout(
        _first_records(arguments.name),
        {name: getattr(arguments, name) for name in _GIVEN},
    )
    _check_has_rewards(arguments.name, guess)
    registry.remove(_TASK)  # an earlier call's in this process
    settings = settings_of(guess.layout, guess.settings)
    register_feedback_task(
        _TASK,
        jsonl_source({_SPLIT: arguments.name}, guess.layout),
        vocabulary=arguments.vocabulary,
        extra_ids=arguments.extra_ids,
        keep_whitespace=arguments.keep_whitespace,
        **{**settings, "on_bad_record": DROP},
    )
    report = inspect_task(_TASK, _SPLIT, lengths, arguments.examples)
    return report, "\n".join(
        [_guessed(guess), "", *_next_steps(arguments, guess, report)]
    )


def _first_records(name: str) -> list[Any]:
    source = JsonlSource({_SPLIT: name})
    looked_at = list(itertools.islice(source.records(_SPLIT), _LOOKED_AT))
    good = [raw.fields for raw in looked_at if raw.problem is None]
    if not looked_at:
        raise DataError(f"{name} holds no records")
    if not good:
        raise DataError(f"{looked_at[0].identity}: {looked_at[0].problem.message}")
    return good


def _check_has_rewards(name: str, guess: Guess) -> None:
    if LAYOUTS[guess.layout].holds_rewards or "reward_field" in guess.settings:
        return
    flags = (
        _flag("TRAIN_PATH", name),
        _flag("LAYOUT", guess.layout),
        "--gin.SCORED_BY=%REWARD",
    )
    raise ConfigError(
        f"{name} holds no rewards (layout {guess.layout}: {'; '.join(guess.reasons)}): a "
        "reward has to score its responses, which is scored_by of a task, in gin "
        "SCORED_BY. A file of gin_configs/rewards says which, as in\n"
        "  dro-jax tasks inspect --gin_file=gin_configs/rewards/length.gin "
        f"--gin_file=gin_configs/tasks/jsonl.gin {' '.join(flags)}\n"
        "or name a field with rewards by --reward_field. Published files: docs/tasks.md"
    )


def _guessed(guess: Guess) -> str:
    sure = "(sure)" if guess.sure else "(likely: look at the records above)"
    return (
        f"layout: {guess.layout}, {LAYOUTS[guess.layout].about} {sure}\n"
        + "".join(f"  {reason}\n" for reason in guess.reasons)
    ).rstrip()


def _next_steps(arguments: Any, guess: Guess, report: TaskReport) -> list[str]:
    settings = _gin_settings(arguments, guess, report)
    lines = ["In gin, after gin_configs/tasks/jsonl.gin:"]
    lines += [f"  {name} = {value!r}" for name, value in settings.items()]
    shown = " ".join(_flag(name, value) for name, value in settings.items())
    first = _command("nll", "runs/reference", shown)
    then = _command(
        "dro_v",
        "runs/dro_v",
        f"{shown} {_flag('INITIAL_CHECKPOINT_PATH', 'runs/reference')}",
    )
    return [
        *lines,
        "",
        "A first policy from nothing (a T5 of your own: INITIAL_CHECKPOINT_PATH and its",
        "model file), then one aligned with DRO-V; VALIDATION_PATH and no EVAL_DATASET to",
        "evaluate:",
        f"  {first}",
        f"  {then}",
    ]


def _command(objective: str, folder: str, settings: str) -> str:
    files = ("models/tiny", f"objectives/{objective}", "tasks/jsonl", "runs/train")
    named = " ".join(f"--gin_file=gin_configs/{file}.gin" for file in files)
    run = " ".join(
        (_flag("EVAL_DATASET", None), _flag("TRAIN_STEPS", 1000))
        + (_flag("MODEL_DIR", folder),)
    )
    return f"dro-jax train {named} {settings} {run}"


def _gin_settings(arguments: Any, guess: Guess, report: TaskReport) -> dict[str, Any]:
    own = {"prompt_field": "prompt", "response_field": "response"}
    own |= {"reward_field": "reward", "reward_kind": "float"}
    own |= settings_of(guess.layout, {})
    settings = {"TRAIN_PATH": arguments.name}
    if guess.layout != "trajectories":
        settings["LAYOUT"] = guess.layout
    settings |= {
        name.upper(): value
        for name, value in guess.settings.items()
        if own.get(name) != value
    }
    if report.records.dropped and own.get("on_bad_record") != DROP:
        settings["ON_BAD_RECORD"] = DROP
    vocabulary = registry.task(_TASK).vocabulary
    if arguments.vocabulary == BYTE:
        settings["VOCABULARY"], rows = BYTE, _BYTE_ROWS
    else:
        settings["VOCABULARY"] = arguments.vocabulary
        rows = _ROWS * math.ceil(vocabulary.vocab_size / _ROWS)
    if arguments.extra_ids:
        settings["EXTRA_IDS"] = arguments.extra_ids
    if arguments.keep_whitespace:
        settings["KEEP_WHITESPACE"] = True
    settings["VOCAB_SIZE"] = rows
    settings["TASK_FEATURE_LENGTHS"] = {
        "inputs": _length(report.prompt, _LONGEST["inputs"]),
        "targets": _length(report.response, _LONGEST["targets"]),
    }
    return settings


def _length(lengths: Any, longest: int) -> int:
    """The limit given; else room for 99% of the records, a multiple of 32."""
    if lengths.limit < lengths.max:
        return lengths.limit
    needed = dict(lengths.percentiles)[99]
    return min(longest, 32 * math.ceil(needed / 32))


def _flag(name: str, value: Any) -> str:
    text = repr(value)
    if any(c in text for c in '"$`\\!'):
        return shlex.quote(f"--gin.{name}={text}")
    return f'--gin.{name}="{text}"' if "'" in text else f"--gin.{name}={text}"


def check_arguments(arguments: Any) -> None:
    """Refuses flags that only a file takes.

    Raises:
      ConfigError: one was given for a registered task.
    """
    given = [name for name in _GIVEN if getattr(arguments, name) is not None]
    if arguments.vocabulary != BYTE:
        given.append("vocabulary")
    if arguments.extra_ids:
        given.append("extra_ids")
    if arguments.keep_whitespace:
        given.append("keep_whitespace")
    if given:
        raise ConfigError(
            f"--{given[0]} has no effect on a registered task, which has its own: it is "
            "for `dro-jax tasks inspect FILE`"
        )
