"""How far a run is, beside its arrays: what a resumed run needs to be the same run."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dro_jax import metrics as metrics_lib
from dro_jax.data.interface import START, Dataset, Position
from dro_jax.errors import CheckpointError
from dro_jax.training.run_files import progress_file

_ORDER = "order"


@dataclasses.dataclass(frozen=True)
class RunProgress:
    """Saved with each checkpoint as JSON.

    Attributes:
      position: where in the data the next batch begins.
      window: metrics of the steps since the last line of the log, as sums.
      window_steps: how many steps that is.
      evaluation: the held-out metrics of this very step, which rank its checkpoint;
        empty where there was no evaluation.
      line_due: whether the log's line (and evaluation) of this step is still to come.
      identity: what the run's data and reference were, in words and digests.
      samples: of a run that samples, its round and its place in it; else None.
    """

    position: Position = START
    window: metrics_lib.Metrics | None = None
    window_steps: int = 0
    evaluation: dict[str, float] = dataclasses.field(default_factory=dict)
    line_due: bool = False
    identity: dict[str, str] = dataclasses.field(default_factory=dict)
    samples: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; float32 numbers survive exactly."""
        return {
            **dataclasses.asdict(dataclasses.replace(self, window=None)),
            "window": metrics_lib.to_json(self.window or {}),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunProgress":
        """From what :meth:`to_json` gave.

        Raises:
          CheckpointError: the values are of another version, or damaged.
        """
        try:
            window = metrics_lib.from_json(values["window"]) or None
            record, row = values["position"]
            return cls(**{**values, "position": (record, row), "window": window})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint's record of its run cannot be read ({error!r}): it was "
                "written by another version of dro_jax. Start from its parameters in a "
                "new MODEL_DIR (INITIAL_CHECKPOINT_PATH)"
            ) from error


def read_progress(checkpoint: pathlib.Path) -> Any:
    """The plain values of a checkpoint's progress, for :meth:`RunProgress.from_json`.

    Raises:
      CheckpointError: there are none, or they are damaged.
    """
    path = progress_file(checkpoint)
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}, the record of its run, cannot be read ({error}): it is damaged, or "
            "the checkpoint is not one of `dro-jax train`. Delete that checkpoint to go "
            "on from the one before, or start from its parameters in a new MODEL_DIR "
            "(INITIAL_CHECKPOINT_PATH)"
        ) from error


def identity_of(
    dataset: Dataset,
    sampling: str,
    reference: str | None,
    judged_fraction: float | None,
    samples: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What a run's data and reference are, by name.

    Args:
      dataset: what is trained on.
      sampling: as for `train`.
      reference: the fingerprint of the reference's parameters, where it has one.
      judged_fraction: share of the held-out prompts that judge, where the value of the
        reference is fitted to the others.
      samples: what samples of the reference depend on, where statistics of prompts come
        from them.
    """
    identity = dataset.fingerprint(rewards=True, order=True)
    if sampling != "none":
        identity["sampling"] = sampling
    if dataset.group_size is not None:
        identity["group_size"] = str(dataset.group_size)
        identity["single_responses"] = dataset.single_responses
    if reference is not None:
        identity["reference parameters"] = reference
    if judged_fraction is not None:
        identity["share of held-out prompts that judge"] = str(judged_fraction)
        # Their hashes say which: a run must not change its judges on its way.
        identity["prompts told apart by"] = "their text"
    return identity | {f"reference's {n}": x for n, x in (samples or {}).items()}


def check_identity(before: dict[str, str], now: dict[str, str]) -> None:
    """Refuse to go on with other data or another reference than a run began with.

    Raises:
      CheckpointError: they differ; the message says in what.
    """
    check_order(before, now)
    if changed := differences(before, now):
        raise CheckpointError(
            "the run began with other data or another reference than there is now: "
            f"{changed}. Put them back, or start anew in another MODEL_DIR"
        )


def check_order(before: dict[str, str], now: dict[str, str]) -> None:
    """Refuse to go on in another order of the records than a run began in.

    Raises:
      CheckpointError: it is another.
    """
    if before.get(_ORDER) != now.get(_ORDER):
        own = "that of the source, or of an earlier version"
        raise CheckpointError(
            f"the run began with its records in another order ({before.get(_ORDER, own)})"
            f" than they are read in now ({now.get(_ORDER, 'that of the source')}), so it "
            "would repeat some and leave others out: finish it with the version of "
            "dro_jax and the settings that it began with, or start anew in another "
            "MODEL_DIR, from its parameters if you like (INITIAL_CHECKPOINT_PATH)"
        )


def differences(before: dict[str, str], now: dict[str, str]) -> str:
    """What changed between two records of facts by name; empty where nothing did."""
    names = [*now, *(name for name in before if name not in now)]
    return "; ".join(
        f"{name}: {before.get(name, 'not recorded')} → {now.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    )


def position_after(batch: dict[str, np.ndarray]) -> Position:
    """Where the batch after this one begins."""
    record, row = batch["next_position"].tolist()
    return record, row
