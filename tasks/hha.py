"""Helpful and Harmless Assistant, in the three formats that it comes in.

- `hha`: single trajectories with a reward model's score, normalised.
- `hha_sigmoid`: the same with the score's sigmoid, as A-LoL's experiments have it.
- `hha_half_1`, `hha_half_2`: `hha` with half of the prompts for training each and the
  same validation, for two reward models that share no record: one gives the reward, the
  other judges.
- `hha_raw`: Anthropic's published files, pairs of dialogues `chosen` and `rejected` that
  share all but the last reply. They hold no reward: the chosen reply counts as a thumb
  up, the rejected as a thumb down.
- `hha_pro`: the files of the A-LoL and PRO experiments, lists of turns, replies and
  rewards; every reply becomes a record.

In all of them the prompt is the dialogue so far, its turns tagged `Human:` and
`Assistant:`, ending in an open `Assistant:`. Some replies are empty; such records are
dropped, counted and listed. The last two formats come as one file each, which is split
by prompt: one prompt in ten is for validation, the same ones always.

The data folder is that of the environment variable `DRO_JAX_DATA`, by default
`../shared/data` seen from the checkout. It is read when a task is used, not before.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dro_jax.data.layouts.lists import expand_pro
from dro_jax.data.layouts.pairs import expand_dialogues
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import DROP
from dro_jax.data.sources import ExpandedSource, JsonlSource
from dro_jax.data.tasks import register_feedback_task

_CHECKOUT = Path(__file__).resolve().parents[1]
DATA_DIR = Path(
    os.environ.get("DRO_JAX_DATA") or _CHECKOUT.parent / "shared" / "data"
).expanduser()
_ADVICE = (
    "set the environment variable DRO_JAX_DATA to the folder that holds hha/, "
    "hh_rlhf_raw/ and hha_pro_raw/"
)
_FORMAT = RecordFormat()
_VALIDATION_SHARE = 10

Fields = Mapping[str, Any]


def in_validation(fields: Fields) -> bool:
    """Whether a record's prompt is one of those for validation, by its hash."""
    return _digest(fields)[0] % _VALIDATION_SHARE == 0


def in_train(fields: Fields) -> bool:
    """Whether it is not."""
    return not in_validation(fields)


def in_half_1(fields: Fields) -> bool:
    """Whether a record's prompt is in the first half of them, by its hash."""
    return _digest(fields)[1] % 2 == 0


def in_half_2(fields: Fields) -> bool:
    """Whether it is in the second."""
    return not in_half_1(fields)


def in_any(fields: Fields) -> bool:
    """Every record is."""
    return True


def _digest(fields: Fields) -> bytes:
    prompt = _FORMAT.prompt(fields)
    return hashlib.sha256(prompt.encode("utf-8", "replace")).digest()


def _one_record(fields: Fields) -> Iterator[tuple[str, Fields]]:
    yield "", fields


def _register(name: str, source: Any, **kwargs: Any) -> None:
    register_feedback_task(
        name,
        source,
        vocabulary=DATA_DIR / "hha" / "spm8k.model",
        on_bad_record=DROP,
        **kwargs,
    )


def _by_prompt(file: str, expand: Any) -> ExpandedSource:
    return ExpandedSource(
        JsonlSource({"all": DATA_DIR / file}, advice=_ADVICE),
        expand,
        {"train": ("all", in_train), "validation": ("all", in_validation)},
    )


_SCORED = JsonlSource(
    {
        split: DATA_DIR / "hha" / f"{split}.jsonl.gz"
        for split in ("train", "validation")
    },
    advice=_ADVICE,
)


def _half(belongs: Any) -> ExpandedSource:
    return ExpandedSource(
        _SCORED,
        _one_record,
        {"train": ("train", belongs), "validation": ("validation", in_any)},
    )


for _name, _source, _transform, _about in (
    ("hha", _SCORED, "normalize", "Replies in dialogues, with a reward model's score."),
    ("hha_sigmoid", _SCORED, "sigmoid", "hha with the score's sigmoid."),
    ("hha_half_1", _half(in_half_1), "normalize", "hha with half of the prompts."),
    ("hha_half_2", _half(in_half_2), "normalize", "hha with the other half of them."),
):
    _register(
        _name, _source, id_field="prompt_id", reward_transform=_transform, about=_about
    )
_register(
    "hha_raw",
    _by_prompt("hh_rlhf_raw/harmless-base-test.jsonl.gz", expand_dialogues),
    reward_kind="thumbs",
    about="One of Anthropic's files: the chosen reply a thumb up, the rejected down.",
)
_register(
    "hha_pro",
    _by_prompt("hha_pro_raw/dev-200.jsonl.gz", expand_pro),
    reward_transform="normalize",
    about="Ranked replies of the PRO and A-LoL experiments, each with a reward.",
)
