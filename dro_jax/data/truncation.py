"""What is cut from tokens that are too many, and where a text's end is marked."""

import dataclasses

import numpy as np

from dro_jax.data.tokens import Tokens
from dro_jax.errors import ConfigError

LEFT = "left"
RIGHT = "right"
# Summed in a batch's `truncated`.
PROMPT_TRUNCATED = 1
RESPONSE_TRUNCATED = 2


@dataclasses.dataclass(frozen=True)
class Truncation:
    """How texts of one side become at most so many tokens.

    Attributes:
      limit: the most tokens, end-of-text included.
      side: the side that is cut, `left` or `right`.
      always_eos: whether the end-of-text token follows also where the text's end was
        cut, as after prompts; a response whose end was cut has none.
    """

    limit: int
    side: str
    always_eos: bool

    @property
    def room(self) -> int:
        """The most tokens of the text itself."""
        return self.limit - 1 if self.always_eos or self.side == LEFT else self.limit

    def lengths(self, lengths: np.ndarray) -> np.ndarray:
        """How many tokens are left of texts of so many, end-of-text included."""
        return np.minimum(np.minimum(lengths, self.room) + 1, self.limit)

    def cuts(self, lengths: np.ndarray) -> np.ndarray:
        """Which of the texts are cut."""
        return lengths >= self.limit

    def cut(self, tokens: Tokens, eos_id: int) -> Tokens:
        """Texts with what is too much of them cut and their ends marked."""
        kept = np.minimum(tokens.lengths, self.room)
        lengths = self.lengths(tokens.lengths)
        first = np.cumsum(tokens.lengths) - tokens.lengths
        if self.side == LEFT:
            first += tokens.lengths - kept
        within = counting(lengths)
        places = np.repeat(first, lengths) + within
        is_end = within == np.repeat(kept, lengths)
        # A last text's end lies beyond the tokens; what is read there does not matter.
        values = tokens.values.take(places, mode="clip") if len(tokens.values) else 0
        return Tokens(np.where(is_end, np.int32(eos_id), values), lengths)


def counting(lengths: np.ndarray) -> np.ndarray:
    """0, 1, … up to each length, end to end."""
    begins = np.cumsum(lengths) - lengths
    return np.arange(int(np.sum(lengths))) - np.repeat(begins, lengths)


def check_side(side: str, setting: str) -> str:
    """The side itself.

    Raises:
      ConfigError: it is neither `left` nor `right`.
    """
    if side not in (LEFT, RIGHT):
        raise ConfigError(
            f"{setting} = {side!r} is unknown: use 'left' to cut the beginning of texts "
            "that are too long, or 'right' to cut their end"
        )
    return side
