"""A model's steps on a mesh: host batches go in, sharded arrays stay inside."""

import functools

import jax
import numpy as np
import optax
from jax.typing import DTypeLike

from dro_jax import metrics as metrics_lib
from dro_jax.batch_fields import device_fields
from dro_jax.data.interface import WHOLE, HostBatch, Shard
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Batch, Params
from dro_jax.objectives.interface import Trajectories
from dro_jax.training import initialization, step
from dro_jax.training import state as state_lib
from dro_jax.training.compiled_together import CompiledTogether
from dro_jax.training.compiler_options import OptionsByPlatform, options_for
from dro_jax.training.in_flight import InFlight
from dro_jax.training.score_metrics import SCORE_METRICS
from dro_jax.training.sharding import ParamLayout, Partitioner
from dro_jax.training.state import TrainState


class MeshSteps:
    """Starts, trains and evaluates a model where a partitioner puts it.

    Args:
      model: what is trained.
      optimizer: gives the updates.
      partitioner: places everything.
      example: a batch like those to come.
      key: seeds dropout; the masks of step k are those of `fold_in(key, k)`. Its shape
        will do where nothing is run.
      num_microbatches, gradient_sum_dtype, on_non_finite: as in `make_train_step`.
      compiler_options: of the update, by platform.

    Raises:
      ConfigError: the compiler refuses an option.
    """

    def __init__(
        self,
        model: FeedbackModel,
        optimizer: optax.GradientTransformation,
        partitioner: Partitioner,
        example: HostBatch,
        *,
        key: jax.Array,
        num_microbatches: int = 1,
        gradient_sum_dtype: DTypeLike = "float32",
        on_non_finite: step.NonFinite = "stop",
        compiler_options: OptionsByPlatform | None = None,
    ):
        self._model = model
        self._optimizer = optimizer
        self._key = key
        self._example = device_fields(example)
        self.partitioner = partitioner
        # Here and not in the loops, so that none can forget to wait.
        self._in_flight = InFlight()
        # By tracing: parameters are born in their shards, and no device or host ever
        # holds a model whole that does not fit there.
        with partitioner.context():
            self.layout = ParamLayout.of(model, self._example, partitioner)
            self.state_layout = state_lib.layout(
                self.layout, optimizer, partitioner, model.objective.needs.running
            )
        train = step.make_train_step(
            model,
            optimizer,
            num_microbatches=num_microbatches,
            gradient_sum_dtype=gradient_sum_dtype,
            on_non_finite=on_non_finite,
            out_shardings=jax.tree.map(lambda leaf: leaf.sharding, self.state_layout),
            compiler_options=options_for(partitioner.replicated, compiler_options),
        )
        self._train = CompiledTogether(train)
        self._evaluate = CompiledTogether(step.make_eval_step(model))
        # Replicated, so that each host can read them whole and puts together the same
        # split from them.
        replicated = partitioner.replicated
        self._gather = CompiledTogether(step.make_gather_step(model, replicated))
        self._log_ratios = CompiledTogether(
            jax.jit(model.log_ratios, out_shardings=replicated)
        )

    @functools.cached_property
    def shard(self) -> Shard:
        """Which part of the rows of a batch for training this host gives."""
        return self.partitioner.shard(len(self._example["rewards"]))

    def put(self, batch: HostBatch, shard: Shard = WHOLE) -> Batch:
        """The fields of a batch that a step reads, on the devices.

        Args:
          batch: all rows, or those of a part.
          shard: which part of the rows these are, of how many.
        """
        return self.partitioner.put_batch(device_fields(batch), shard)

    def start(self, path: str | None, key: jax.Array) -> TrainState:
        """The state before the first update; arguments as of :meth:`start_params`."""
        params = self.start_params(path, key)
        with self.partitioner.context():
            return state_lib.create(params, self._optimizer, self.state_layout)

    def start_params(self, path: str | None, key: jax.Array) -> Params:
        """The parameters before the first update.

        Args:
          path: the checkpoint of a pretrained policy, or None for random parameters.
          key: seeds what is random.
        """
        arguments = (key, self._example, self.layout)
        with self.partitioner.context():
            if path is None:
                return initialization.random_params(self._model, *arguments)
            return initialization.pretrained_params(self._model, path, *arguments)

    def train(
        self, state: TrainState, batch: HostBatch, reference_params: Params | None
    ) -> tuple[TrainState, metrics_lib.Metrics]:
        """One update; the old state's buffers are gone. Waits for the step before.

        Args:
          state: before it.
          batch: this host's part of the rows (:attr:`shard`).
          reference_params: where no log-probabilities of a reference are cached.
        """
        with self.partitioner.context():
            placed = self.put(batch, self.shard)
            state, metrics = self._train(state, placed, reference_params, self._key)
            return state, self._in_flight.sent(metrics)

    @property
    def reference_layout(self) -> Params:
        """Shapes of a frozen reference's parameters, with shardings."""
        policy = self._model.policy_params
        return _placed(policy(self.layout.shapes), policy(self.layout.shardings))

    def lower_train(self, *, frozen_copy: bool) -> jax.stages.Lowered:
        """The update, traced for batches like the example: nothing is computed.

        Args:
          frozen_copy: whether the step is given the reference's parameters.
        """
        batch, key = self._example, self._key
        with self.partitioner.context():
            return self._train.function.lower(
                self.state_layout,
                _placed(batch, dict.fromkeys(batch, self.partitioner.by_row)),
                self.reference_layout if frozen_copy else None,
                _placed(key, self.partitioner.replicated),
            )

    def evaluate(
        self,
        params: Params,
        batch: HostBatch,
        reference_params: Params | None,
        shard: Shard = WHOLE,
    ) -> metrics_lib.Metrics:
        """A batch's metrics; `shard` says which part of its rows are given.

        Waits for the step before.
        """
        with self.partitioner.context():
            metrics = self._evaluate(params, self.put(batch, shard), reference_params)
            return self._in_flight.sent(metrics)

    def metric_names(self, batch: HostBatch) -> list[str]:
        """Names of an evaluation's metrics, by tracing it: nothing is computed.

        Args:
          batch: with all that the objective reads of records; values do not matter.
        """
        params = self.layout.shapes
        with self.partitioner.context():
            metrics = jax.eval_shape(
                self._evaluate.function,
                params,
                device_fields(batch),
                self._model.policy_params(params),
            )
        of_scores = SCORE_METRICS if self._model.reward_config is not None else ()
        return [*metrics, *of_scores]

    def gather(
        self,
        params: Params,
        batch: HostBatch,
        reference_params: Params | None,
        shard: Shard = WHOLE,
    ) -> tuple[Trajectories, metrics_lib.Metrics]:
        """A batch's trajectories as a part of a split, on the host, and row metrics.

        They are the whole batch's, whichever part of its rows (`shard`) is given.
        """
        with self.partitioner.context():
            trajectories, metrics = self._gather(
                params, self.put(batch, shard), reference_params
            )
        return jax.tree.map(np.asarray, trajectories), metrics

    def log_ratios(
        self,
        params: Params,
        batch: HostBatch,
        reference_params: Params,
        shard: Shard = WHOLE,
    ) -> np.ndarray:
        """``[B, S]`` ℓ between two policies, without dropout, of the whole batch.

        Args:
          params: of the one.
          batch: all rows, or those of a part.
          reference_params: of the other.
          shard: which part of the rows these are, of how many.
        """
        with self.partitioner.context():
            placed = self.put(batch, shard)
            return np.asarray(self._log_ratios(params, placed, reference_params))


def _placed(tree, shardings):
    """Shapes of arrays, with shardings."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=sharding
        ),
        tree,
        shardings,
    )
