"""From rows to trajectories: what networks made of a batch, as objectives read it."""

import jax
import jax.numpy as jnp

from dro_jax.models import logprobs
from dro_jax.models.networks import Batch, RowOutputs, trajectory_mask
from dro_jax.models.value_estimate import ValueEstimate
from dro_jax.objectives.interface import Trajectories


def assemble(
    outputs: RowOutputs, batch: Batch, value: ValueEstimate | None, *, tokens: bool
) -> Trajectories:
    """The N = B·S trajectories of a batch.

    Args:
      outputs: what the networks made of its B rows.
      batch: as in the design's batch contract.
      value: what the outputs' values are, where there are any.
      tokens: whether log-probabilities of each token are wanted beside their sums.
    """
    mask, weights = trajectory_mask(batch), batch["trajectory_weights"]
    reference = outputs.reference_logprobs
    fields = {}
    if outputs.values is not None:
        fields |= value.fields(outputs.values, mask, weights)
    if tokens:
        fields |= _tokens(outputs, mask)
    policy_logprobs = logprobs.sum_over_tokens(outputs.token_logprobs, mask)
    return Trajectories(
        policy_logprobs=policy_logprobs.reshape(-1),
        rewards=batch["rewards"].reshape(-1),
        weights=weights.reshape(-1),
        reference_logprobs=None if reference is None else reference.reshape(-1),
        **fields,
    )


def _tokens(outputs: RowOutputs, mask: jax.Array) -> dict[str, jax.Array]:
    """The token fields of `Trajectories`; `mask` ``[B, T, S]``."""
    rows, length, slots = mask.shape

    def of_each(per_token):
        spread = jnp.broadcast_to(per_token[:, None, :], (rows, slots, length))
        return spread.reshape(-1, length)

    fields = {
        "token_logprobs": of_each(outputs.token_logprobs),
        "token_weights": jnp.swapaxes(mask, 1, 2).reshape(-1, length),
    }
    if outputs.reference_token_logprobs is not None:
        reference = of_each(outputs.reference_token_logprobs)
        fields["reference_token_logprobs"] = reference
    return fields
