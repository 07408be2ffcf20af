"""Replies on Reddit: A-LoL's task with five attributes summed, from comments with votes.

`reddit_upvoted` and `reddit_downvoted` are comments that people liked or disliked, each as
the reply to the comment above it. Both validate and test on comments of both kinds, as
the A-LoL paper does. The reward is the comment's votes, or, with `scored_by`, what a
reward says: `gin_configs/rewards/reddit.gin` has A-LoL's sum of fluency, engagement, upvotes,
safety and diversity.

Runs of white space become a space and addresses `<URL>`. Where one of the two comments has
more than 100 words, or no text, the record is left out. One comment in a hundred is for
validation and one for testing, by a hash of its id, the same ones always; so are those
that a `share` below 1 keeps.

Files, in the folder that the environment variable `DRO_JAX_DATA` names:
`reddit/comments_positive.csv` and `reddit/comments_negative.csv`, as published.

Source: Baheti et al. 2024 (arXiv 2305.14718) and their code
(https://github.com/abaheti95/LoL-RL, preprocess_reddit_comment_scores_and_add_rewards.py),
which draws 102,000 comments of each kind, and of these 1,000 for validation and 1,000
for testing. It also leaves out pairs of more than 300 of GPT-2's tokens, which we cut.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dro_jax.data.record_source import RecordSource
from dro_jax.data.records import DerivedFields, RecordProblem, missing_field
from dro_jax.data.sources import ExpandedSource
from dro_jax.data.templates import describe_type
from dro_jax.errors import ConfigError
from dro_jax.tasks.published import PublishedTask, published_files, task_of_run

KINDS = {"upvoted": "comments_positive.csv", "downvoted": "comments_negative.csv"}
MOST_WORDS = 100
URL_WORD = "<URL>"
_HUNDREDTH = {0: "test", 1: "validation"}
_PUBLISHED = (
    "it is on https://www.kaggle.com/code/danofer/reddit-comments-scores-nlp/input; lay "
    "it into the folder reddit."
)
_ADDRESS = re.compile(r"https?://[\w@:%.+~#=-]{1,256}\.[a-zA-Z0-9]{1,6}\b[^\s)\]]*")

Fields = Mapping[str, Any]


def expand_comment(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The trajectory of a comment: the one above it, its own text, its votes.

    Raises:
      RecordProblem: a field is missing, a comment has no text or too many words.
    """
    texts = {name: _clean(fields, name) for name in ("parent_text", "text")}
    for name in ("id", "score"):
        if name not in fields:
            raise missing_field(fields, name)
    yield (
        "",
        DerivedFields(
            {
                "prompt": texts["parent_text"],
                "response": texts["text"],
                "reward": fields["score"],
                "id": fields["id"],
            },
            {"prompt": "parent_text", "response": "text", "reward": "score"},
            fields,
        ),
    )


def _clean(fields: Fields, name: str) -> str:
    if name not in fields:
        raise missing_field(fields, name)
    text = fields[name]
    if text is None or (isinstance(text, str) and not text.strip()):
        raise RecordProblem("empty_comment", f"'{name}' has no text")
    if not isinstance(text, str):
        raise RecordProblem(
            "wrong_type", f"'{name}' is {describe_type(text)}, not a text"
        )
    words = text.split()
    if len(words) > MOST_WORDS:
        raise RecordProblem(
            "long_comment",
            f"'{name}' has {len(words)} words, more than the task's {MOST_WORDS}",
        )
    return _ADDRESS.sub(URL_WORD, " ".join(words))


def _draw(fields: Fields) -> tuple[int, float]:
    """Which hundredth of the comments one belongs to, and a number in [0, 1), by its id."""
    comment = str(fields["id"]).encode("utf-8", "replace")
    digest = hashlib.sha256(comment).digest()
    return int.from_bytes(digest[:8]) % 100, int.from_bytes(digest[8:12]) / 2**32


def _belongs(split: str, share: float) -> Callable[[Fields], bool]:
    def belongs(fields: Fields) -> bool:
        hundredth, number = _draw(fields)
        return number < share and _HUNDREDTH.get(hundredth, "train") == split

    return belongs


def _source(kind: str, share: float = 1.0) -> RecordSource:
    if not 0 < share <= 1:
        raise ConfigError(
            f"reddit_task.share = {share}: give more than 0 and at most 1"
        )
    files = {name: f"reddit/{file}" for name, file in KINDS.items()}
    return ExpandedSource(
        published_files({**files, "both": list(files.values())}, _PUBLISHED),
        expand_comment,
        {
            split: (kind if split == "train" else "both", _belongs(split, share))
            for split in ("train", "validation", "test")
        },
    )


TASKS = {
    f"reddit_{kind}": PublishedTask(
        f"reddit_{kind}",
        f"Replies on Reddit, {kind}, with their votes; validated and tested on both kinds.",
        functools.partial(_source, kind),
        {"id_field": "id"},
    )
    for kind in KINDS
}
for _task in TASKS.values():
    _task.register()


def reddit_task(
    task: str = "reddit_upvoted", share: float = 1.0, **settings: Any
) -> str:
    """The name of one of these tasks with a run's settings.

    Args:
      task: `reddit_upvoted` or `reddit_downvoted`.
      share: of the comments that is kept, in (0, 1].
      **settings: those of `dro_jax.tasks.published.task_of_run`; `scored_by` is a reward
        in the votes' place.

    Raises:
      ConfigError: as there, or the share cannot be used.
    """
    return task_of_run(TASKS, "reddit_task", task, {"share": share}, **settings)
