"""Which prompts of a split judge a run, and which its value of the reference is fitted to.

A value that was fitted to the rewards of the very records on which a run is evaluated
makes their advantages too small: the best checkpoint would be chosen in-sample.
"""

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.interface import Dataset
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import note
from dro_jax.plurals import counted
from dro_jax.training.before.value_fit_data import is_judged


def judged_part(dataset: Dataset, fraction: float) -> Dataset:
    """The records of a split whose prompts judge, and no others.

    Args:
      dataset: a split that a value is fitted on.
      fraction: as `ValueFitConfig.judged_fraction`; 0 gives all records.

    Raises:
      ConfigError: the records are grouped.
      DataError: no prompt is left on one side.
    """
    if fraction == 0:
        return dataset
    own = "name a split of its own for the fit, train.value_fit_dataset_cfg"
    if dataset.group_size is not None:
        raise ConfigError(
            f"the split '{dataset.split}' of {dataset.name} is grouped (GROUP_SIZE), so "
            "its prompts cannot be shared out between the fit of the value of the "
            f"reference and the evaluation: leave GROUP_SIZE out, or {own}"
        )
    records = dataset.prompt_records()
    counts = np.zeros(2, int)
    for positions in records.by_prompt():
        judge = is_judged(np.unique(records.prompts[positions]), fraction)
        counts += [judge.sum(), (~judge).sum()]
    if not all(counts):
        raise DataError(
            f"the split '{dataset.split}' of {dataset.name} has {counted(sum(counts), 'prompt')}, of "
            f"which {counts[0]} judge the run and {counts[1]} are left to fit the value of "
            f"the reference to: it takes more prompts, or {own}"
        )
    weights = scratch.filled(
        len(records),
        np.float32,
        lambda part: is_judged(records.prompts[part], fraction),
    )
    note(
        f"{dataset.name}, split '{dataset.split}': {counted(counts[0], 'prompt')} "
        f"({counted(np.count_nonzero(weights), 'record')}) are evaluated, and the value of the reference is fitted to the other "
        f"{counts[1]} (ValueFitConfig.judged_fraction = {fraction:g})"
    )
    return dataset.drawn(weights, with_replacement=False)
