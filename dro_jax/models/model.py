"""The model that both trainers use: a T5 policy, its value estimate, an objective.

Or, where the objective asks for scores, a reward model in the policy's place.
"""

import copy

import jax
import jax.numpy as jnp

from dro_jax import metrics as metrics_lib
from dro_jax.models import batch_loss, logprobs, output_layer, t5
from dro_jax.models.assembly import assemble, coupled, of_rows
from dro_jax.models.model_parts import check_objective, reward_of, value_of
from dro_jax.models.networks import (
    Batch,
    Networks,
    Params,
    RowOutputs,
    policy_params,
    trajectory_mask,
)
from dro_jax.models.reference_outputs import reference_outputs
from dro_jax.models.reward_network import RewardConfig, RewardNetworks
from dro_jax.models.t5_config import check_vocabulary
from dro_jax.models.t5x_contract import T5XContract, T5XSettings
from dro_jax.models.training_metrics import trajectory_metrics
from dro_jax.models.value import ValueConfig
from dro_jax.objectives.interface import Objective, Trajectories


class FeedbackModel(T5XContract):
    """An encoder-decoder policy, or a reward model, trained from feedback.

    Runs under the built-in trainer and, through `T5XContract`, under T5X's.

    The policy's parameters lie at the root of the tree under T5X's names; those of the
    value estimate, where it has any, under `value`, those of a reward model's pool and
    head under `reward`.

    Args:
      network: the policy's T5.
      objective: what to minimise, for example `dro_jax.objectives.DROV(tau=1.0)`.
      value: how V is computed; default `ValueConfig()` where the objective needs one.
      reward: how a reward model's scores are read; default `RewardConfig()` where the
        objective needs scores.
      input_vocabulary: the prompt's vocabulary, checked against the network.
      output_vocabulary: the response's vocabulary, checked against the network.
      logits_bytes: the most memory that float32 logits take on a device; they are made
        in chunks of that size.
      t5x: what T5X's trainer leaves to the model.

    Raises:
      ConfigError: no objective, a part that it has no use for, or a vocabulary larger
        than the network's embedding.
    """

    def __init__(
        self,
        *,
        network: t5.T5Config,
        objective: Objective,
        value: ValueConfig | None = None,
        reward: RewardConfig | None = None,
        input_vocabulary=None,
        output_vocabulary=None,
        logits_bytes: int = output_layer.CHUNK_BYTES,
        t5x: T5XSettings | None = None,
    ):
        check_objective(objective)
        for side, vocabulary in (
            ("input", input_vocabulary),
            ("output", output_vocabulary),
        ):
            check_vocabulary(vocabulary, network.vocab_size, side)
        self.network_config = network
        self.objective = objective
        self.t5x = t5x or T5XSettings()
        self.value_config = value_of(objective, value)
        self.reward_config = reward_of(objective, reward)
        self.input_vocabulary = input_vocabulary
        self.output_vocabulary = output_vocabulary
        if self.reward_config is None:
            self._networks = Networks(network, self.value_config, logits_bytes)
        else:
            self._networks = RewardNetworks(network, self.reward_config)
        self.network = self._networks.policy

    def with_objective(self, objective: Objective) -> "FeedbackModel":
        """The same model with another objective of the same needs."""
        model = copy.copy(self)
        model.objective = objective
        return model

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
        return self._networks.init(rng, batch)

    @staticmethod
    def policy_params(params: Params) -> Params:
        """The policy's own parameters, without the value's."""
        return policy_params(params)

    @property
    def couples_trajectories(self) -> bool:
        """Whether a trajectory's loss depends on others of its batch."""
        of_value = self.value_config and self.value_config.granularity == "batch"
        return self.objective.needs.whole_batch or bool(of_value)

    # --------------------------------------------------------------------- forward

    def row_outputs(
        self,
        params: Params,
        batch: Batch,
        *,
        reference_params: Params | None = None,
        dropout_rng: jax.Array | None = None,
    ) -> RowOutputs:
        """What the networks make of a batch, each row on its own.

        The reference comes from `batch["reference_logprobs"]` where that is present,
        else from a forward pass, without dropout, under `reference_params`.

        Args:
          params: the parameter tree.
          batch: B rows of S trajectories, fields as in the design's batch contract.
          reference_params: frozen policy parameters.
          dropout_rng: turns dropout on.

        Raises:
          ConfigError: the objective needs a reference and none is given.
        """
        if self.reward_config is not None:
            scores = self._networks.scores(params, batch, dropout_rng)
            return RowOutputs(None, scores=scores)
        states, values = self._networks.run(params, batch, dropout_rng)
        return RowOutputs(
            self._networks.token_logprobs(states, batch),
            values,
            **self._reference(params, batch, reference_params),
        )

    def trajectories(self, params: Params, batch: Batch, **options) -> Trajectories:
        """What the policy, reference and value make of a batch, row by row.

        Args:
          params: the parameter tree.
          batch: as in :meth:`row_outputs`.
          **options: as in :meth:`row_outputs`.

        Returns:
          The N = B·S trajectories.
        """
        return self._assemble(self.row_outputs(params, batch, **options), batch)

    def trajectories_of_part(
        self, params: Params, batch: Batch, *, reference_params: Params | None = None
    ) -> Trajectories:
        """As :meth:`trajectories`, but for what couples them to the split's others.

        A value of granularity `batch` is not averaged yet, and a batch without
        mismatched pairs gives none: :meth:`metrics_of_whole` takes it from there.
        """
        outputs = self.row_outputs(params, batch, reference_params=reference_params)
        return of_rows(outputs, batch, self._networks.value, self.objective)

    def metrics_of_whole(self, trajectories: Trajectories) -> metrics_lib.Metrics:
        """Metrics of a split's trajectories, all statistics taken over all of it."""
        trajectories = coupled(trajectories, self._networks.value)
        return trajectory_metrics(trajectories, self.objective(trajectories))

    def log_ratios(
        self, params: Params, batch: Batch, reference_params: Params
    ) -> jax.Array:
        """``[B, S]`` float32 ℓ between two policies, no dropout."""
        return self._networks.log_ratios(params, reference_params, batch)

    def token_logprobs(self, params: Params, batch: Batch) -> jax.Array:
        """``[B, T]`` float32 log π(y_t|x, y_<t), 0 at padding, no dropout."""
        return self._networks.policy_token_logprobs(params, batch)

    def logprobs(self, params: Params, batch: Batch) -> jax.Array:
        """``[B, S]`` float32 log π(y|x), summed over response tokens, no dropout."""
        return self._networks.policy_logprobs(params, batch)

    def score(self, params: Params, batch: Batch) -> dict[str, jax.Array]:
        """Log-probabilities and, where there is a value estimate, values: ``[B, S]``.

        A value per token is averaged over its trajectory.
        """
        states, values = self._networks.run(params, batch)
        per_token = self._networks.token_logprobs(states, batch)
        mask = trajectory_mask(batch)
        scores = {"logprobs": logprobs.sum_over_tokens(per_token, mask)}
        if values is not None:
            scores["values"] = self._networks.value.per_trajectory(
                values, mask, batch["trajectory_weights"]
            )
        return scores

    def _reference(self, params, batch, reference_params):
        return reference_outputs(
            self._networks, self.objective, params, batch, reference_params
        )

    def _assemble(self, outputs: RowOutputs, batch: Batch) -> Trajectories:
        return assemble(outputs, batch, self._networks.value, self.objective)

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
          batch: as in :meth:`row_outputs`.
          reference_params: as in :meth:`row_outputs`.
          dropout_rng: turns dropout on.
          normalizer: Σ(weight) of the *global* batch; default that of `batch`. Pass it
            when `batch` is a part (a microbatch), so that the parts' losses add up.

        Returns:
          The scalar loss (policy plus value) and metrics as sums.
        """
        if normalizer is None:
            normalizer = jnp.sum(batch["trajectory_weights"])
        if self.couples_trajectories or self.reward_config is not None:
            outputs = self.row_outputs(
                params,
                batch,
                reference_params=reference_params,
                dropout_rng=dropout_rng,
            )
            return self.loss_of_outputs(outputs, batch, normalizer)
        states, values = self._networks.run(params, batch, dropout_rng)
        others = {"values": values} | self._reference(params, batch, reference_params)
        per_token, gradient = batch_loss.row_by_row(
            self._networks, self.objective, states, others, batch, normalizer
        )
        loss, metrics = self.loss_of_outputs(
            RowOutputs(per_token, **others), batch, normalizer
        )
        # The gradient for the policy is the second number's, whose value is 0; that for
        # the values is the first's, in which log-probabilities have none.
        return loss + gradient, metrics

    def loss_of_outputs(
        self, outputs: RowOutputs, batch: Batch, normalizer: jax.Array
    ) -> tuple[jax.Array, metrics_lib.Metrics]:
        """:meth:`loss` from what :meth:`row_outputs` gave for the same batch."""
        return batch_loss.of_outputs(
            self._networks, self.objective, outputs, batch, normalizer
        )

    def pullback(
        self,
        params: Params,
        batch: Batch,
        cotangents: RowOutputs,
        *,
        dropout_rng: jax.Array | None = None,
    ) -> jax.Array:
        """A scalar whose gradient for `params` is ``Σ cotangents · d row_outputs``.

        With the cotangents of :meth:`loss_of_outputs` for a whole batch, the gradients
        of its microbatches' pullbacks add up to the whole batch's, also where
        trajectories are coupled.
        """
        return batch_loss.pullback(
            self._networks, params, batch, cotangents, dropout_rng
        )
