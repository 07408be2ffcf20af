"""All that passes between an objective and those who train, judge or certify it."""

import abc
import dataclasses
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.objectives.theory import Theory
from dro_jax.objectives.trajectories import Rollouts, Trajectories

__all__ = [
    "Losses",
    "Needs",
    "Objective",
    "Rollouts",
    "Trajectories",
    "changed_settings",
    "weighted_mean",
]


@dataclasses.dataclass(frozen=True)
class Needs:
    """What an objective reads; the model computes just this.

    Attributes:
      reference: log-probabilities under the frozen reference policy.
      value: a trained value estimate.
      whole_batch: a statistic of the batch, through which one trajectory's loss depends
        on others. The other objectives' gradients need one pass over microbatches,
        these two.
      token_logprobs: log-probabilities of each token beside their sums.
      token_values: a trained value at each token, V(x, y_<t), beside `token_logprobs`
        and laid out as they are; asks for `value` too, whose granularity is then
        `token`.
      logits_value: the value is the normaliser of the policy's own logits, and no network
        stands beside the policy; asks for `value` too, whose network is then
        `policy_logits`.
      rollouts: what is known of responses since the policy sampled them: their tokens'
        log-probabilities and values of then, advantages and returns. Only a run that
        samples has them: :meth:`Objective.of_rollouts` makes the last two.
      advantages: r − V_ref(x), V_ref an estimate of the frozen reference's value.
      leftover: trajectories of positive advantage, and no others.
      prompt_values: an estimate of each prompt's value, from all that is logged for it
        or from samples of the reference.
      quantiles: where a reward lies among those of its prompt.
      groups: all responses to a prompt beside each other, best first.
      mismatched: log-ratios of responses under prompts that they do not answer.
      split_rewards: all rewards of the training split, before the first step:
        :meth:`Objective.fitted_to` is given them.
      scores: scores of responses by a reward model, which is then what is trained:
        there is no policy, and of the other needs only `groups` can stand beside it.
      running: names of numbers that a run carries from step to step, 0 at its start.
    """

    reference: bool = False
    value: bool = False
    whole_batch: bool = False
    token_logprobs: bool = False
    token_values: bool = False
    logits_value: bool = False
    rollouts: bool = False
    advantages: bool = False
    leftover: bool = False
    prompt_values: bool = False
    quantiles: bool = False
    groups: bool = False
    mismatched: bool = False
    split_rewards: bool = False
    scores: bool = False
    running: tuple[str, ...] = ()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Losses:
    """What an objective returns; nothing is averaged yet.

    Attributes:
      policy: ``[N]`` loss per trajectory, differentiated for the policy or, in its
        place, a reward model.
      value: ``[N]`` loss per trajectory for the value estimate, or None.
      terms: further ``[N]`` quantities to log, by metric name.
      running: the new scalars that the run carries, by name.
    """

    policy: jax.Array
    value: jax.Array | None = None
    terms: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    running: dict[str, jax.Array] = dataclasses.field(default_factory=dict)

    @property
    def total(self) -> jax.Array:
        """``[N]`` policy and value loss together."""
        return self.policy if self.value is None else self.policy + self.value


class Objective(metaclass=abc.ABCMeta):
    """A loss with its hyperparameters: a frozen dataclass, trajectories to losses.

    This is all that is asked of an objective, by whichever trainer: nobody looks at its
    class. A new one derives from this, sets `needs` and defines `__call__`; what has a
    default here is overridden only where its need asks for it::

        @dataclasses.dataclass(frozen=True)
        class Hinge(Objective):
            margin: float = 1.0
            needs: ClassVar[Needs] = Needs(reference=True)

            def __call__(self, trajectories):
                gaps = self.margin - trajectories.rewards * trajectories.log_ratios
                return Losses(policy=jnp.maximum(gaps, 0.0))

    Attributes:
      needs: what it reads; the model computes, and a run prepares, just this.
      theory: what it converges to, for `dro-jax certify`. Those that this package
        exports have one, but for those that train no policy (`needs.scores`).
    """

    needs: ClassVar[Needs] = Needs()
    theory: ClassVar[Theory | None] = None

    @abc.abstractmethod
    def __call__(self, trajectories: Trajectories) -> Losses:
        """``[N]`` losses of N trajectories; pure, so that it can be traced."""

    def fitted_to(self, rewards: np.ndarray) -> Self:
        """The objective with what it takes from the rewards of the training split.

        A run calls this once, before its first step, if `needs.split_rewards`. Only
        hyperparameters that were left open may change.

        Args:
          rewards: ``[R]``, all of them, as the model reads them.

        Returns:
          This very objective where there is nothing to set.

        Raises:
          ValueError: nothing can be learnt from these rewards; the message says why.
        """
        del rewards
        return self

    def told_of_fit(self, rewards: np.ndarray) -> str | None:
        """A sentence for the run's user about what :meth:`fitted_to` set.

        Args:
          rewards: ``[R]`` that this objective was fitted to.
        """
        del rewards
        return None

    def values_of_prompts(
        self,
        reference_logprobs: jax.Array,
        rewards: jax.Array,
        groups: jax.Array,
        weights: jax.Array | None = None,
    ) -> jax.Array:
        """V̂ of each trajectory's prompt, the field `prompt_values` of batches.

        A run calls this once a split, if `needs.prompt_values`, with all trajectories
        of each prompt that it passes.

        Args:
          reference_logprobs: ``[R]`` float32 log π_ref(y|x), nats.
          rewards: ``[R]``.
          groups: ``[R]`` integers, equal for responses of one prompt.
          weights: ``[R]`` how often each is logged; default once. A run passes none: it
            has each record as often as it is logged.

        Returns:
          ``[R]`` float32, in units of reward.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.needs asks for prompt_values, so it must define "
            "values_of_prompts"
        )

    def values_of_samples(self, rewards: jax.Array) -> jax.Array:
        """V̂ of prompts from rewards of the reference's own samples.

        A run calls this in place of :meth:`values_of_prompts` where it samples the
        reference (`train.reference_samples`).

        Args:
          rewards: ``[P, n]`` float32 of n responses of the reference to each of P prompts.

        Returns:
          ``[P]`` float32, in units of reward.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.needs asks for prompt_values, so it must define "
            "values_of_samples to take them from the reference's samples"
        )

    def of_rollouts(self, rollouts: Rollouts) -> tuple[jax.Array, jax.Array]:
        """What each token of sampled responses was worth.

        A run calls this once a round of samples, with all of them, if `needs.rollouts`.

        Args:
          rollouts: the N responses of a round.

        Returns:
          ``[N, T]`` advantages and ``[N, T]`` returns, in units of reward; 0 at padding.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.needs asks for rollouts, so it must define of_rollouts"
        )


def changed_settings(before: Objective, after: Objective) -> dict[str, Any]:
    """The hyperparameters of `after` that differ from those of `before`, by name."""
    return {
        field.name: getattr(after, field.name)
        for field in dataclasses.fields(after)
        if getattr(after, field.name) != getattr(before, field.name)
    }


def weighted_mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Σ(values · weights) / Σ(weights); 0 where all weights are 0."""
    total = jnp.sum(weights)
    return jnp.sum(values * weights) / jnp.where(total > 0, total, 1.0)
