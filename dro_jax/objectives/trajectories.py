"""What an objective reads: trajectories in flat arrays, and sampled ones as they were."""

import dataclasses

import jax

from dro_jax.objectives._arithmetic import log_ratios, sum_over_tokens


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trajectories:
    """A flat batch of N trajectories: (prompt, response, reward) seen by the model.

    Attributes:
      policy_logprobs: ``[N]`` log π_θ(y|x), summed over response tokens, nats; None
        where a reward model is trained.
      rewards: ``[N]``.
      weights: ``[N]`` 1 where a trajectory is present, 0 where padding.
      reference_logprobs: ``[N]`` log π_ref(y|x), or None.
      values: ``[M]`` value estimates, or None. M = N with one value a trajectory.
      value_owners: ``[M]`` index in [0, N) of the trajectory that each value belongs
        to, or None when M = N in order.
      value_weights: ``[M]`` weights that sum to 1 over a trajectory's values, or None.
      token_logprobs: ``[N, T]`` log π_θ(y_t|x, y_<t), for objectives that need tokens.
      token_weights: ``[N, T]`` 1 for the trajectory's own response tokens, else 0.
      reference_token_logprobs: ``[N, T]``, for those that need the reference too.
      token_values: ``[N, T]`` V(x, y_<t), the value before token t is chosen, in units of
        reward; only where the token's weight is 1 is it the trajectory's own.
      old_token_logprobs: ``[N, T]`` log π_old(y_t|x, y_<t) of the policy that sampled.
      old_token_values: ``[N, T]`` the values of then.
      token_advantages: ``[N, T]`` of `Objective.of_rollouts`, in units of reward.
      token_returns: ``[N, T]`` of the same, what values are fitted to.
      lengths: ``[N]`` float32 response tokens.
      advantages: ``[N]`` r − V_ref(x), in units of reward.
      prompt_values: ``[N]`` V̂(x) of `Objective.values_of_prompts`.
      quantiles: ``[N]`` in [0, 1].
      mismatched_log_ratios: ``[N]`` ℓ of each response under another's prompt, without
        gradient.
      mismatched_weights: ``[N]`` 1 where there is such a pair.
      scores: ``[N]`` float32 s(x, y) of a reward model, or None.
      running: scalars that the run carries, by name; None outside of a run.
      held_out: whether these are read to judge the run: what it carries is used as it
        stands, and not moved on.
      group_size: K: trajectories iK to iK + K − 1 answer one prompt, best first; empty
        places have weight 0. 1 where nothing is grouped.
    """

    policy_logprobs: jax.Array | None
    rewards: jax.Array
    weights: jax.Array
    reference_logprobs: jax.Array | None = None
    values: jax.Array | None = None
    value_owners: jax.Array | None = None
    value_weights: jax.Array | None = None
    token_logprobs: jax.Array | None = None
    token_weights: jax.Array | None = None
    reference_token_logprobs: jax.Array | None = None
    token_values: jax.Array | None = None
    old_token_logprobs: jax.Array | None = None
    old_token_values: jax.Array | None = None
    token_advantages: jax.Array | None = None
    token_returns: jax.Array | None = None
    lengths: jax.Array | None = None
    advantages: jax.Array | None = None
    prompt_values: jax.Array | None = None
    quantiles: jax.Array | None = None
    mismatched_log_ratios: jax.Array | None = None
    mismatched_weights: jax.Array | None = None
    scores: jax.Array | None = None
    running: dict[str, jax.Array] | None = None
    group_size: int = dataclasses.field(default=1, metadata={"static": True})
    held_out: bool = dataclasses.field(default=False, metadata={"static": True})

    def at_values(self, per_trajectory: jax.Array) -> jax.Array:
        """``[N] -> [M]``: each value's copy of its trajectory's number."""
        if self.value_owners is None:
            return per_trajectory
        return per_trajectory[self.value_owners]

    def over_values(self, per_value: jax.Array) -> jax.Array:
        """``[M] -> [N]``: the weighted mean over each trajectory's values."""
        if self.value_owners is None:
            return per_value
        return jax.ops.segment_sum(
            per_value * self.value_weights,
            self.value_owners,
            num_segments=self.rewards.shape[0],
        )

    def by_group(self, per_trajectory: jax.Array) -> jax.Array:
        """``[N] -> [N/K, K]``: a row for each group."""
        return per_trajectory.reshape(-1, self.group_size)

    @property
    def log_ratios(self) -> jax.Array:
        """``[N]`` ℓ = log π_θ(y|x) − log π_ref(y|x)."""
        return log_ratios(self.policy_logprobs, self.reference_logprobs)

    @property
    def old_log_ratios(self) -> jax.Array:
        """``[N]`` log π_old(y|x) − log π_ref(y|x), without gradient.

        Its mean over samples of π_old estimates KL(π_old‖π_ref) without bias.
        """
        per_token = log_ratios(
            jax.lax.stop_gradient(self.old_token_logprobs),
            self.reference_token_logprobs,
        )
        return sum_over_tokens(per_token, self.token_weights)

    @property
    def trajectory_values(self) -> jax.Array:
        """``[N]`` the mean of each trajectory's values, without gradient."""
        return self.over_values(jax.lax.stop_gradient(self.values))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rollouts:
    """Responses that the policy sampled, as they were when it did: N of one round.

    Attributes:
      rewards: ``[N]``.
      weights: ``[N]`` 1 where a trajectory is present, 0 where padding.
      token_weights: ``[N, T]`` 1 for a response's tokens, else 0.
      token_logprobs: ``[N, T]`` log π_old(y_t|x, y_<t), nats.
      reference_token_logprobs: ``[N, T]`` log π_ref(y_t|x, y_<t), nats.
      token_values: ``[N, T]`` V_old(x, y_<t), or None without a value.
      running: scalars that the run carries, by name; empty where there are none.
    """

    rewards: jax.Array
    weights: jax.Array
    token_weights: jax.Array
    token_logprobs: jax.Array
    reference_token_logprobs: jax.Array
    token_values: jax.Array | None = None
    running: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
