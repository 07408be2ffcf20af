"""Losses and gradients that are not finite: found at once, with the records at fault."""

import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from dro_jax import batch_fields
from dro_jax import metrics as metrics_lib
from dro_jax.data.interface import WHOLE, HostBatch, Shard
from dro_jax.errors import TrainingError
from dro_jax.training.atomic_files import write_json
from dro_jax.training.host_rows import whole_batch
from dro_jax.training.run_files import non_finite_report

Identities = Callable[[HostBatch], list[str]]
_WATCHED = ("loss", "grad_norm")
_REPORTED = batch_fields.names(reader="report")
SKIPPED = "skipped_steps"


class NonFiniteGuard:
    """Looks at each step's loss and gradient norm, one step behind the device.

    Args:
      folder: where `non_finite_step_N.json` is written.
      identities: a batch's records in a person's words.
      shard: which part of each batch's rows this host is given, of how many.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        identities: Identities,
        shard: Shard = WHOLE,
    ):
        self._folder = pathlib.Path(folder)
        self._identities = identities
        self._shard = shard
        self._last: tuple[int, metrics_lib.Metrics, HostBatch] | None = None

    def watch(self, step: int, metrics: metrics_lib.Metrics, batch: HostBatch) -> None:
        """Check the step before, and keep this one: `step` updates came before it.

        Waiting for the step before keeps the host one step ahead of the device, enough
        to hide its work.

        Raises:
          TrainingError: the step before was not finite.
        """
        self.check()
        self._last = step, metrics, batch

    def check(self) -> None:
        """Check the step that was kept; waits for it.

        Raises:
          TrainingError: it was not finite.
        """
        if self._last is None:
            return
        (step, metrics, batch), self._last = self._last, None
        watched = jax.device_get({name: metrics[name] for name in _WATCHED})
        # Such a step was left out on the device. It is waited for all the same.
        if SKIPPED in metrics:
            return
        for name in _WATCHED:
            if not math.isfinite(watched[name].compute()):
                self._refuse(step, name, metrics, batch)

    def _refuse(self, step, name, metrics, batch) -> None:
        terms = metrics_lib.compute(metrics)
        path = self._folder / non_finite_report(step)
        if self._shard != WHOLE:
            # The step's metrics are everywhere the same: all hosts come here together.
            batch = whole_batch({name: batch[name] for name in _REPORTED}, self._shard)
        if jax.process_index() == 0:
            report = {
                "step": step,
                "terms": {n: repr(v) for n, v in terms.items()},
                "records": self._records(batch),
            }
            write_json(path, report)
        shown = ", ".join(f"{n} = {v:.4g}" for n, v in terms.items())
        raise TrainingError(
            f"{name} is {terms[name]} in the step from {step} to {step + 1}; nothing was "
            f"saved since the last checkpoint. The step's terms: {shown}. The batch's "
            f"records are listed in {path}. Look at their rewards, lower the learning "
            "rate or set max_grad_norm; or leave such steps out with "
            "train.on_non_finite = 'skip'"
        )

    def _records(self, batch: HostBatch) -> list[dict[str, Any]]:
        present = batch["trajectory_weights"] > 0
        return [
            {"record": identity, "reward": repr(float(reward))}
            for identity, reward in zip(
                self._identities(batch), batch["rewards"][present], strict=True
            )
        ]


def check_not_all_skipped(values: dict[str, float], num_steps: int) -> None:
    """Refuse to go on where every step since the last line was skipped.

    Raises:
      TrainingError: there were two steps or more, and all were.
    """
    if num_steps > 1 and values.get(SKIPPED, 0) >= num_steps:
        raise TrainingError(
            f"the last {num_steps} steps were all skipped, since their loss or gradient "
            "was not finite: nothing is being learnt. Run with train.on_non_finite = "
            "'stop' to see the first of them and its records"
        )
