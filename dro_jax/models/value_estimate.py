"""V of a batch's trajectories, from whichever network a `ValueConfig` names."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dro_jax.errors import ConfigError
from dro_jax.models import logprobs, output_layer, t5
from dro_jax.models import value as value_lib
from dro_jax.models.shared_prompts import Batch
from dro_jax.models.value import ValueConfig
from dro_jax.objectives.interface import Trajectories

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class PolicyStates:
    """What the policy computed on the way to its logits.

    Attributes:
      encoded: ``[B, L, D]`` encoder states.
      hidden: ``[B, T, D]`` final decoder states.
      scaled: ``[B, T, D]`` float32, `hidden` as the output layer takes it.
      kernel: ``[D, V]`` the output layer.
    """

    encoded: jax.Array
    hidden: jax.Array
    scaled: jax.Array
    kernel: jax.Array


class ValueEstimate:
    """Computes values under a configuration.

    Args:
      config: which network, granularity and readout.
      policy: the policy's network.
      logits_bytes: the most memory that float32 logits take on a device.

    Raises:
      ConfigError: the trunk reads another vocabulary than the policy.
    """

    def __init__(
        self,
        config: ValueConfig,
        policy: t5.T5Config,
        logits_bytes: int = output_layer.CHUNK_BYTES,
    ):
        self.config = config
        self._logits_bytes = logits_bytes
        self._policy = policy
        self._module = None
        if config.network == "shared_head":
            self._module = value_lib.ValueHead()
        elif config.network == "separate":
            self._module = value_lib.ValueNetwork(_trunk(config, policy))

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any] | None:
        """Variables `params` and `params_axes`, or None without parameters."""
        if self._module is None:
            return None
        if self.config.network == "shared_head":
            states = jnp.zeros((1, 1, self._policy.emb_dim), jnp.float32)
            return self._module.init(rng, states)
        return self._module.init(rng, *self._arguments(batch), method=self._method)

    def __call__(
        self,
        params: Params | None,
        batch: Batch,
        states: PolicyStates,
        dropout_rng: jax.Array | None,
    ) -> jax.Array:
        """The values of a batch, each row's own: `batch` granularity is not averaged.

        Args:
          params: the value subtree; None without parameters.
          batch: as in the design's batch contract.
          states: the policy's for that batch.
          dropout_rng: turns dropout on in a separate network.

        Returns:
          ``[B, S]`` float32, or ``[B, T]`` with one value a token.
        """
        config = self.config
        if config.network == "separate":
            return self._module.apply(
                {"params": params},
                *self._arguments(batch),
                method=self._method,
                enable_dropout=dropout_rng is not None,
                rngs={} if dropout_rng is None else {"dropout": dropout_rng},
            )
        if config.network == "shared_head":
            read = self._read_states(batch, states)
            if not config.trunk_gradient:
                read = jax.lax.stop_gradient(read)
            return self._module.apply({"params": params}, read)
        if config.per_token:
            _, normalizers = output_layer.token_logprobs(
                states.scaled,
                states.kernel,
                batch["decoder_target_tokens"],
                chunk_bytes=self._logits_bytes,
                dtype=self._policy.logits_dtype,
            )
            return value_lib.normalizer_value(normalizers, states.kernel.shape[1])
        first = value_lib.first_positions(states.scaled, batch)
        return value_lib.logits_value(jnp.einsum("bsd,dv->bsv", first, states.kernel))

    def per_trajectory(
        self, values: jax.Array, mask: jax.Array, weights: jax.Array
    ) -> jax.Array:
        """``[B, S]``: values a token are averaged over their trajectory.

        Args:
          values: from a call.
          mask: ``[B, T, S]``, which tokens belong to which trajectory.
          weights: ``[B, S]``, 1 where a trajectory is present.
        """
        if self.config.granularity == "batch":
            return value_lib.batch_value(values, weights)
        if not self.config.per_token:
            return values
        lengths = jnp.maximum(jnp.sum(mask, axis=1), 1.0)
        return logprobs.sum_over_tokens(values, mask) / lengths

    def fields(self, values: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        """The value fields of `Trajectories`, each row's own: see :meth:`coupled`.

        Arguments as in `per_trajectory`.
        """
        if not self.config.per_token:
            return {"values": values.reshape(-1)}
        rows, _, slots = mask.shape
        shares = mask / jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1.0)
        row_starts = jnp.arange(rows, dtype=jnp.int32)[:, None] * slots
        # A token of padding has no owner; it gets its row's first, with the weight 0.
        owners = row_starts + jnp.argmax(mask, axis=-1).astype(jnp.int32)
        return {
            "values": values.reshape(-1),
            "value_owners": owners.reshape(-1),
            "value_weights": jnp.sum(shares, axis=-1).reshape(-1),
        }

    def coupled(self, trajectories: Trajectories) -> Trajectories:
        """The trajectories with the mean of their values, if granularity is `batch`."""
        if self.config.granularity != "batch":
            return trajectories
        mean = value_lib.batch_value(trajectories.values, trajectories.weights)
        return dataclasses.replace(trajectories, values=mean)

    @property
    def _method(self) -> str:
        return "token_values" if self.config.per_token else "prompt_values"

    def _arguments(self, batch):
        return (batch,) if self.config.per_token else (batch, self.config.readout)

    def _read_states(self, batch, states):
        if self.config.pools_encoder:
            return value_lib.pool_prompts(states.encoded, batch)
        if self.config.per_token:
            return states.hidden
        return value_lib.first_positions(states.hidden, batch)


def _trunk(config: ValueConfig, policy: t5.T5Config) -> t5.T5Config:
    trunk = config.trunk or policy
    if trunk.vocab_size != policy.vocab_size:
        raise ConfigError(
            f"ValueConfig.trunk has vocab_size {trunk.vocab_size}, the policy has "
            f"{policy.vocab_size}: they read the same tokens, so make them equal"
        )
    return trunk
