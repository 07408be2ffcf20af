"""The model that both trainers use: a T5 policy, its value estimate, an objective."""

from typing import Any

import jax
import jax.numpy as jnp

from dro_jax import metrics as metrics_lib
from dro_jax.errors import ConfigError
from dro_jax.models import logprobs, t5
from dro_jax.models.training_metrics import training_metrics
from dro_jax.models.value import ValueConfig
from dro_jax.models.value_estimate import ValueEstimate
from dro_jax.objectives.interface import Objective, Trajectories

Batch = dict[str, jax.Array]
Params = dict[str, Any]
VALUE = "value"  # the name of the value subtree beside encoder, decoder, …


class FeedbackModel:
    """An encoder-decoder policy trained from single-trajectory feedback.

    The policy's parameters lie at the root of the tree under T5X's names; those of the
    value estimate, where it has any, under `value`.

    Args:
      network: the policy's T5.
      objective: what to minimise, for example `dro_jax.objectives.DROV(tau=1.0)`.
      value: how V is computed; default `ValueConfig()` where the objective needs one.
      input_vocabulary: the prompt's vocabulary, checked against the network.
      output_vocabulary: the response's vocabulary, checked against the network.

    Raises:
      ConfigError: a value for an objective that uses none, or a vocabulary larger than
        the network's embedding.
    """

    def __init__(
        self,
        *,
        network: t5.T5Config,
        objective: Objective,
        value: ValueConfig | None = None,
        input_vocabulary=None,
        output_vocabulary=None,
    ):
        if objective.needs.value:
            value = value or ValueConfig()
        elif value is not None:
            raise ConfigError(
                f"{type(objective).__name__} uses no value estimate, but "
                "FeedbackModel.value is set: remove it (gin: VALUE = None) or choose "
                "an objective that uses one, such as DROV"
            )
        for side, vocabulary in (
            ("input", input_vocabulary),
            ("output", output_vocabulary),
        ):
            check_vocabulary(vocabulary, network.vocab_size, side)
        self.network_config = network
        self.objective = objective
        self.value_config = value
        self._value = None if value is None else ValueEstimate(value, network)
        self.input_vocabulary = input_vocabulary
        self.output_vocabulary = output_vocabulary
        self.network = t5.T5(network)

    @property
    def uses_dropout(self) -> bool:
        """Whether a train step draws dropout masks in the policy or the value."""
        trunk = self.value_config.trunk if self.value_config else None
        return any(
            config.dropout_rate > 0 for config in (self.network_config, trunk) if config
        )

    # ------------------------------------------------------------------ parameters

    def init(self, rng: jax.Array, batch: Batch) -> tuple[Params, Params]:
        """Random parameters for batches shaped as `batch`.

        Returns:
          The parameter tree and, of the same structure, its logical axis names (leaves
          `AxisMetadata` under `…_axes`, as T5X keeps them).
        """
        policy_rng, value_rng = jax.random.split(rng)
        variables = self.network.init(policy_rng, *_policy_inputs(batch))
        params = dict(variables["params"])
        axes = dict(variables["params_axes"])
        value_variables = self._value and self._value.init(value_rng, batch)
        if value_variables:
            params[VALUE] = value_variables["params"]
            axes[VALUE] = value_variables["params_axes"]
        return params, axes

    @staticmethod
    def policy_params(params: Params) -> Params:
        """The policy's own parameters, without the value's."""
        return {name: tree for name, tree in params.items() if name != VALUE}

    # --------------------------------------------------------------------- forward

    def trajectories(
        self,
        params: Params,
        batch: Batch,
        *,
        reference_params: Params | None = None,
        dropout_rng: jax.Array | None = None,
    ) -> Trajectories:
        """What the policy, reference and value make of a batch.

        The reference comes from `batch["reference_logprobs"]` where that is present,
        else from a forward pass, without dropout, under `reference_params`.

        Args:
          params: the parameter tree.
          batch: B rows of S trajectories, fields as in the design's batch contract.
          reference_params: frozen policy parameters.
          dropout_rng: turns dropout on.

        Returns:
          The N = B·S trajectories, row by row.

        Raises:
          ConfigError: the objective needs a reference and none is given.
        """
        policy_rng = value_rng = None
        if dropout_rng is not None:
            policy_rng, value_rng = jax.random.split(dropout_rng)
        policy_logprobs, outputs = self._policy_logprobs(params, batch, policy_rng)
        value_fields = {}
        if self._value is not None:
            values = self._value(params.get(VALUE), batch, outputs, value_rng)
            value_fields = self._value.fields(values, _mask(batch))
        return Trajectories(
            policy_logprobs=policy_logprobs.reshape(-1),
            rewards=batch["rewards"].reshape(-1),
            weights=batch["trajectory_weights"].reshape(-1),
            reference_logprobs=self._reference_logprobs(batch, reference_params),
            **value_fields,
        )

    def logprobs(self, params: Params, batch: Batch) -> jax.Array:
        """``[B, S]`` float32 log π(y|x), summed over response tokens, no dropout."""
        return self._policy_logprobs(params, batch, None)[0]

    def score(self, params: Params, batch: Batch) -> dict[str, jax.Array]:
        """Log-probabilities and, where there is a value estimate, values: ``[B, S]``.

        A value per token is averaged over its trajectory.
        """
        policy_logprobs, outputs = self._policy_logprobs(params, batch, None)
        scores = {"logprobs": policy_logprobs}
        if self._value is not None:
            values = self._value(params.get(VALUE), batch, outputs, None)
            scores["values"] = self._value.per_trajectory(values, _mask(batch))
        return scores

    def _policy_logprobs(self, params, batch, dropout_rng):
        outputs = self._run_policy(params, batch, dropout_rng)
        per_token = logprobs.token_logprobs(
            outputs["logits"], batch["decoder_target_tokens"]
        )
        return logprobs.sum_over_tokens(per_token, _mask(batch)), outputs

    def _run_policy(self, params, batch, dropout_rng):
        variables = {"params": self.policy_params(params)}
        dropout = {"enable_dropout": dropout_rng is not None}
        rngs = {} if dropout_rng is None else {"dropout": dropout_rng}

        def forward(network):
            inputs = _policy_inputs(batch)
            encoded = network.encode(inputs[0], inputs[3], **dropout)
            hidden = network.decode_hidden(encoded, *inputs, **dropout)
            return {
                "encoded": encoded,
                "hidden": hidden,
                "logits": network.logits(hidden),
            }

        return self.network.apply(variables, method=forward, rngs=rngs)

    def _reference_logprobs(self, batch, reference_params):
        if not self.objective.needs.reference:
            return None
        if "reference_logprobs" in batch:
            return batch["reference_logprobs"].reshape(-1)
        if reference_params is None:
            raise ConfigError(
                f"{type(self.objective).__name__} needs the reference policy: give "
                "reference_params, or a batch with 'reference_logprobs'"
            )
        reference = self.logprobs(jax.lax.stop_gradient(reference_params), batch)
        return reference.reshape(-1)

    # ------------------------------------------------------------------------ loss

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        reference_params: Params | None = None,
        dropout_rng: jax.Array | None = None,
        normalizer: jax.Array | None = None,
    ) -> tuple[jax.Array, metrics_lib.Metrics]:
        """The batch's loss, ``Σ(loss · weight) / normalizer``, and metrics.

        Args:
          params: the parameter tree.
          batch: as in :meth:`trajectories`.
          reference_params: as in :meth:`trajectories`.
          dropout_rng: turns dropout on.
          normalizer: Σ(weight) of the *global* batch; default that of `batch`. Pass it
            when `batch` is a part (a microbatch), so that the parts' losses add up.

        Returns:
          The scalar loss (policy plus value) and metrics as sums.
        """
        trajectories = self.trajectories(
            params,
            batch,
            reference_params=reference_params,
            dropout_rng=dropout_rng,
        )
        losses = self.objective(trajectories)
        weights = trajectories.weights
        if normalizer is None:
            normalizer = jnp.sum(weights)
        loss = jnp.sum(losses.total * weights) / jnp.maximum(normalizer, 1.0)
        return loss, training_metrics(trajectories, losses, batch)


def check_vocabulary(vocabulary, vocab_size: int, side: str = "task's") -> None:
    """Refuse a vocabulary with ids beyond the network's embedding; None passes.

    Raises:
      ConfigError: it has more pieces than the embedding has rows.
    """
    if vocabulary is not None and vocabulary.vocab_size > vocab_size:
        raise ConfigError(
            f"the {side} vocabulary has {vocabulary.vocab_size} pieces but "
            f"T5Config.vocab_size is {vocab_size}: token ids would fall outside the "
            "embedding. Use the vocabulary the model was made for, or raise vocab_size"
        )


def _policy_inputs(batch):
    return (
        batch["encoder_input_tokens"],
        batch["decoder_input_tokens"],
        batch["decoder_target_tokens"],
        batch.get("encoder_segment_ids"),
        batch.get("decoder_segment_ids"),
    )


def _mask(batch):
    return logprobs.trajectory_mask(
        batch["decoder_loss_weights"],
        batch.get("decoder_segment_ids"),
        batch["trajectory_weights"].shape[1],
    )
