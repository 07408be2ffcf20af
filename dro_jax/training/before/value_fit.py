"""Fits a value to the rewards of a split, the encoder left as it is."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dro_jax.data import scratch
from dro_jax.data.settings import shard_rows
from dro_jax.errors import ConfigError, DataError, TrainingError
from dro_jax.models.attention_pool import PromptValue
from dro_jax.models.networks import Batch, Params
from dro_jax.models.shared_prompts import prompt_mask
from dro_jax.progress_bar import ProgressBar
from dro_jax.training.before.value_fit_data import FitData, FrozenStates, row_batches
from dro_jax.training.before.value_fit_report import EpochErrors, FitReport
from dro_jax.training.compiled_together import CompiledTogether
from dro_jax.training.in_flight import InFlight
from dro_jax.training.optimizers import with_standard_promotion
from dro_jax.training.sharding import DATA, Partitioner


@dataclasses.dataclass(frozen=True)
class ValueFitConfig:
    """How the value of the reference is fitted (arXiv 2305.14718).

    Attributes:
      num_heads: heads of the attention pool, a divisor of `T5Config.emb_dim`.
      dropout_rate: dropout on the pool's weights, in training only.
      learning_rate: Adam's.
      num_epochs: passes over the prompts that are not held out.
      batch_size: rows of a batch. Rows of zeros are added where the devices do not
        divide them.
      held_out_fraction: share of the prompts whose rewards choose the epoch.
      judged_fraction: share of the prompts of an evaluation's split that judge the run,
        and that V is not fitted to; unused where V has a split of its own. A prompt's
        hash decides on which side it is. 0 fits V to all: what is then evaluated on
        them is in-sample.
      min_value, max_value: bounds of V; default the least and greatest reward of the
        split that is fitted. The paper has 0, and rewards in [0, 1].
      seed: of the first parameters, of dropout and of the order of rows. Which prompts
        are held out does not depend on it.
      max_state_bytes: encoder states are kept in the host's memory, and the encoder
        runs once, where they take no more than this; else it runs in every epoch.

    Raises:
      ConfigError: a setting cannot be used.
    """

    num_heads: int = 8
    dropout_rate: float = 0.1
    learning_rate: float = 3e-4
    num_epochs: int = 20
    batch_size: int = 32
    held_out_fraction: float = 0.2
    judged_fraction: float = 0.5
    min_value: float | None = None
    max_value: float | None = None
    seed: int = 0
    max_state_bytes: int = 4 << 30

    def __post_init__(self):
        bounds = [x for x in (self.min_value, self.max_value) if x is not None]
        ordered = len(bounds) < 2 or self.min_value < self.max_value
        for name, right, wanted in (
            ("num_heads", self.num_heads >= 1, "at least 1"),
            ("dropout_rate", 0 <= self.dropout_rate < 1, "in [0, 1)"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "positive"),
            ("num_epochs", self.num_epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("held_out_fraction", 0 < self.held_out_fraction < 1, "in (0, 1)"),
            ("judged_fraction", 0 <= self.judged_fraction < 1, "in [0, 1)"),
            ("min_value", all(map(math.isfinite, bounds)), "finite, as max_value"),
            ("max_value", ordered, f"above min_value = {self.min_value}"),
        ):
            if not right:
                raise ConfigError(
                    f"ValueFitConfig.{name} = {getattr(self, name)} must be {wanted}"
                )

    def facts(self) -> dict[str, str]:
        """The settings that a fit depends on, by name."""
        return {
            f"ValueFitConfig.{field.name}": str(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in ("max_state_bytes", "judged_fraction")
        }


class ValueFit:
    """Fits V to a split's rewards by mean squared error.

    Args:
      config: how.
      data: the split.
      states: of its rows.
      width: of the states.
      partitioner: places everything.
      tick: called after each batch; may raise to stop.

    Raises:
      ConfigError: the bounds leave out all rewards.
      DataError: all rewards are equal.
    """

    def __init__(
        self,
        config: ValueFitConfig,
        data: FitData,
        states: FrozenStates,
        width: int,
        partitioner: Partitioner,
        *,
        tick: Callable[[], None] = lambda: None,
    ):
        self._config, self._data, self._states = config, data, states
        self._width, self._partitioner, self._tick = width, partitioner, tick
        self._constant = float(data.rewards[data.train].astype(np.float64).mean())
        self._constant_mse = self._mean_square(self._constant, data.held_out)
        # Values of all rows, computed anew after each epoch.
        self._found = scratch.array(data.rewards.shape, np.float32)
        self._bounds = _bounds(config, data)
        self._module = value_module(config, self._bounds, initial=self._constant)
        self._optimizer = with_standard_promotion(optax.adam(config.learning_rate))
        replicated = partitioner.replicated
        self._values = CompiledTogether(jax.jit(self._apply, out_shardings=replicated))
        self._update = CompiledTogether(
            jax.jit(self._updated, donate_argnums=(0, 1), out_shardings=replicated)
        )

    def run(self) -> tuple[Params, FitReport]:
        """Fits.

        Returns:
          The parameters of the best epoch, on the host, and what the epochs gave.

        Raises:
          TrainingError: an error is not finite.
        """
        with self._partitioner.context():
            return self._run()

    def _run(self):
        config = self._config
        self._states.hold(
            self._batches(np.arange(len(self._data))), config.max_state_bytes
        )
        init_key, dropout_key = jax.random.split(jax.random.key(config.seed))
        start = jax.jit(self._start, out_shardings=self._partitioner.replicated)
        params, opt_state = start(init_key)
        rows = np.flatnonzero(self._data.train.any(1))
        epochs, best = [self._errors(params)], (0, jax.device_get(params))
        step, in_flight = 0, InFlight()
        with ProgressBar(
            "value of the reference", config.num_epochs, unit="epochs"
        ) as bar:
            for epoch in range(1, config.num_epochs + 1):
                order = np.random.default_rng((config.seed, epoch)).permutation(rows)
                for numbers, count in self._batches(order):
                    key = jax.random.fold_in(dropout_key, step)
                    batch = self._batch(numbers, count)
                    params, opt_state, loss = self._update(
                        params, opt_state, *batch, key
                    )
                    in_flight.sent(loss)
                    step += 1
                    self._tick()
                epochs.append(self._errors(params))
                if epochs[epoch].held_out_mse < epochs[best[0]].held_out_mse:
                    best = epoch, jax.device_get(params)
                bar.advance()
                bar.say(epochs[epoch].text())
            report = self._report(epochs, best[0])
            bar.say(f"kept {report.text()}")
        return best[1], report

    def _start(self, key):
        states = jnp.zeros((1, 1, self._width), jnp.float32)
        params = self._module.init(key, states, jnp.ones((1, 1, 1), bool))["params"]
        return params, self._optimizer.init(params)

    def _batches(self, rows: np.ndarray):
        multiple = self._partitioner.mesh.shape[DATA]
        return row_batches(rows, self._config.batch_size, multiple)

    def _batch(self, rows: np.ndarray, count: int) -> tuple[jax.Array, Batch]:
        """States, and the other fields with weights for what is fitted.

        Each host reads its own of the rows.
        """
        shard = self._partitioner.shard(len(rows))
        part = shard_rows(shard, len(rows))
        own = rows[part]
        counts = np.arange(len(rows))[part, None] < count
        fields = {name: x[own] for name, x in self._data.fields.items()}
        fields |= {
            "trajectory_weights": (self._data.train[own] & counts).astype(np.float32),
            "rewards": self._data.rewards[own],
        }
        return self._states.of_rows(rows), self._partitioner.put_batch(fields, shard)

    def _apply(self, params, states, batch):
        return self._module.apply({"params": params}, states, prompt_mask(batch))

    def _updated(self, params, opt_state, states, batch, key):
        low, high = self._bounds

        def loss(params):
            values = self._module.apply(
                {"params": params},
                states,
                prompt_mask(batch),
                enable_dropout=True,
                rngs={"dropout": key},
            )
            # In units of the range, so that rewards' units do not matter to Adam.
            errors = (values - batch["rewards"]) / (high - low)
            weights = batch["trajectory_weights"]
            return jnp.sum(weights * jnp.square(errors)) / jnp.sum(weights)

        found, gradient = jax.value_and_grad(loss)(params)
        updates, opt_state = self._optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, found

    def _errors(self, params) -> EpochErrors:
        data = self._data
        for rows, count in self._batches(np.arange(len(data))):
            found = self._values(params, *self._batch(rows, count))
            self._found[rows[:count]] = np.asarray(found)[:count]
            self._tick()
        train_mse = self._mean_square(self._found, data.train)
        held_out_mse = self._mean_square(self._found, data.held_out)
        if not math.isfinite(train_mse + held_out_mse):
            raise TrainingError(
                "the value of the reference is not finite: either the reference's "
                "encoder states are not, or ValueFitConfig.learning_rate = "
                f"{self._config.learning_rate} is too high"
            )
        explained = 1 - held_out_mse / self._constant_mse if self._constant_mse else 0.0
        return EpochErrors(train_mse, held_out_mse, explained)

    def _mean_square(self, values: np.ndarray | float, which: np.ndarray) -> float:
        """Of the errors of some trajectories, bool ``[N, S]``."""
        rewards = self._data.rewards[which].astype(np.float64)
        chosen = values[which] if isinstance(values, np.ndarray) else values
        return float(np.mean(np.square(chosen - rewards)))

    def _report(self, epochs, best_epoch) -> FitReport:
        data = self._data
        return FitReport(
            tuple(epochs),
            best_epoch,
            self._constant_mse,
            *self._bounds,
            train_prompts=data.num_prompts(data.train),
            held_out_prompts=data.num_prompts(data.held_out),
            train_records=data.num_responses(data.train),
            held_out_records=data.num_responses(data.held_out),
        )


def value_module(
    config: ValueFitConfig,
    bounds: tuple[float, float],
    *,
    initial: float | None = None,
) -> PromptValue:
    """The network of V between two bounds."""
    return PromptValue(
        *bounds, initial, num_heads=config.num_heads, dropout_rate=config.dropout_rate
    )


def _bounds(config: ValueFitConfig, data: FitData) -> tuple[float, float]:
    least, greatest = data.limits
    low, high = config.min_value, config.max_value
    low = least if low is None else low
    high = greatest if high is None else high
    if least == greatest:
        of = "of the split" if data.samples is None else "of the reference's samples"
        raise DataError(
            f"every reward {of} is {least:g}, so there is no value to fit, and no "
            "advantage to learn from: check the task's reward"
        )
    if greatest <= low or least >= high:
        raise ConfigError(
            f"the value of the reference cannot lie between {low:g} and {high:g}: "
            "ValueFitConfig.min_value and max_value leave out all of the split's "
            f"rewards, from {least:g} to {greatest:g}"
        )
    return low, high
