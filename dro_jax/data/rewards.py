"""From the feedback that a log holds to a number: floats, thumbs, Likert scales."""

import dataclasses
import math
from typing import Any, Protocol

import numpy as np

from dro_jax.data.records import Cell, RecordProblem
from dro_jax.data.templates import describe_type
from dro_jax.errors import ConfigError

_UP = frozenset(
    ("1", "+1", "+", "👍", "up", "thumbs_up", "thumbsup", "yes", "y", "true")
    + ("good", "like", "liked", "positive")
)
_DOWN = frozenset(
    ("0", "-1", "-", "👎", "down", "thumbs_down", "thumbsdown", "no", "n", "false")
    + ("bad", "dislike", "disliked", "negative")
)
_EMOJI_MODIFIERS = dict.fromkeys([0xFE0F, *range(0x1F3FB, 0x1F400)])
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class RewardKind(Protocol):
    """Turns one recorded reward into a float, or raises `RecordProblem`."""

    def parse(self, value: Any) -> float: ...


@dataclasses.dataclass(frozen=True)
class Float:
    """A finite number, as it is."""

    def parse(self, value: Any) -> float:
        return _finite_number(value)


@dataclasses.dataclass(frozen=True)
class Thumbs:
    """+1 for a thumb up, -1 for a thumb down.

    Up: true, 1, 'up', 'thumbs up', 'yes', 'good', 'like', 'positive', '👍'. Down: false,
    0, -1, 'down', 'thumbs down', 'no', 'bad', 'dislike', 'negative', '👎'.
    """

    def parse(self, value: Any) -> float:
        if isinstance(value, str):
            label = "_".join(value.translate(_EMOJI_MODIFIERS).lower().split())
            if label in _UP or label in _DOWN:
                return 1.0 if label in _UP else -1.0
            if not isinstance(value, Cell) or isinstance(value.value(), str):
                raise _unknown_thumb(value)
        number = float(value) if isinstance(value, bool) else _finite_number(value)
        if number not in (1.0, 0.0, -1.0):
            raise _unknown_thumb(value)
        return 1.0 if number == 1.0 else -1.0


@dataclasses.dataclass(frozen=True)
class Likert:
    """A mark on a scale, centred: r = 2 (mark - low) / (high - low) - 1.

    Attributes:
      low: the worst mark, which becomes -1.
      high: the best mark, which becomes +1.
    """

    low: float
    high: float

    def __post_init__(self):
        ends = (self.low, self.high)
        if not all(map(math.isfinite, ends)) or self.low >= self.high:
            raise ConfigError(
                f"likert_range = ({self.low}, {self.high}) is not a scale: give the "
                "worst and the best mark, the worst first, as (1, 5)"
            )

    def parse(self, value: Any) -> float:
        mark = _finite_number(value)
        if not self.low <= mark <= self.high:
            raise RecordProblem(
                "reward_out_of_range",
                f"the reward {mark:g} lies outside the scale {self.low:g} to "
                f"{self.high:g}",
            )
        return 2.0 * (mark - self.low) / (self.high - self.low) - 1.0


def reward_kind(
    name: str, likert_range: tuple[float, float] | None = None
) -> RewardKind:
    """The kind of that name.

    Args:
      name: `float`, `thumbs` or `likert`.
      likert_range: worst and best mark; for `likert` alone.

    Raises:
      ConfigError: an unknown name, a missing range or one without effect.
    """
    if name == "likert":
        if likert_range is None:
            raise ConfigError(
                "reward_kind = 'likert' needs likert_range, the worst and the best mark, "
                "as (1, 5)"
            )
        low, high = likert_range
        return Likert(float(low), float(high))
    if likert_range is not None:
        raise ConfigError(
            f"likert_range has no effect with reward_kind = {name!r}: remove it, or set "
            "reward_kind = 'likert'"
        )
    if name == "float":
        return Float()
    if name == "thumbs":
        return Thumbs()
    raise ConfigError(
        f"reward_kind = {name!r} is unknown: use 'float', 'thumbs' or 'likert'"
    )


def _finite_number(value: Any) -> float:
    if type(value) is float and abs(value) <= _FLOAT32_MAX:
        return value
    if isinstance(value, Cell):
        value = value.value()
    if value is None:
        raise RecordProblem("reward_missing", "the reward is missing (null)")
    if isinstance(value, bool):
        raise RecordProblem(
            "reward_not_numeric",
            f"the reward is {value}, a truth value and not a number (reward_kind "
            "'thumbs' reads truth values)",
        )
    if not isinstance(value, int | float):
        shown = repr(value)
        raise RecordProblem(
            "reward_not_numeric",
            f"the reward is {describe_type(value)}, {shown[:40]}, not a number",
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _FLOAT32_MAX:
        raise RecordProblem(
            "reward_not_finite", f"the reward is {number}: not a finite float32 number"
        )
    return number


def _unknown_thumb(value: Any) -> RecordProblem:
    return RecordProblem(
        "unknown_thumbs_label",
        f"the reward {value!r} is no known thumb: up is one of 1, true, 'up', 'yes', "
        "'👍', down one of 0, -1, false, 'down', 'no', '👎'",
    )
