"""What it costs to ask a server that is paid by the token, before it is asked."""

import dataclasses
import math
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.plurals import counted

# English has about four bytes to a token of the larger vocabularies, Chinese about three
# or four; a server counts by its own.
_BYTES_PER_TOKEN = 4
_TOKENS_AROUND = 8  # a message's own
_MILLION = 1e6


@dataclasses.dataclass(frozen=True)
class Prices:
    """Of a server, in any currency.

    Attributes:
      input: of a million tokens that are sent; 0, none is paid.
      output: of a million tokens of answers.
      limit: what a command may spend, as estimated; what would be more is refused.

    Raises:
      ConfigError: one is negative or no number.
    """

    input: float
    output: float
    limit: float

    def __post_init__(self):
        for name, value in (
            ("JUDGE_INPUT_PRICE", self.input),
            ("JUDGE_OUTPUT_PRICE", self.output),
            ("JUDGE_MAX_COST", self.limit),
        ):
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigError(
                    f"{name} = {value!r}: give 0 or a positive number (prices are for a "
                    "million tokens)"
                )

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """What so many tokens cost."""
        return (input_tokens * self.input + output_tokens * self.output) / _MILLION


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Of requests that are about to be sent.

    Attributes:
      requests: how many.
      input_tokens: in all of them, estimated from their bytes.
      output_tokens: in the answers, at most.
      cost: by the prices, answers at their longest; what is asked again not counted.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float

    @classmethod
    def of(
        cls, questions: Sequence[str], max_tokens: int, prices: Prices
    ) -> "Estimate":
        """Of questions, each a request of its own."""
        sizes = (len(text.encode("utf-8", "replace")) for text in questions)
        tokens = sum(-(-size // _BYTES_PER_TOKEN) + _TOKENS_AROUND for size in sizes)
        answers = max_tokens * len(questions)
        return cls(len(questions), tokens, answers, prices.of(tokens, answers))

    def __str__(self) -> str:
        return (
            f"{counted(self.requests, 'request')}, about {self.input_tokens:,} tokens "
            f"sent and at most {self.output_tokens:,} answered: {self.cost:.2f} "
            "by the prices set, with answers at their longest"
        )

    def check(self, prices: Prices, spent: float = 0.0) -> None:
        """Refuses what would cost more than the limit.

        Args:
          prices: hold the limit.
          spent: by the same command before.

        Raises:
          ConfigError: it would; nothing of it has been asked.
        """
        if (whole := spent + self.cost) > prices.limit:
            before = f", beside {spent:.2f} spent before" if spent else ""
            raise ConfigError(
                f"the judge would cost {self.cost:.2f} ({self}){before}: more than "
                f"JUDGE_MAX_COST = {prices.limit:g}, and nothing was asked. Allow it by "
                f"--gin.JUDGE_MAX_COST={_rounded_up(whole)}, or take fewer prompts"
            )


def _rounded_up(cost: float) -> str:
    step = 10.0 ** (math.floor(math.log10(cost)) - 1)
    return f"{math.ceil(cost / step) * step:g}"
