"""The model that both trainers use: a T5 policy, its value estimate, an objective."""

from typing import Any

import jax
import jax.numpy as jnp

from dro_jax import metrics as metrics_lib
from dro_jax.errors import ConfigError
from dro_jax.models import logprobs, t5
from dro_jax.models import value as value_lib
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
        value: value_lib.ValueConfig | None = None,
        input_vocabulary=None,
        output_vocabulary=None,
    ):
        if objective.needs.value:
            value = value or value_lib.ValueConfig()
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
        self.input_vocabulary = input_vocabulary
        self.output_vocabulary = output_vocabulary
        self.network = t5.T5(network)
        self._value_module = _value_module(value, network)

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
        if self._value_module is not None:
            value_variables = self._init_value(value_rng, batch)
            params[VALUE] = value_variables["params"]
            axes[VALUE] = value_variables["params_axes"]
        return params, axes

    def _init_value(self, rng, batch):
        config = self.value_config
        if config.network == "shared_head":
            states = jnp.zeros((1, 1, self.network_config.emb_dim), jnp.float32)
            return self._value_module.init(rng, states)
        if config.per_token:
            return self._value_module.init(rng, batch, method="token_values")
        return self._value_module.init(
            rng, batch, config.readout, method="prompt_values"
        )

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
        values = {}
        if self.value_config is not None:
            values = self._flat_values(
                self._values(params, batch, outputs, value_rng), batch
            )
        return Trajectories(
            policy_logprobs=policy_logprobs.reshape(-1),
            rewards=batch["rewards"].reshape(-1),
            weights=batch["trajectory_weights"].reshape(-1),
            reference_logprobs=self._reference_logprobs(batch, reference_params),
            **values,
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
        if self.value_config is not None:
            values = self._values(params, batch, outputs, None)
            if self.value_config.per_token:
                mask = _mask(batch)
                lengths = jnp.maximum(jnp.sum(mask, axis=1), 1.0)
                values = logprobs.sum_over_tokens(values, mask) / lengths
            scores["values"] = values
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

    # ---------------------------------------------------------------------- values

    def _values(self, params, batch, outputs, dropout_rng):
        """``[B, S]`` values, or ``[B, T]`` with one value a token."""
        config = self.value_config
        if config.network == "separate":
            values = self._separate_values(params, batch, dropout_rng)
        elif config.network == "shared_head":
            states = self._shared_states(batch, outputs)
            if not config.trunk_gradient:
                states = jax.lax.stop_gradient(states)
            values = self._value_module.apply({"params": params[VALUE]}, states)
        else:
            logits = outputs["logits"]
            if not config.per_token:
                logits = value_lib.first_positions(logits, batch)
            values = value_lib.logits_value(logits)
        if config.granularity == "batch":
            values = value_lib.batch_value(values, batch["trajectory_weights"])
        return values

    def _separate_values(self, params, batch, dropout_rng):
        config = self.value_config
        arguments = {
            "enable_dropout": dropout_rng is not None,
            "rngs": {} if dropout_rng is None else {"dropout": dropout_rng},
        }
        variables = {"params": params[VALUE]}
        if config.per_token:
            return self._value_module.apply(
                variables, batch, method="token_values", **arguments
            )
        return self._value_module.apply(
            variables, batch, config.readout, method="prompt_values", **arguments
        )

    def _shared_states(self, batch, outputs):
        if self.value_config.pools_encoder:
            return value_lib.pool_prompts(outputs["encoded"], batch)
        if self.value_config.per_token:
            return outputs["hidden"]
        return value_lib.first_positions(outputs["hidden"], batch)

    def _flat_values(self, values, batch):
        """Fields of `Trajectories` for these values."""
        if not self.value_config.per_token:
            return {"values": values.reshape(-1)}
        mask = _mask(batch)  # [B, T, S]
        rows, _, slots = mask.shape
        shares = mask / jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1.0)
        owners = (
            jnp.arange(rows, dtype=jnp.int32)[:, None] * slots
            + jnp.argmax(mask, axis=-1).astype(jnp.int32)
        )
        return {
            "values": values.reshape(-1),
            "value_owners": owners.reshape(-1),
            "value_weights": jnp.sum(shares, axis=-1).reshape(-1),
        }

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
        total = losses.policy if losses.value is None else losses.policy + losses.value
        loss = jnp.sum(total * weights) / jnp.maximum(normalizer, 1.0)
        return loss, _metrics(trajectories, losses, total, batch)


def _value_module(config, policy_config):
    if config is None or not config.has_parameters:
        return None
    if config.network == "shared_head":
        return value_lib.ValueHead()
    trunk = config.trunk or policy_config
    if trunk.vocab_size != policy_config.vocab_size:
        raise ConfigError(
            f"ValueConfig.trunk has vocab_size {trunk.vocab_size}, the policy has "
            f"{policy_config.vocab_size}: they read the same tokens, so make them equal"
        )
    return value_lib.ValueNetwork(trunk)


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


def _metrics(trajectories, losses, total, batch) -> metrics_lib.Metrics:
    """Metrics under the field's names; the glossary in the README defines each."""
    weights = trajectories.weights
    mean = lambda x: metrics_lib.Mean.of(jax.lax.stop_gradient(x), weights)
    out = {
        "loss": mean(total),
        "rewards/mean": mean(trajectories.rewards),
        "logps/policy": mean(trajectories.policy_logprobs),
        "num_trajectories": metrics_lib.Sum(jnp.sum(weights)),
        "num_tokens": metrics_lib.Sum(_count(batch)),
        "padding_fraction": _padding_fraction(batch),
    }
    if "truncated" in batch:
        truncated = (batch["truncated"].reshape(-1) > 0).astype(jnp.float32)
        out["truncation_rate"] = mean(truncated)
    if losses.value is not None:
        out["loss/policy"] = mean(losses.policy)
        out["loss/value"] = mean(losses.value)
    for name, term in losses.terms.items():
        out[name] = mean(jnp.abs(term)) if name == "residual" else mean(term)
    if trajectories.reference_logprobs is not None:
        log_ratios = jax.lax.stop_gradient(trajectories.log_ratios)
        out["logps/reference"] = mean(trajectories.reference_logprobs)
        out["kl"] = mean(-log_ratios)
        out["reward_logratio_correlation"] = metrics_lib.Correlation.of(
            trajectories.rewards, log_ratios, weights
        )
    if trajectories.values is not None:
        values = trajectories.trajectory_values
        out["value/mean"] = mean(values)
        out["value/explained_variance"] = metrics_lib.ExplainedVariance.of(
            trajectories.rewards, values, weights
        )
    return out


def _token_counts(batch):
    encoder = jnp.sum((batch["encoder_input_tokens"] > 0).astype(jnp.float32))
    decoder = jnp.sum((batch["decoder_target_tokens"] > 0).astype(jnp.float32))
    return encoder, decoder


def _count(batch):
    return sum(_token_counts(batch))


def _padding_fraction(batch):
    places = batch["encoder_input_tokens"].size + batch["decoder_target_tokens"].size
    return metrics_lib.Mean(
        total=places - _count(batch), weight=jnp.float32(places)
    )
