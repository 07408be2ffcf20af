"""A reward model's figures on a split: what ranks and pairs say of its scores."""

import numpy as np

from dro_jax import metrics as metrics_lib
from dro_jax.data.interface import Dataset
from dro_jax.objectives.interface import Trajectories
from dro_jax.score_agreement import (
    NUM_PAIRS,
    PAIR_ACCURACY,
    SPEARMAN,
    agreement,
)

SCORE_METRICS = (SPEARMAN, PAIR_ACCURACY, NUM_PAIRS)


def score_metrics(
    trajectories: Trajectories, ids: np.ndarray, dataset: Dataset
) -> metrics_lib.Metrics:
    """The metrics of a split's scores beside those of `trajectory_metrics`.

    Args:
      trajectories: all of the split, on the host.
      ids: ``[N]`` int64 of their records.
      dataset: the split, which knows the prompts of its records.
    """
    present = np.asarray(trajectories.weights) > 0
    records = dataset.prompt_records()
    entries, _ = records.ids.locate(ids[present])
    found = agreement(
        np.asarray(trajectories.scores)[present],
        np.asarray(trajectories.rewards)[present],
        records.prompts[entries],
    )
    one = np.float64(1)
    return {
        SPEARMAN: metrics_lib.Mean(np.float64(found.spearman), one),
        PAIR_ACCURACY: metrics_lib.Mean(np.float64(found.pair_accuracy), one),
        NUM_PAIRS: metrics_lib.Sum(np.float64(found.num_pairs)),
    }
