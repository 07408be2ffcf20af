"""What a run samples of its reference before the first step."""

import dataclasses
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.evaluation.sample_rewards import check_units
from dro_jax.models.decoding import DecodingConfig
from dro_jax.objectives.interface import Needs
from dro_jax.rewards.interface import Reward

_DECODING = DecodingConfig(num_samples=8)


@dataclasses.dataclass(frozen=True)
class ReferenceSamples:
    """The reference's own responses to a split's prompts, scored and kept on disk.

    From them come, in place of what was logged: V_ref of A-LoL, fitted to each prompt's
    mean reward; the prompt values of RPO and A*-PO; QRPO's quantiles.

    Attributes:
      decoding: how responses are drawn, `num_samples` for each prompt; by default eight
        at temperature 1 of all tokens, which are samples of π_ref itself. Its
        `max_decode_length` is by default the task's response length.
      rewards: a reward, or several of which the first counts; None, the task's own
        where a program knows it (`register_feedback_task(reward_fn=…)`). The task's
        `reward_transform` is applied to what it gives.
      batch_size: prompts at a time; None, as many as a batch of the data has rows.
      scale: what a sample's reward, transformed as the log's are, is multiplied by, and
      shift: what is added then: they bring a reward of other units to those of the log's,
        with which it is compared.

    Raises:
      ConfigError: a setting cannot be used.
    """

    decoding: DecodingConfig = _DECODING
    rewards: Reward | Sequence[Reward] | None = None
    batch_size: int | None = None
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self):
        check_units("ReferenceSamples", self.scale, self.shift)
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(
                f"ReferenceSamples.batch_size = {self.batch_size}: give at least 1, or "
                "None"
            )
        if self.decoding.beams:
            raise ConfigError(
                "ReferenceSamples.decoding searches by beams, which gives no samples of "
                "the reference: leave beams out"
            )
        if isinstance(self.rewards, Sequence) and not self.rewards:
            raise ConfigError(
                "ReferenceSamples.rewards (REWARD) is empty: give a reward, or None for "
                "the task's own"
            )

    @property
    def reward(self) -> Reward | None:
        """What counts; None, each task's own program."""
        if isinstance(self.rewards, Sequence):
            return self.rewards[0]
        return self.rewards

    def units(self) -> dict[str, str]:
        """Scale and shift as a fact by name; none where they change nothing.

        Samples of before there were these settings so stay what they are.
        """
        if (self.scale, self.shift) == (1, 0):
            return {}
        scale, shift = float(self.scale), float(self.shift)
        return {"units of samples": f"scale {scale}, shift {shift}"}


def reads_samples(needs: Needs) -> bool:
    """Whether an objective has a use for samples of the reference."""
    return needs.advantages or needs.prompt_values or needs.quantiles
