"""Which prompts of a split judge a run, and which its value of the reference is fitted to.

A value that was fitted to the rewards of the very records on which a run is evaluated
makes their advantages too small: the best checkpoint would be chosen in-sample.
"""

from typing import Any

import numpy as np

from dro_jax.data.record_ids import join_ids
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import note
from dro_jax.training.before.record_fields import RecordIndex
from dro_jax.training.before.value_fit_data import is_judged, prompt_hashes


def judged_part(dataset: Any, fraction: float) -> Any:
    """The records of a split whose prompts judge, and no others.

    Args:
      dataset: a split that a value is fitted on, as a `DatasetConfig` or what offers its
        `one_pass`, `prompt_records` and `drawn`.
      fraction: as `ValueFitConfig.judged_fraction`; 0 gives all records.

    Raises:
      ConfigError: the records are grouped.
      DataError: no prompt is left on one side.
    """
    if fraction == 0:
        return dataset
    own = "name a split of its own for the fit, train.value_fit_dataset_cfg"
    if getattr(dataset, "group_size", None) is not None:
        raise ConfigError(
            f"the split '{dataset.split}' of {dataset.name} is grouped (GROUP_SIZE), so "
            "its prompts cannot be shared out between the fit of the value of the "
            f"reference and the evaluation: {own}"
        )
    ids, hashes = [], []
    for batch in dataset.one_pass(pack=True).batches():
        present = batch["trajectory_weights"] > 0
        ids.append(join_ids(batch["record_ids"])[present])
        hashes.append(prompt_hashes(batch)[present])
    prompts = np.concatenate(hashes)
    judges = is_judged(prompts, fraction)
    counts = [len(np.unique(prompts[side])) for side in (judges, ~judges)]
    if not all(counts):
        raise DataError(
            f"the split '{dataset.split}' of {dataset.name} has {sum(counts)} prompts, of "
            f"which {counts[0]} judge the run and {counts[1]} are left to fit the value of "
            f"the reference to: it takes more prompts, or {own}"
        )
    records = dataset.prompt_records()
    entries, _ = RecordIndex(np.concatenate(ids), "a record's prompt").locate(
        records.ids
    )
    note(
        f"{dataset.name}, split '{dataset.split}': {counts[0]} prompts ({judges.sum()} "
        f"records) are evaluated, and the value of the reference is fitted to the other "
        f"{counts[1]} (ValueFitConfig.judged_fraction = {fraction:g})"
    )
    weights = judges[entries].astype(np.float32)
    return dataset.drawn(weights, with_replacement=False)
