"""The prompts of a split, once each, with what was logged for them."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.data.inputs import Input, record_ids
from dro_jax.data.interface import SplitRecords
from dro_jax.data.prompt_batches import Prompts
from dro_jax.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Prompt:
    """One prompt to answer.

    Attributes:
      text: as the model reads it, before it is cut to tokens.
      references: the logged responses to it that have the highest reward of all logged
        for it.
      id: 16 hexadecimal digits, by which its samples are drawn: from the text alone, so
        that they are the same whatever stands beside it.
    """

    text: str
    references: tuple[str, ...]
    id: str


def split_prompts(records: SplitRecords, most: int | None = None) -> tuple[Prompt, ...]:
    """The different prompts of a split, in the order in which they first come.

    Args:
      records: of a task's split.
      most: how many; None, all.

    Raises:
      ConfigError: `most` is below 1.
      DataError: there are none, or the records cannot be read.
    """
    if most is not None and most < 1:
        raise ConfigError(f"--num_prompts must be at least 1, got {most}")
    if not len(records):
        raise DataError(f"the split '{records.report.split}' has no records")
    hashes = np.asarray(records.prompt_hashes)
    firsts = np.sort(np.unique(hashes, return_index=True)[1])[:most]
    texts = records.texts(firsts, "inputs")
    logged = _best_logged(records, hashes, hashes[firsts])
    ids = prompt_ids(texts)
    return tuple(
        Prompt(text, logged[key], own)
        for text, key, own in zip(texts, hashes[firsts].tolist(), ids, strict=True)
    )


def prompt_ids(texts: Sequence[str]) -> list[str]:
    """Of each prompt its id, as :class:`Prompt` has it."""
    # Each once: an equal record behind the first would have an id of its own.
    different = list(dict.fromkeys(texts))
    ids = record_ids([Input({}, text) for text in different]).astype(">i4")
    by_text = dict(zip(different, ids, strict=True))
    return [by_text[text].tobytes().hex() for text in texts]


def _best_logged(
    records: SplitRecords, hashes: np.ndarray, wanted: np.ndarray
) -> dict[int, tuple[str, ...]]:
    """By the prompt's hash, the responses of the highest reward, each once."""
    positions = np.flatnonzero(np.isin(hashes, wanted))
    rewards = np.asarray(records.rewards[positions])
    best: dict[int, float] = collections.defaultdict(lambda: -np.inf)
    keys = hashes[positions].tolist()
    for key, reward in zip(keys, rewards, strict=True):
        best[key] = max(best[key], reward)
    texts: dict[int, dict[str, None]] = collections.defaultdict(dict)
    found = records.texts(positions, "targets")
    for key, reward, text in zip(keys, rewards, found, strict=True):
        if reward == best[key]:
            texts[key][text] = None
    return {key: tuple(own) for key, own in texts.items()}


def digest(prompts: Sequence[Prompt]) -> str:
    """What tells these prompts and their references from others."""
    said = [(prompt.text, prompt.references) for prompt in prompts]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def as_tokens(
    task: Any, prompts: Sequence[Prompt], lengths: Mapping[str, int]
) -> Prompts:
    """Prompts as the model reads them.

    Args:
      task: a feedback task, whose vocabulary and truncation apply.
      prompts: to read.
      lengths: the task feature lengths.
    """
    from dro_jax.data.inputs import Input, as_prompts

    return as_prompts(task, [Input({}, prompt.text) for prompt in prompts], lengths)
