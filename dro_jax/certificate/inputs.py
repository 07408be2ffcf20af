"""What objectives read beside log-probabilities, exact on the finite space.

A `Trajectories` of the base holds each response of each prompt once, in order: N = P·Y.
`Inputs` say which of them a method's batch is made of, and with what rewards and weights.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.certificate.problem import Condition
from dro_jax.objectives.interface import (
    Losses,
    Needs,
    Objective,
    Rollouts,
    Trajectories,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
    """A batch that stands for the whole logging distribution.

    Attributes:
      responses: ``[N]`` int32 index of each trajectory in the base.
      prompts: ``[N]`` int32.
      rewards: ``[N]`` as logged.
      weights: ``[N]`` how often each is logged; they sum to 1.
      lengths: ``[N]`` float32 tokens.
      advantages: ``[N]`` r − V_ref(x), or None in groups.
      quantiles: ``[N]`` in [0, 1], or None in groups.
      mismatched_weights: ``[N]`` how often another prompt's logged response is this,
        or None in groups.
      prompt_values: ``[N]`` V̂(x) of `Objective.values_of_prompts`, or None.
      fixed_values: ``[N]`` V to use in place of a trained one, or None.
      group_size: K of `Trajectories`.
    """

    responses: jax.Array
    prompts: jax.Array
    rewards: jax.Array
    weights: jax.Array
    lengths: jax.Array
    advantages: jax.Array | None = None
    quantiles: jax.Array | None = None
    mismatched_weights: jax.Array | None = None
    prompt_values: jax.Array | None = None
    fixed_values: jax.Array | None = None
    group_size: int = dataclasses.field(default=1, metadata={"static": True})

    def with_prompt_values(
        self, objective: Objective, reference_logprobs: jax.Array
    ) -> "Inputs":
        """With V̂(x) from all logged responses; `reference_logprobs` of the base."""
        values = objective.values_of_prompts(
            reference_logprobs[self.responses], self.rewards, self.prompts, self.weights
        )
        return dataclasses.replace(self, prompt_values=values)

    def trajectories(self, base: Trajectories) -> Trajectories:
        """The base's trajectories as this batch has them."""

        def taken(per_response):
            return None if per_response is None else per_response[self.responses]

        mismatched = None
        if base.reference_logprobs is not None:
            mismatched = taken(jax.lax.stop_gradient(base.log_ratios))
        values = taken(base.values) if self.fixed_values is None else self.fixed_values
        return Trajectories(
            policy_logprobs=taken(base.policy_logprobs),
            rewards=self.rewards,
            weights=self.weights,
            reference_logprobs=taken(base.reference_logprobs),
            values=values,
            token_logprobs=taken(base.token_logprobs),
            token_weights=taken(base.token_weights),
            reference_token_logprobs=taken(base.reference_token_logprobs),
            token_values=taken(base.token_values),
            lengths=self.lengths,
            advantages=self.advantages,
            prompt_values=self.prompt_values,
            quantiles=self.quantiles,
            mismatched_log_ratios=mismatched,
            mismatched_weights=self.mismatched_weights,
            group_size=self.group_size,
        )


@dataclasses.dataclass(frozen=True)
class Expectation(Objective):
    """An objective's exact expectation, itself an objective of the base.

    The mean of its losses over the base is the mean of the objective's over the logging
    distribution, so a model trains on it as on any other.

    Attributes:
      objective: one of `dro_jax.objectives`.
      inputs: the logging distribution.
      on_policy: the share of responses that are the policy's own as it stands, in place
        of the log's; it may be traced.
        An objective of rollouts knows no other responses.
    """

    objective: Objective
    inputs: Inputs
    on_policy: jax.Array | float = 0.0

    @property
    def needs(self) -> Needs:
        """What of the objective's needs a model computes; the inputs hold the others."""
        needs = self.objective.needs
        return Needs(
            reference=needs.reference,
            value=needs.value,
            token_logprobs=needs.token_logprobs,
            token_values=needs.token_values,
            logits_value=needs.logits_value,
            whole_batch=True,
        )

    def __call__(self, base: Trajectories) -> Losses:
        trajectories = self.inputs.trajectories(base)
        # Where the data come from is no part of the objective: no gradient through it.
        logprobs = jax.lax.stop_gradient(trajectories.policy_logprobs)
        # A group comes as often as all of its responses do.
        of_groups = jnp.sum(trajectories.by_group(logprobs), axis=1)
        current = jnp.exp(jnp.repeat(of_groups, trajectories.group_size))
        share = 1.0 if self.objective.needs.rollouts else self.on_policy
        weights = (1 - share) * trajectories.weights
        weights += share * current / jnp.sum(current)
        trajectories = dataclasses.replace(trajectories, weights=weights)
        if self.objective.needs.rollouts:
            trajectories = _sampled(self.objective, trajectories)
        losses = self.objective(trajectories)
        size = base.rewards.shape[0]
        # A model's loss is the mean over the base, hence its size.
        shares = size * weights / jnp.sum(weights)

        def onto_base(per_trajectory):
            return jax.ops.segment_sum(
                per_trajectory * shares, self.inputs.responses, num_segments=size
            )

        value = None if losses.value is None else onto_base(losses.value)
        return Losses(policy=onto_base(losses.policy), value=value)


