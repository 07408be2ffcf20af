"""What a run samples while it trains, and how it is trained on."""

import dataclasses
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.evaluation.sample_rewards import check_units
from dro_jax.models.decoding import DecodingConfig
from dro_jax.rewards.interface import Reward

_DECODING = DecodingConfig()


@dataclasses.dataclass(frozen=True)
class FreshSamples:
    """Rounds of fresh samples: the policy answers, a reward scores, the run trains.

    A run of this kind goes in rounds. At a round's start the policy answers
    `num_prompts` prompts of the training split, whose different prompts come in a new
    order in each pass over them; then its batches are trained on, `epochs` times over.
    A response is drawn by the seed, the round, the prompt's record and the sample's
    number, whatever the devices.

    Attributes:
      num_prompts: prompts of a round.
      decoding: how responses are chosen, `num_samples` for each prompt; by default one
        at temperature 1 of all tokens, which are samples of the policy itself. Its
        `max_decode_length` is by default the task's response length, its `seed` is not
        used.
      rewards: a reward, or several of which the first counts; None, the task's own where
        a program knows it (`register_feedback_task(reward_fn=…)`).
      scale: what a sample's reward, transformed as the log's are, is multiplied by, and
      shift: what is added then: they bring a reward of other units to those of the log's
        where the two are mixed.
      epochs: passes over a round's samples.
      log_share: the share of each batch's rows that come from the log, in [0, 1); 0,
        samples alone.
      lag: rounds that the policy which samples is behind that which is trained: what it
        answers at a round's start is trained on so many rounds later. The first rounds
        are all of the starting policy.
      move_reference_every: steps after which the policy becomes the reference that it is
        anchored to, at the start of the next round; None, the reference is fixed.
      batch_size: prompts that are decoded at a time; None, as many as a batch's rows.
      keep_all: keep the file of every round in `MODEL_DIR/fresh_samples`; else of those
        alone that a kept checkpoint may need.
      seed: of prompts and samples.

    Raises:
      ConfigError: a setting cannot be used.
    """

    num_prompts: int = 64
    decoding: DecodingConfig = _DECODING
    rewards: Reward | Sequence[Reward] | None = None
    scale: float = 1.0
    shift: float = 0.0
    epochs: int = 1
    log_share: float = 0.0
    lag: int = 0
    move_reference_every: int | None = None
    batch_size: int | None = None
    keep_all: bool = False
    seed: int = 0

    def __post_init__(self):
        for name, least in (
            ("num_prompts", 1),
            ("epochs", 1),
            ("lag", 0),
            ("move_reference_every", 1),
            ("batch_size", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(
                    f"FreshSamples.{name} = {value}: give at least {least}"
                )
        if not 0 <= self.log_share < 1:
            raise ConfigError(
                f"FreshSamples.log_share = {self.log_share} (FRESH_LOG_SHARE): give the "
                "share of the log's rows, 0 (samples alone) or more and below 1; a run on "
                "the log alone has no fresh samples (FRESH_SAMPLES = None)"
            )
        check_units("FreshSamples", self.scale, self.shift)
        if self.decoding.beams or not self.decoding.temperature:
            raise ConfigError(
                "FreshSamples.decoding must sample: beams and a temperature of 0 give the "
                "same responses again and again"
            )
        if isinstance(self.rewards, Sequence) and not self.rewards:
            raise ConfigError(
                "FreshSamples.rewards (REWARD) is empty: give a reward, or None for the "
                "task's own"
            )

    @property
    def reward(self) -> Reward | None:
        """The reward that is trained on; None, the task's own."""
        if isinstance(self.rewards, Sequence):
            return self.rewards[0]
        return self.rewards

    @property
    def is_of_policy(self) -> bool:
        """Whether responses are samples of the policy itself, and of no filter of it."""
        own = self.decoding
        return own.temperature == 1.0 and not own.top_k and not own.top_p

    def log_rows(self, batch_size: int) -> int:
        """Rows of a batch that come from the log."""
        return round(self.log_share * batch_size)

    def identity(self) -> str:
        """What a run that goes on must find the same, in words."""
        decoding, cache = self.decoding, ""
        if decoding.cache_dtype is not None:  # runs of before have none
            cache = f", cache_dtype {decoding.cache_dtype}"
        return (
            f"{self.num_prompts} prompts a round, {decoding.num_samples} responses each "
            f"(temperature {decoding.temperature:g}, top_k {decoding.top_k}, top_p "
            f"{decoding.top_p or 0:g}, most {decoding.max_decode_length}{cache}), epochs "
            f"{self.epochs}, log_share {self.log_share:g}, lag {self.lag}, "
            f"move_reference_every {self.move_reference_every}, scale {self.scale:g}, "
            f"shift {self.shift:g}, seed {self.seed}"
        )
