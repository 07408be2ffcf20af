"""Batches of a data set's shapes, made without its records."""

import pytest

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError
from dro_jax.planning.example_batch import example_batch

LENGTHS = {"inputs": 24, "targets": 20}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pack": True},
        {"pack": True, "max_trajectories_per_row": 3},
        {"group_size": 2},
        {"group_size": 2, "pack": True},
    ],
    ids=str,
)
def test_shapes_and_types_are_those_of_real_batches(settings):
    dataset = DatasetConfig(
        "support_desk",
        LENGTHS,
        batch_size=4,
        module="dro_jax.tasks.support_desk.task",
        **settings,
    )
    real = next(dataset.batches())
    made = example_batch(dataset)
    assert {n: (x.shape, x.dtype) for n, x in made.items()} == {
        n: (x.shape, x.dtype) for n, x in real.items()
    }


def test_a_data_set_that_does_not_say_its_lengths_is_refused():
    with pytest.raises(ConfigError, match="object, which lacks task_feature_lengths"):
        example_batch(object())
