"""Checkpoints to start from."""

import functools

import pytest
from array_data import ArrayDataset
from training_runs import run


@pytest.fixture(scope="session")
def reference_of(tmp_path_factory):
    """A model folder of one step by NLL for a network."""

    @functools.cache
    def make(network):
        folder = tmp_path_factory.mktemp("reference")
        run(folder, steps=1, network=network, train_dataset_cfg=ArrayDataset())
        return str(folder)

    return make
