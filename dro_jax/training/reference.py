"""Where the reference's log-probabilities come from."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import jax
import numpy as np

from dro_jax.errors import ConfigError, DataError
from dro_jax.models.model import FeedbackModel, Params
from dro_jax.training.progress import Progress

HostBatch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ReferenceLogprobs:
    """log π_ref(y|x) of every record of a split, by record id.

    Attributes:
      ids: ``[R]`` int64, sorted: (task fingerprint, record index) in one number.
      logprobs: ``[R]`` float32, nats.
    """

    ids: np.ndarray
    logprobs: np.ndarray

    def attach(self, batch: HostBatch) -> HostBatch:
        """The batch with `reference_logprobs` ``[B, S]``; 0 at padding.

        Raises:
          DataError: a record has no entry.
        """
        wanted = _join(batch["record_ids"])
        places = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        present = batch["trajectory_weights"] > 0
        missing = present & (self.ids[places] != wanted)
        if missing.any():
            raise DataError(
                f"no reference log-probability is cached for {missing.sum()} records of "
                f"the batch (first id {batch['record_ids'][missing][0].tolist()}): the "
                "cache was computed from other data than the run reads"
            )
        values = np.where(present, self.logprobs[places], np.float32(0))
        return {**batch, "reference_logprobs": values.astype(np.float32)}


class Reference:
    """The frozen policy that an objective is anchored to, as the trainer uses it.

    Args:
      model: whose policy network the reference shares.
      params: the frozen policy parameters; unused, and None, where the objective needs
        no reference.
      mode: `cached`, every log-probability of a split computed once, when the split is
        first read; `frozen_copy`, a second forward pass in every step.

    Raises:
      ConfigError: an unknown mode.
    """

    def __init__(
        self,
        model: FeedbackModel,
        params: Params | None,
        mode: Literal["cached", "frozen_copy"] = "cached",
    ):
        if mode not in ("cached", "frozen_copy"):
            raise ConfigError(
                f"reference = {mode!r} is unknown: use 'cached' or 'frozen_copy'"
            )
        self._model = model
        self._needed = model.objective.needs.reference
        self._cached = mode == "cached"
        self._params = None
        if self._needed:
            # A copy: the train step donates, and so destroys, the policy's buffers.
            self._params = jax.device_put(jax.device_get(params))

    @property
    def step_params(self) -> Params | None:
        """What a step must be given: the frozen copy, or None."""
        return None if self._cached else self._params

    def prepare(self, dataset):
        """The data set as a step needs it: with cached log-probabilities if in use."""
        if not (self._needed and self._cached):
            return dataset
        table = compute_reference_logprobs(
            self._model,
            self._params,
            dataset.one_pass().batches(),
            label=f"reference log-probs ({dataset.split})",
        )
        return _WithReference(dataset, table)


@dataclasses.dataclass(frozen=True)
class _WithReference:
    dataset: Any
    table: ReferenceLogprobs

    def batches(self, start_batch: int = 0) -> Iterator[HostBatch]:
        return map(self.table.attach, self.dataset.batches(start_batch=start_batch))


def compute_reference_logprobs(
    model: FeedbackModel,
    params: Params,
    batches: Iterable[HostBatch],
    *,
    label: str = "reference log-probs",
) -> ReferenceLogprobs:
    """One pass of the reference, without dropout, over every record of a split."""
    forward = jax.jit(model.logprobs)
    ids, values = [], []
    with Progress(label, None, unit="records") as progress:
        for batch in batches:
            inputs = {name: x for name, x in batch.items() if name != "record_ids"}
            logprobs = np.asarray(forward(params, inputs))
            present = batch["trajectory_weights"] > 0
            ids.append(_join(batch["record_ids"])[present])
            values.append(logprobs[present])
            progress.advance(int(present.sum()))
        progress.say("done")
    if not ids:
        raise DataError(f"{label}: the split is empty, so there is nothing to train on")
    unique_ids, first = np.unique(np.concatenate(ids), return_index=True)
    return ReferenceLogprobs(unique_ids, np.concatenate(values)[first])


def _join(record_ids: np.ndarray) -> np.ndarray:
    """``[..., 2]`` int32 pairs as one int64 each."""
    pairs = record_ids.astype(np.int64)
    return (pairs[..., 0] << 32) + pairs[..., 1]
