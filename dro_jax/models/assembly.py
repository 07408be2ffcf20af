"""From rows to trajectories: what networks made of a batch, as objectives read it."""

import jax
import jax.numpy as jnp

from dro_jax.batch_fields import FIELDS, RUNNING, SOURCES
from dro_jax.errors import ConfigError
from dro_jax.models import logprobs
from dro_jax.models.networks import Batch, RowOutputs, trajectory_mask
from dro_jax.models.shared_prompts import group_size
from dro_jax.models.value_estimate import ValueEstimate
from dro_jax.objectives.interface import Needs, Objective, Trajectories


def assemble(
    outputs: RowOutputs,
    batch: Batch,
    value: ValueEstimate | None,
    objective: Objective,
) -> Trajectories:
    """The N = B·S trajectories of a batch.

    Args:
      outputs: what the networks made of its B rows.
      batch: as in the design's batch contract.
      value: what the outputs' values are, where there are any.
      objective: says which fields it needs.

    Raises:
      ConfigError: the batch lacks one of them.
    """
    _check_fields(objective, batch)
    return coupled(of_rows(outputs, batch, value, objective), value)


def coupled(trajectories: Trajectories, value: ValueEstimate | None) -> Trajectories:
    """Whole trajectories from those of :func:`of_rows`, with what all have in common."""
    return trajectories if value is None else value.coupled(trajectories)


def of_rows(
    outputs: RowOutputs,
    batch: Batch,
    value: ValueEstimate | None,
    objective: Objective,
) -> Trajectories:
    """As :func:`assemble`, but for what couples trajectories of several rows.

    A mean value is left to :func:`coupled`, mismatched pairs that the batch does not
    hold to who puts the parts of a split together.
    """
    mask = trajectory_mask(batch)
    reference = outputs.reference_logprobs
    fields = {}
    if outputs.values is not None:
        fields |= value.fields(outputs.values, mask)
    if objective.needs.token_logprobs:
        fields |= _tokens(outputs, mask, batch, objective.needs)
    if outputs.scores is not None:
        fields["scores"] = outputs.scores.reshape(-1)
    if outputs.mismatched_log_ratios is not None:
        fields["mismatched_log_ratios"] = outputs.mismatched_log_ratios.reshape(-1)
    fields |= {
        listed.trajectories: batch[name].reshape(-1)
        for name, listed in FIELDS.items()
        if listed.trajectories and listed.axes == "BS" and name in batch
    }
    policy_logprobs = None
    if outputs.token_logprobs is not None:
        summed = logprobs.sum_over_tokens(outputs.token_logprobs, mask)
        policy_logprobs = summed.reshape(-1)
    return Trajectories(
        policy_logprobs=policy_logprobs,
        reference_logprobs=None if reference is None else reference.reshape(-1),
        lengths=jnp.sum(mask, axis=1).reshape(-1),
        running=_running(batch),
        group_size=group_size(batch),
        **fields,
    )


def _tokens(
    outputs: RowOutputs, mask: jax.Array, batch: Batch, needs: Needs
) -> dict[str, jax.Array]:
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
    if needs.token_values:
        fields["token_values"] = of_each(outputs.values)
    return fields | {
        listed.trajectories: of_each(batch[name])
        for name, listed in FIELDS.items()
        if listed.trajectories and listed.axes == "BT" and name in batch
    }


def _check_fields(objective: Objective, batch: Batch) -> None:
    needs = objective.needs
    if "group_weights" in batch and needs.mismatched:
        raise ConfigError(
            f"{type(objective).__name__} puts each response under another's prompt, and "
            "those of a group share one: leave DatasetConfig.group_size (GROUP_SIZE) out"
        )
    for name, listed in FIELDS.items():
        wanted = listed.required and getattr(needs, listed.need)
        if wanted and name not in batch:
            raise ConfigError(
                f"{type(objective).__name__} needs '{name}' ({listed.need}), which the "
                f"batch does not have: {SOURCES[listed.source]}"
            )


def with_running(batch: Batch, running: dict[str, jax.Array]) -> Batch:
    """The batch with what the run carries, once for each trajectory, as all fields."""
    # What cuts a batch into microbatches or spreads it over devices cuts every field
    # along its rows; a number for each row survives that, a scalar would need a rule.
    shape = batch["rewards"].shape
    return batch | {
        f"{RUNNING}{name}": jnp.broadcast_to(x, shape) for name, x in running.items()
    }


def _running(batch: Batch) -> dict[str, jax.Array] | None:
    fields = {
        # Every place holds the same.
        name.removeprefix(RUNNING): x[0, 0]
        for name, x in batch.items()
        if name.startswith(RUNNING)
    }
    return fields or None
