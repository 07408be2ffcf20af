"""Logs of the support desk made to order: their size, thumbs, customers and agents.

The prompts' customers, the held-out prompts, and the true reward are those of the task
`support_desk`, whatever the settings: a policy trained on any of these logs is judged as all
others are. What thumbs say, and which replies are spoilt, follows the settings in both
splits; held-out replies that are not spoilt are `support_desk`'s.
"""

import dataclasses
import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.records import RawRecord
from dro_jax.errors import ConfigError
from dro_jax.tasks.made_by_settings import made_once
from dro_jax.tasks.support_desk.agents import GOOD, ORDINARY, POOR, Habits
from dro_jax.tasks.support_desk.generate import (
    NUM_TRAIN,
    NUM_VALIDATION,
    log_records,
    split_customers,
)
from dro_jax.tasks.support_desk.poison import spoil
from dro_jax.tasks.support_desk.registration import FOLDER, STARS, THUMBS, register
from dro_jax.tasks.support_desk.stars import with_stars
from dro_jax.tasks.support_desk.thumbs import THUMB_SLOPE, ThumbLaw, is_hard

BY_PROBLEM = "by_problem"
_AGENTS = {"ordinary": ORDINARY, "good": GOOD, "poor": POOR}
_FEEDBACK = {"thumbs": THUMBS, "stars": STARS}
_MOST_RECORDS = 200_000  # of some 570,000 prompts that there are
_MOST = {"thumb_slope": 100.0, "generosity": 50.0, "difficulty": 50.0}
# The shipped log's customers, so that no log holds a prompt of the held-out split.
_CUSTOMERS_SEED = 0


@dataclasses.dataclass(frozen=True)
class LogSettings:
    """What a log is like; the defaults give the records of `support_desk`.

    Attributes:
      num_records: of the train split; the first of a larger log are the smaller one.
      seed: of the train split's records.
      thumb_noise: share of thumbs turned round, whatever the reply: 0 none, 0.5 all chance.
      thumb_slope: how sharply thumbs tell good replies from bad ones.
      generosity: logits by which a third of the customers, seen by their first names,
        thumbs up more often and another third less often, whatever the reply.
      difficulty: logits by which hard requests get fewer thumbs up, easy ones more.
      agents: who replied: `ordinary`, as the reference learned from; `good`; `poor`; or
        `by_problem`, poor ones to hard requests and good ones to easy ones.
      poisoned_share: of the replies, held-out ones too, that are spoilt: half of them are
        another customer's, half hostile (:func:`~.poison.spoil`). Their feedback is true
        to them; records then say by `source` which they are.
      feedback: `thumbs`, one; or `stars`, 1 to 5, 1 and the ups of four such thumbs.

    Raises:
      ConfigError: a setting is out of its range.
    """

    num_records: int = NUM_TRAIN
    seed: int = 0
    thumb_noise: float = 0.0
    thumb_slope: float = THUMB_SLOPE
    generosity: float = 0.0
    difficulty: float = 0.0
    agents: str = "ordinary"
    poisoned_share: float = 0.0
    feedback: str = "thumbs"

    def __post_init__(self) -> None:
        _check_whole("num_records", self.num_records, 1, _MOST_RECORDS)
        _check_whole("seed", self.seed, 0, 2**32 - 1)
        _check_number("thumb_noise", self.thumb_noise, 0.5)
        for name, most in _MOST.items():
            _check_number(name, getattr(self, name), most)
        _check_number("poisoned_share", self.poisoned_share, 1.0)
        _check_one_of("agents", self.agents, (*_AGENTS, BY_PROBLEM))
        _check_one_of("feedback", self.feedback, tuple(_FEEDBACK))

    @property
    def thumbs(self) -> ThumbLaw:
        """How customers judge."""
        return ThumbLaw(
            slope=self.thumb_slope,
            noise=self.thumb_noise,
            generosity=self.generosity,
            difficulty=self.difficulty,
        )

    def habits_for(self, problem: str) -> Habits:
        """Those of the agent who answers a kind of problem."""
        if self.agents == BY_PROBLEM:
            return POOR if is_hard(problem) else GOOD
        return _AGENTS[self.agents]

    def records(self, split: str) -> Iterator[dict]:
        """The records of `train` or `validation`.

        Yields:
          Dicts of `prompt`, `response`, `thumb` or `stars`, and `source` where some are
          spoilt.
        """
        is_train = split == "train"
        seed = self.seed if is_train else 0
        rng = random.Random(f"support desk {split} {seed}")
        customers = split_customers(split, _CUSTOMERS_SEED)
        if is_train:
            found = log_records(
                rng, customers, habits_for=self.habits_for, thumbs=self.thumbs
            )
        else:
            found = log_records(rng, customers, thumbs=self.thumbs)
        # What is drawn for the settings below leaves the draws above as they are.
        if self.poisoned_share:
            rng = random.Random(f"support desk poison {split} {seed}")
            found = spoil(found, self.poisoned_share, rng, customers, self.thumbs)
        if self.feedback == "stars":
            rng = random.Random(f"support desk stars {split} {seed}")
            found = with_stars(found, rng, self.thumbs)
        return itertools.islice(found, self.num_records if is_train else NUM_VALIDATION)


class LogSource(RecordSource):
    """A log that is made when it is read, the same on any machine.

    Args:
      settings: what it is like.
    """

    def __init__(self, settings: LogSettings):
        self._settings = settings

    @property
    def splits(self) -> Sequence[str]:
        return ("train", "validation")

    def description(self) -> str:
        return "the support desk's generator"

    def records(self, split: str) -> Iterator[RawRecord]:
        made = self._settings.records(self.check_split(split))
        for place, fields in enumerate(made):
            yield RawRecord(f"support_desk_log[{split}] record {place}", fields=fields)

    def parts(self, split: str) -> Parts:
        """The whole; the settings and the generator's own code say what it holds."""
        self.check_split(split)
        settings = dataclasses.asdict(self._settings)
        return Parts(contents={"settings": settings, "split": split, "code": _code()})


def support_desk_log(name: str = "support_desk_log", **settings: Any) -> str:
    """The name of a task over a log made to order, registered by the first call.

    Args:
      name: the task's name.
      **settings: those of :class:`LogSettings`.

    Raises:
      ConfigError: a setting is unknown or out of its range, or the name was registered
        with other settings.
    """
    known = [field.name for field in dataclasses.fields(LogSettings)]
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(
            f"support_desk_log has no setting {unknown[0]}: it has {', '.join(known)}"
        )
    log = LogSettings(**settings)
    return made_once(
        name,
        "support_desk_log",
        dataclasses.asdict(log),
        lambda: register(
            name,
            LogSource(log),
            source_field="source" if log.poisoned_share else None,
            **_FEEDBACK[log.feedback],
        ),
    )


def _code() -> str:
    """A digest of what makes the records."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not least <= value <= most
    ):
        raise ConfigError(
            f"support_desk_log.{name} must be a whole number from {least} to {most}, "
            f"not {value!r}"
        )


def _check_number(name: str, value: Any, most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= most:
        raise ConfigError(
            f"support_desk_log.{name} must be a number from 0 to {most:g}, not {value!r}"
        )


def _check_one_of(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(
            f"support_desk_log.{name} must be one of {', '.join(map(repr, known))}, "
            f"not {value!r}"
        )
