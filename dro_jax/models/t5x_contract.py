"""What T5X's trainer asks of a model, by duck typing: nothing of t5x is imported.

https://github.com/google-research/t5x, `t5x/models.py`, read at commit cc342d4.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dro_jax import batch_fields
from dro_jax.errors import ConfigError
from dro_jax.models.decoding import DecodingConfig, decode
from dro_jax.models.networks import Batch, Params, policy_params
from dro_jax.models.reward_network import RewardConfig
from dro_jax.objectives.interface import Objective

REFERENCE = "reference"  # T5X's mutable collection of the frozen policy
_CACHED = "reference_logprobs"
_GREEDY = DecodingConfig(temperature=0.0)


@dataclasses.dataclass(frozen=True)
class T5XSettings:
    """What T5X leaves to the model; the built-in trainer reads none of it.

    Attributes:
      optimizer_def: a T5X optimiser, for example `t5x.adafactor.Adafactor`. None where
        nothing is trained: then no reference is kept either.
      batch_size: rows of the global batch. T5X adds up the losses of its microbatches,
        and gives `loss_fn` one at a time: with this, each is divided by what the whole
        batch weighs. None: each call is a whole batch.
      decoding: how `predict_batch` chooses responses; default greedily.
    """

    optimizer_def: Any = None
    batch_size: int | None = None
    decoding: DecodingConfig = _GREEDY


class T5XContract:
    """The methods that `t5x.train`, `t5x.eval` and `t5x.infer` call.

    A reference policy, where the objective needs one, is `reference_logprobs` of the
    batch if the data have that, else a copy of the policy's first parameters in the
    mutable collection `reference`, which T5X saves and restores and does not train.
    """

    t5x: T5XSettings
    objective: Objective
    reward_config: RewardConfig | None

    @property
    def FEATURE_CONVERTER_CLS(self):
        """The seqio converter of feedback tasks."""
        from dro_jax.data.converter import FeedbackFeatureConverter

        return FeedbackFeatureConverter

    @property
    def optimizer_def(self) -> Any:
        """T5X's optimiser.

        Raises:
          ConfigError: none is set.
        """
        if self.t5x.optimizer_def is None:
            raise ConfigError(
                "T5X trains with an optimiser that the model holds, and "
                "T5XSettings.optimizer_def is not set: use "
                "gin_configs/t5x/train.gin, which sets it"
            )
        return self.t5x.optimizer_def

    def get_initial_variables(
        self,
        rng: jax.Array,
        input_shapes: Mapping[str, Any],
        input_types: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Random parameters with their logical axes, and the reference where it is one.

        Args:
          rng: a key.
          input_shapes: of the batch's fields.
          input_types: their types; None as T5X's evaluation gives it.

        Returns:
          `params`, `params_axes`; `reference`, `reference_axes` equal to the policy's.

        Raises:
          ConfigError: this is a reward model, or its policy is to sample what it is
            trained on.
        """
        if self.reward_config is not None:
            raise ConfigError(
                f"{type(self.objective).__name__} trains a reward model, which T5X's "
                "trainer does not know: use `dro-jax train`"
            )
        trained = self.t5x.optimizer_def is not None
        if trained and self.objective.needs.rollouts:
            raise ConfigError(
                f"{type(self.objective).__name__} is trained on what the policy samples, "
                "which T5X's trainer does not do: use `dro-jax train` with "
                "train.fresh_samples (FRESH_SAMPLES)"
            )
        types = input_types or {}
        batch = {
            name: jnp.zeros(tuple(shape), types.get(name, _default_type(name)))
            for name, shape in input_shapes.items()
        }
        params, axes = self.init(rng, batch)
        variables = {"params": params, "params_axes": axes}
        if trained and self.objective.needs.reference and _CACHED not in batch:
            variables[REFERENCE] = policy_params(params)
            variables[f"{REFERENCE}_axes"] = policy_params(axes)
        return variables

    def loss_fn(
        self,
        params: Params,
        batch: Batch,
        dropout_rng: jax.Array | None,
        flax_mutables: Mapping[str, Any] | None = None,
    ) -> tuple[jax.Array, Any]:
        """The loss of a batch or of one of T5X's microbatches, and its metrics.

        Args:
          params: the parameter tree.
          batch: B rows.
          dropout_rng: turns dropout on, where the network has any.
          flax_mutables: the collections beside the parameters, where there are any.

        Returns:
          `(loss, metrics)`, or `(loss, (metrics, flax_mutables))` where these are given.
        """
        from dro_jax.models.t5x_metrics import to_t5x

        loss, metrics = self.loss(
            params,
            batch,
            reference_params=(flax_mutables or {}).get(REFERENCE),
            dropout_rng=dropout_rng if self.uses_dropout else None,
            normalizer=self._weight_of_whole_batch(batch),
        )
        if flax_mutables is None:
            return loss, to_t5x(metrics)
        return loss, (to_t5x(metrics), flax_mutables)

    def eval_fn(
        self,
        params: Params,
        batch: Batch,
        flax_mutables: Mapping[str, Any] | None = None,
    ) -> tuple[jax.Array, Any]:
        """Loss and metrics of a batch, without dropout and mutables."""
        loss, aux = self.loss_fn(params, batch, None, flax_mutables)
        return loss, aux if flax_mutables is None else aux[0]

    def predict_batch(
        self, params: Params, batch: Batch, rng: jax.Array | None = None
    ) -> jax.Array:
        """A response to each prompt: int32 ``[B, T]``, as long as the batch's targets."""
        return self.predict_batch_with_aux(params, batch, rng)[0]

    def predict_batch_with_aux(
        self, params: Params, batch: Batch, rng: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Responses, and under `scores` their log-probabilities ``[B]``.

        With `T5XSettings.decoding.num_samples` > 1: ``[B, K, T]`` and ``[B, K]``.
        """
        length = batch["decoder_input_tokens"].shape[1]
        config = self.t5x.decoding.limited_to(length)
        decoded = decode(
            self.network,
            policy_params(params),
            batch["encoder_input_tokens"],
            jax.random.key(config.seed) if rng is None else rng,
            config,
            eos_id=getattr(self.output_vocabulary, "eos_id", None) or 1,
        )
        if config.num_samples > 1:
            return decoded.tokens, {"scores": decoded.logprobs}
        return decoded.tokens[:, 0], {"scores": decoded.logprobs[:, 0]}

    def score_batch(self, params: Params, batch: Batch) -> jax.Array:
        """log π(y|x) of each row's response, nats: float32 ``[B]``."""
        return self.logprobs(params, batch)[:, 0]

    def _weight_of_whole_batch(self, batch: Batch) -> jax.Array:
        weight = jnp.sum(batch["trajectory_weights"])
        if self.t5x.batch_size is None:
            return weight
        # The others are not seen here: as if they weighed as much as this one.
        rows = batch["trajectory_weights"].shape[0]
        return weight * (self.t5x.batch_size / rows)


def _default_type(name: str) -> Any:
    """As the table of fields says; int32, T5X's own, of what others put in batches."""
    try:
        return batch_fields.field(name).dtype
    except KeyError:
        return jnp.int32