def _sampled(objective: Objective, trajectories: Trajectories) -> Trajectories:
    """With what a run knows of samples of the policy as it stands: all are fresh."""
    old_logprobs, old_values = jax.lax.stop_gradient(
        (trajectories.token_logprobs, trajectories.token_values)
    )
    advantages, returns = objective.of_rollouts(
        Rollouts(
            rewards=trajectories.rewards,
            weights=trajectories.weights,
            token_weights=trajectories.token_weights,
            token_logprobs=old_logprobs,
            reference_token_logprobs=trajectories.reference_token_logprobs,
            token_values=old_values,
        )
    )
    return dataclasses.replace(
        trajectories,
        old_token_logprobs=old_logprobs,
        old_token_values=old_values,
        token_advantages=advantages,
        token_returns=returns,
    )


def make_inputs(
    needs: Needs, condition: Condition, *, ranked: bool, seed: int
) -> Inputs:
    """The batch of a condition in the form that an objective reads.

    Args:
      needs: of the objective.
      condition: what is logged.
      ranked: for grouped responses, lists of three in place of pairs.
      seed: of the lists.
    """
    if not needs.groups:
        return _singles(condition)
    return _lists(condition, seed) if ranked else _pairs(condition)


def _inputs(
    condition: Condition,
    prompts,
    responses,
    rewards,
    weights,
    group_size: int = 1,
    **fields,
):
    """`Inputs` of flat arrays."""
    num_responses = condition.problem.space.num_responses
    return Inputs(
        responses=jnp.asarray(prompts * num_responses + responses, jnp.int32),
        prompts=jnp.asarray(prompts, jnp.int32),
        rewards=jnp.asarray(rewards, jnp.float32),
        weights=jnp.asarray(weights / np.sum(weights), jnp.float32),
        lengths=jnp.asarray(condition.problem.space.lengths[responses], jnp.float32),
        group_size=group_size,
        **{name: jnp.asarray(x, jnp.float32) for name, x in fields.items()},
    )


def _singles(condition: Condition) -> Inputs:
    shape = condition.rewards.shape
    prompts, responses, _ = np.indices(shape).reshape(3, -1)
    logging = np.broadcast_to(condition.logging[..., None] / shape[-1], shape)
    # Under prompt x stand the responses that were logged for all the others.
    mismatched = logging.sum(axis=0, keepdims=True) - logging
    return _inputs(
        condition,
        prompts,
        responses,
        condition.rewards.reshape(-1),
        logging.reshape(-1),
        advantages=condition.advantages.reshape(-1),
        quantiles=condition.quantiles.reshape(-1),
        mismatched_weights=mismatched.reshape(-1) / mismatched.sum(),
    )


def _pairs(condition: Condition) -> Inputs:
    """Every ordered pair of a prompt's responses, weighted by how often the first wins."""
    prompts, winners, losers = np.indices(condition.wins.shape).reshape(3, -1)
    apart = winners != losers
    prompts, winners, losers = prompts[apart], winners[apart], losers[apart]
    both = condition.logging[prompts, winners] * condition.logging[prompts, losers]
    weights = both * condition.wins[prompts, winners, losers]
    # The losses of pairs read the order of the rewards alone.
    order = np.tile([1.0, 0.0], len(prompts))
    return _inputs(
        condition,
        np.repeat(prompts, 2),
        np.stack([winners, losers], axis=1).reshape(-1),
        order,
        np.repeat(weights, 2),
        group_size=2,
    )


def _lists(condition: Condition, seed: int) -> Inputs:
    """Every three of a prompt's responses, weighted by logging, their copies drawn once."""
    num_prompts, num_responses, copies = condition.rewards.shape
    threes = np.array(list(itertools.combinations(range(num_responses), 3)))
    responses = np.tile(threes, (num_prompts, 1))
    prompts = np.repeat(np.arange(num_prompts), len(threes))[:, None]
    copy = np.random.default_rng((seed, 2)).integers(copies, size=responses.shape)
    rewards = condition.rewards[prompts, responses, copy]
    order = np.argsort(-rewards, axis=1)
    responses = np.take_along_axis(responses, order, axis=1)
    weights = np.prod(condition.logging[prompts, responses], axis=1)
    return _inputs(
        condition,
        np.repeat(prompts, 3),
        responses.reshape(-1),
        np.take_along_axis(rewards, order, axis=1).reshape(-1),
        np.repeat(weights, 3),
        group_size=3,
    )
