"""What the frozen reference adds to a batch's outputs, as far as an objective reads it."""

import jax

from dro_jax.batch_fields import MISMATCHED
from dro_jax.errors import ConfigError
from dro_jax.models import logprobs
from dro_jax.models.networks import Batch, Networks, Params, trajectory_mask
from dro_jax.objectives.interface import Objective


def reference_outputs(
    networks: Networks,
    objective: Objective,
    params: Params,
    batch: Batch,
    reference_params: Params | None,
) -> dict[str, jax.Array | None]:
    """The fields of `RowOutputs` that the reference has a part in.

    Args:
      networks: the policy's are the reference's too.
      objective: says what it needs.
      params: the policy's parameters.
      batch: its `reference_logprobs` are taken where it has them.
      reference_params: frozen policy parameters.

    Raises:
      ConfigError: the objective needs a reference and none is given.
    """
    needs = objective.needs
    if not needs.reference:
        return {}
    # The copy may be the very arrays that are differentiated: at a run's start both are
    # one checkpoint's.
    frozen = jax.lax.stop_gradient(reference_params)
    fields = {}
    if "reference_logprobs" in batch:
        fields["reference_logprobs"] = batch["reference_logprobs"]
        if needs.token_logprobs:
            fields["reference_token_logprobs"] = batch["reference_token_logprobs"]
    elif reference_params is None:
        raise ConfigError(
            f"{type(objective).__name__} needs the reference policy: give "
            "reference_params, or a batch with 'reference_logprobs'"
        )
    else:
        per_token = networks.policy_token_logprobs(frozen, batch)
        summed = logprobs.sum_over_tokens(per_token, trajectory_mask(batch))
        fields["reference_logprobs"] = summed
        if needs.token_logprobs:
            fields["reference_token_logprobs"] = per_token
    if needs.mismatched and reference_params is None:
        raise ConfigError(
            f"{type(objective).__name__} reads log-probabilities of pairs that "
            "differ from batch to batch, so they cannot be cached: use "
            "REFERENCE = 'frozen_copy'"
        )
    if needs.mismatched and f"{MISMATCHED}weights" in batch:
        others = batch | {
            name.removeprefix(MISMATCHED): x
            for name, x in batch.items()
            if name.startswith(f"{MISMATCHED}encoder")
        }
        fields["mismatched_log_ratios"] = networks.log_ratios(params, frozen, others)
    return fields
