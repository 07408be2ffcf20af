"""The first train step's ℓ, which is 0 but for rounding where policy and reference agree.

Log-probabilities round differently where a response lies in another row, at another
place or beside other neighbours: a cache is packed in the order of the file, training in
an order of its own. The errors of a response's tokens add up as those of a random walk,
so what is allowed grows with the root of their number.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import jax
import numpy as np

from dro_jax import metrics as metrics_lib
from dro_jax.data.interface import HostBatch
from dro_jax.errors import TrainingError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.training.before.prepared_run import PreparedRun
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.non_finite import SKIPPED

LARGEST, PER_ROOT_TOKEN = "logratio/largest", "logratio/largest_per_root_token"
MEAN_SQUARE = "logratio/mean_square"
# Nats for each root of a response token: 16 times what `dro-jax benchmark --only
# logratio_noise` finds with a mini T5. Larger networks have more layers to round in.
_ALLOWED = {"float32": 1e-4, "bfloat16": 0.2, "float16": 0.03}


def allowed_per_root_token(dtype: str, logits_dtype: str = "float32") -> float:
    """What rounding may make of ℓ, in nats for each root of a response token.

    Args:
      dtype: of the activations. Where the backend multiplies float32 matrices in fewer
        bits (TPUs and GPUs, unless `jax_default_matmul_precision` says otherwise), it is
        as if they were bfloat16.
      logits_dtype: of the logits. Of fewer bits, one that lies between two numbers goes
        to either, however little the activations differ.
    """
    precise = jax.config.jax_default_matmul_precision in ("highest", "float32")
    if dtype == "float32" and jax.default_backend() != "cpu" and not precise:
        dtype = "bfloat16"
    return max(_ALLOWED.get(own, _ALLOWED["bfloat16"]) for own in (dtype, logits_dtype))


def checked(train_step: Callable, check: "StepZeroCheck") -> Callable:
    """A train step whose first call `check` looks at."""
    pending = [check]

    def run(state, batch):
        state, metrics = train_step(state, batch)
        # A skipped step measured nothing, and left the parameters as they were.
        if pending and not _skipped(metrics):
            pending.pop()(metrics, batch)
        return state, metrics

    return run


def _skipped(metrics: metrics_lib.Metrics) -> bool:
    return SKIPPED in metrics and metrics_lib.compute(metrics)[SKIPPED] > 0


@dataclasses.dataclass(frozen=True)
class StepZeroCheck:
    """Refuses a run whose first step does not start at the reference.

    Attributes:
      model: what is trained.
      tolerance: the largest |ℓ| of a response, in nats; None, as much as rounding makes
        of it (:func:`allowed_per_root_token`).
      in_training_rows: gives ``[B, S]`` ℓ of a batch between the policy that training
        starts from and the reference, both computed anew in the batch's own rows.
      cache_error: gives the largest difference, in nats, between log-probabilities of
        the cache and the same computed anew in the cache's own rows; None without one.
    """

    model: FeedbackModel
    tolerance: float | None
    in_training_rows: Callable[[HostBatch], np.ndarray]
    cache_error: Callable[[], float] | None

    @classmethod
    def of(
        cls,
        plan: RunPlan,
        prepared: PreparedRun,
        steps: MeshSteps,
        start_params: Callable[[], Params],
    ) -> "StepZeroCheck":
        """The check of a run.

        Args:
          plan, prepared, steps: the run.
          start_params: makes the parameters that training starts from.
        """
        reference, data = prepared.reference, prepared.train
        table, error = data.reference, None
        if table is not None:
            split = plan.data.train
            error = functools.partial(reference.error_of, split, table)

        def in_training_rows(batch: HostBatch) -> np.ndarray:
            # Those that training began with are gone: a step donates its buffers.
            anchor = reference.step_params or reference.load()
            return steps.log_ratios(start_params(), batch, anchor, steps.shard)

        return cls(plan.model, plan.reference.tolerance, in_training_rows, error)

    def __call__(self, metrics: metrics_lib.Metrics, batch: HostBatch) -> None:
        """Looks at a first step.

        Args:
          metrics: the step's own.
          batch: what it read.

        Raises:
          TrainingError: ℓ is too large; the message says why.
        """
        found = metrics_lib.compute(metrics)
        if self.tolerance is not None:
            if found[LARGEST] <= self.tolerance:
                return
            allowed = f"step_zero_tolerance is {self.tolerance:g}"
        else:
            network = self.model.network_config
            dtype, of_logits = str(network.dtype), str(network.logits_dtype)
            each = allowed_per_root_token(dtype, of_logits)
            if found[PER_ROOT_TOKEN] <= each:
                return
            allowed = (
                f"{found[PER_ROOT_TOKEN]:.3g} for each root of a response token, where "
                f"{each:g} is allowed for {dtype}, logits {of_logits}"
            )
        raise TrainingError(
            "before the first update the policy must equal the reference, but "
            f"|log π − log π_ref| reaches {found[LARGEST]:.4g} nats on the first batch "
            f"({allowed}; mean {-found['kl']:.3g}, root mean square "
            f"{math.sqrt(found[MEAN_SQUARE]):.3g}). {self._cause(found, batch)}"
        )

    def _cause(self, found: Mapping[str, float], batch: HostBatch) -> str:
        if self.model.uses_dropout:
            return "Dropout is on in the policy and off in the reference: set DROPOUT_RATE = 0"
        largest = float(np.max(np.abs(self.in_training_rows(batch))))
        # Against what was found: the same numbers by another program round a little.
        if not largest <= 0.1 * found[LARGEST]:
            return (
                "The reference is not the policy that training starts from: computed "
                f"anew in the same rows, they differ by up to {largest:.4g} nats"
            )
        error = None if self.cache_error is None else self.cache_error()
        if error is not None and not error <= 0.1 * found[LARGEST]:
            return (
                "The reference cache does not hold this policy's log-probabilities: "
                f"computed anew in its own rows, they differ by up to {error:.4g} nats. "
                "Delete the cache (REFERENCE_CACHE_DIR)"
            )
        return (
            "This is rounding, not a wrong reference: computed anew in the same rows, "
            f"policy and reference differ by {largest:.2g} nats"
            + ("" if error is None else f", and the cache by {error:.2g} in its own")
            + ". Set FLOAT32_RESIDUAL = True or DTYPE = 'float32' (and LOGITS_DTYPE), or "
            "allow it: "
            f"train.train.step_zero_tolerance = {2 * found[LARGEST]:.2g}"
        )
