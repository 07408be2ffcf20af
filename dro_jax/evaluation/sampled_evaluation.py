"""What a training run samples at each of its evaluations, and how that is judged."""

import dataclasses
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.judges.interface import Judge
from dro_jax.models.decoding import DecodingConfig
from dro_jax.rewards.interface import Reward

_DECODING = DecodingConfig()


@dataclasses.dataclass(frozen=True)
class SampledEvaluation:
    """Responses to held-out prompts, sampled and measured beside the held-out loss.

    Prompts and random keys are the same at every evaluation, so that two of them differ
    by the policy alone: a key is the seed's, the record's and the sample's number.

    Attributes:
      num_prompts: how many, the first different ones of the held-out split, of each task
        of a mixture; None, all.
      decoding: how responses are chosen, `num_samples` for each prompt; by default one
        at temperature 1 of all tokens, for which KL is unbiased. Its
        `max_decode_length` is by default the task's response length.
      rewards: a reward, or several of which the first counts; None, the task's own where
        a program knows it (`register_feedback_task(reward_fn=…)`).
      judge: compares the responses with the reference's; None, the first reward does.
      batch_size: prompts at a time; None, as many as a batch of the held-out data.
      num_texts: responses that each evaluation adds to `samples.jsonl`, for people.

    Raises:
      ConfigError: a setting cannot be used.
    """

    num_prompts: int | None = 64
    decoding: DecodingConfig = _DECODING
    rewards: Reward | Sequence[Reward] | None = None
    judge: Judge | None = None
    batch_size: int | None = None
    num_texts: int = 8

    def __post_init__(self):
        for name in ("num_prompts", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(
                    f"SampledEvaluation.{name} = {value}: give at least 1, or None"
                )
        if self.num_texts < 0:
            raise ConfigError(
                f"SampledEvaluation.num_texts = {self.num_texts}: give 0 or more"
            )
        names = [reward.name for reward in self.all_rewards or ()]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"SampledEvaluation.rewards are called {', '.join(names)}: give each a "
                "name of its own"
            )

    @property
    def all_rewards(self) -> tuple[Reward, ...] | None:
        """The rewards, however many were given; None, those of the task."""
        if self.rewards is None:
            return None
        given = self.rewards if isinstance(self.rewards, Sequence) else [self.rewards]
        return tuple(given)
