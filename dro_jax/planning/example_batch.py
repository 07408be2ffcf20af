"""A batch with the shapes of a data set's, made of its settings: no record is read."""

from dro_jax import batch_fields
from dro_jax.data.interface import Dataset, HostBatch
from dro_jax.errors import ConfigError

_READ = ("task_feature_lengths", "batch_size", "group_size", "packing")


def example_batch(dataset: Dataset) -> HostBatch:
    """A batch like those of a data set, all of its places taken.

    A packed row has as many places for trajectories as it may have
    (`max_trajectories_per_row`), whether records fill them or not, so that shapes are
    known without a record.

    Args:
      dataset: a `dro_jax.data.dataset.DatasetConfig`, or what has its settings.

    Raises:
      ConfigError: it does not say how long its rows are.
    """
    lacking = [name for name in _READ if not hasattr(dataset, name)]
    if lacking:
        raise ConfigError(
            f"train.train_dataset_cfg is a {type(dataset).__name__}, which lacks "
            f"{', '.join(lacking)}: what a batch looks like is known of a DatasetConfig "
            "without its records, and of nothing else"
        )
    sizes = _sizes(dataset)
    sources = ["split"]
    if dataset.packing is not None or dataset.group_size is not None:
        sources.append("packing")
    if dataset.group_size is not None:
        sources.append("grouping")
    batch = {
        name: batch_fields.zeros(name, sizes)
        for source in sources
        for name in batch_fields.names(source=source)
    }
    # All places are filled.
    for name in batch:
        if name.endswith("_weights"):
            batch[name] += 1
    return batch


def _sizes(dataset: Dataset) -> dict[str, int]:
    """B, L, T, G and S."""
    group, packing = dataset.group_size or 1, dataset.packing
    if packing is not None:
        inputs, targets = packing.inputs, packing.targets
        prompts = packing.max_trajectories
    else:
        lengths, prompts = dataset.task_feature_lengths, 1
        inputs, targets = lengths["inputs"], lengths["targets"] * group
    return {
        "B": dataset.batch_size,
        "L": inputs,
        "T": targets,
        "G": prompts,
        "S": prompts * group,
    }
