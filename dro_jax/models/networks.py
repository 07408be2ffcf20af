"""The networks that a model runs: a T5 policy and its value estimate, one tree."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dro_jax.models import logprobs, output_layer, t5
from dro_jax.models.shared_prompts import Batch, decoder_prompt_ids
from dro_jax.models.value import ValueConfig
from dro_jax.models.value_estimate import PolicyStates, ValueEstimate

Params = dict[str, Any]
VALUE = "value"  # the name of the value subtree beside encoder, decoder, …


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RowOutputs:
    """What the networks compute of a batch's rows; each row depends on itself alone.

    Attributes:
      token_logprobs: ``[B, T]`` float32 log π(y_t|x, y_<t); None of a reward model.
      values: ``[B, S]``, or ``[B, T]`` with one value a token, or None.
      reference_logprobs: ``[B, S]`` or None.
      reference_token_logprobs: ``[B, T]`` or None.
      mismatched_log_ratios: ``[B, S]`` or None.
      scores: ``[B, S]`` of a reward model, or None.
    """

    token_logprobs: jax.Array | None
    values: jax.Array | None = None
    reference_logprobs: jax.Array | None = None
    reference_token_logprobs: jax.Array | None = None
    mismatched_log_ratios: jax.Array | None = None
    scores: jax.Array | None = None


class Networks:
    """A policy and, where there is one, its value estimate.

    Args:
      network: the policy's T5.
      value: how V is computed; None for no value.
      logits_bytes: the most memory that float32 logits take on a device.
    """

    def __init__(
        self, network: t5.T5Config, value: ValueConfig | None, logits_bytes: int
    ):
        self.policy = t5.T5(network)
        self.value = value and ValueEstimate(value, network, logits_bytes)
        self._config = network
        self._logits_bytes = logits_bytes

    def init(self, rng: jax.Array, batch: Batch) -> tuple[Params, Params]:
        """Random parameters for batches shaped as `batch`, and their logical axes."""
        policy_rng, value_rng = jax.random.split(rng)
        variables = self.policy.init(policy_rng, *_policy_inputs(batch))
        params = dict(variables["params"])
        axes = dict(variables["params_axes"])
        value_variables = self.value and self.value.init(value_rng, batch)
        if value_variables:
            params[VALUE] = value_variables["params"]
            axes[VALUE] = value_variables["params_axes"]
        return params, axes

    def run(
        self, params: Params, batch: Batch, dropout_rng: jax.Array | None = None
    ) -> tuple[PolicyStates, jax.Array | None]:
        """The policy's states and the values, ``[B, S]``, ``[B, T]`` or None."""
        policy_rng = value_rng = None
        if dropout_rng is not None:
            policy_rng, value_rng = jax.random.split(dropout_rng)
        states = self.policy_states(params, batch, policy_rng)
        if self.value is None:
            return states, None
        return states, self.value(params.get(VALUE), batch, states, value_rng)

    def policy_states(
        self, params: Params, batch: Batch, dropout_rng: jax.Array | None = None
    ) -> PolicyStates:
        """What the policy computes of a batch up to its output layer."""
        policy = policy_params(params)
        dropout = {"enable_dropout": dropout_rng is not None}
        rngs = {} if dropout_rng is None else {"dropout": dropout_rng}

        def forward(network):
            inputs = _policy_inputs(batch)
            encoded = network.encode(inputs[0], inputs[3], **dropout)
            hidden = network.decode_hidden(
                encoded,
                *inputs,
                decoder_prompt_ids=decoder_prompt_ids(batch),
                **dropout,
            )
            return encoded, hidden

        encoded, hidden = self.policy.apply(
            {"params": policy}, method=forward, rngs=rngs
        )
        scaled, kernel = t5.output_layer(self._config, policy, hidden)
        return PolicyStates(encoded, hidden, scaled, kernel)

    def token_logprobs(self, states: PolicyStates, batch: Batch) -> jax.Array:
        """``[B, T]`` float32 log π(y_t|x, y_<t), also at padding, where it is no use."""
        return output_layer.token_logprobs(
            states.scaled,
            states.kernel,
            batch["decoder_target_tokens"],
            chunk_bytes=self._logits_bytes,
            dtype=self._config.logits_dtype,
        )[0]

    def policy_token_logprobs(self, params: Params, batch: Batch) -> jax.Array:
        """``[B, T]`` float32 log π(y_t|x, y_<t), 0 at padding, no dropout."""
        per_token = self.token_logprobs(self.policy_states(params, batch), batch)
        return jnp.where(jnp.any(trajectory_mask(batch) > 0, axis=-1), per_token, 0.0)

    def policy_logprobs(self, params: Params, batch: Batch) -> jax.Array:
        """``[B, S]`` float32 log π(y|x), summed over response tokens, no dropout."""
        return logprobs.sum_over_tokens(
            self.policy_token_logprobs(params, batch), trajectory_mask(batch)
        )

    def log_ratios(
        self, params: Params, reference_params: Params, batch: Batch
    ) -> jax.Array:
        """``[B, S]`` float32 ℓ between two policies, without dropout or gradient."""
        # As numbers: the backward pass then skips both of these forward passes.
        policy, reference = jax.lax.stop_gradient((params, reference_params))
        return self.policy_logprobs(policy, batch) - self.policy_logprobs(
            reference, batch
        )

    def token_logprobs_with_gradient(
        self,
        states: PolicyStates,
        batch: Batch,
        row_loss: output_layer.RowLoss,
        rows: Any,
    ) -> tuple[jax.Array, jax.Array]:
        """See `dro_jax.models.output_layer.token_logprobs_with_gradient`."""
        return output_layer.token_logprobs_with_gradient(
            states.scaled,
            states.kernel,
            batch["decoder_target_tokens"],
            row_loss,
            rows,
            chunk_bytes=self._logits_bytes,
            dtype=self._config.logits_dtype,
        )


def policy_params(params: Params) -> Params:
    """The policy's own parameters, without the value's."""
    return {name: tree for name, tree in params.items() if name != VALUE}


def trajectory_mask(batch: Batch) -> jax.Array:
    """``[B, T, S]``: which target tokens belong to which trajectory."""
    return logprobs.trajectory_mask(
        batch["decoder_loss_weights"],
        batch.get("decoder_segment_ids"),
        batch["trajectory_weights"].shape[1],
    )


def _policy_inputs(batch):
    return (
        batch["encoder_input_tokens"],
        batch["decoder_input_tokens"],
        batch["decoder_target_tokens"],
        batch.get("encoder_segment_ids"),
        batch.get("decoder_segment_ids"),
    )
