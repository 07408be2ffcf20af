"""The samples of a round: what the policy answered, and what is known of it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax import batch_fields
from dro_jax.data.truncation import counting


@dataclasses.dataclass(frozen=True, eq=False)
class RoundSamples:
    """N responses of one round.

    Attributes:
      places: ``[N]`` int64, their prompts' places among the split's different ones.
      tokens: ``[Σ lengths]`` int32, response after response, EOS included.
      lengths: ``[N]`` int32 tokens of each.
      cut: ``[N]`` bool, which met the length limit, without EOS.
      rewards: ``[N]`` float32, as training reads them.
      logprobs: ``[N]`` float32 log π(y|x) of the policy that sampled, nats.
      fields: what was computed of them, by the names of a batch's fields: ``[N]``, or
        ``[Σ lengths]`` where the field is one of tokens.
      step: updates before they were drawn.
    """

    places: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray
    cut: np.ndarray
    rewards: np.ndarray
    logprobs: np.ndarray
    fields: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    step: int = 0

    def __len__(self) -> int:
        return len(self.places)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """``[N]`` where each response's tokens begin."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    @property
    def kl(self) -> float | None:
        """The mean log-ratio to the reference, where that is known, nats a response."""
        if "reference_logprobs" not in self.fields:
            return None
        ratios = self.logprobs - self.fields["reference_logprobs"]
        return float(np.mean(ratios, dtype=np.float64))

    def with_fields(self, fields: Mapping[str, np.ndarray]) -> "RoundSamples":
        """The same, and more known of them."""
        return dataclasses.replace(self, fields={**self.fields, **fields})

    def dense(self, per_token: np.ndarray, width: int) -> np.ndarray:
        """``[N, width]`` of numbers ``[Σ lengths]``, 0 at padding."""
        found = np.zeros((len(self), width), per_token.dtype)
        found[self.token_weights(width)] = per_token
        return found

    def token_weights(self, width: int) -> np.ndarray:
        """``[N, width]`` bool, true where a response has a token."""
        return np.arange(width) < self.lengths[:, None]

    @classmethod
    def joined(cls, parts: Sequence["RoundSamples"]) -> "RoundSamples":
        """Several, one after another; nothing is computed of them yet."""
        names = ("places", "tokens", "lengths", "cut", "rewards", "logprobs")
        columns = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
        return cls(**columns, step=parts[0].step)

    def take(self, numbers: np.ndarray) -> "RoundSamples":
        """Some of them, in that order."""
        lengths = self.lengths[numbers]
        within = np.repeat(self.starts[numbers], lengths) + counting(lengths)
        names = ("places", "lengths", "cut", "rewards", "logprobs")
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[numbers] for name in names},
            tokens=self.tokens[within],
            fields={
                name: values[within if of_tokens(name) else numbers]
                for name, values in self.fields.items()
            },
        )


def of_tokens(field: str) -> bool:
    """Whether a batch's field has a number for each token, and not for each response."""
    return batch_fields.field(field).axes == "BT"
