"""What a run prepares is computed by all its processes, and is the same on each.

Each process has a disk of its own for what is kept of the reference.
"""

import jax
import numpy as np
import preparation
import pytest
from array_data import ArrayDataset
from prompt_rewards import PromptRewards
from several_processes import run_together

from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.run_progress import RunProgress


def save(folder, seed):
    """Random parameters, saved by one process with four devices."""
    checkpointer = Checkpointer(folder, CheckpointConfig())
    steps = preparation.steps_of(preparation.FOUR)
    checkpointer.save(steps.start(None, jax.random.key(seed)), RunProgress())
    checkpointer.close()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint."""
    folder = tmp_path_factory.mktemp("saved")
    save(folder, seed=1)
    return folder


def folder_of(tmp_path, saved, name):
    """A run's folder with that checkpoint."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "checkpoint_0").symlink_to(saved / "checkpoint_0")
    return folder


@pytest.mark.slow
def test_two_processes_prepare_what_one_does(tmp_path, saved):
    run = folder_of(tmp_path, saved, "run")
    save(tmp_path / "other_policy", seed=2)
    run_together(
        preparation.by_processes,
        *map(str, (saved, run, tmp_path)),
        count=2,
        devices=2,
        timeout=240,
    )

    def of_each(name):
        first, second = (np.load(tmp_path / name.format(rank)) for rank in range(2))
        return first, second

    alone = preparation.reference_of(saved, tmp_path / "alone").table(ArrayDataset())
    wanted = alone.attach(preparation.FIRST)["reference_logprobs"]
    for data in (4, 1):
        found, same = of_each(f"logprobs-{data}-{{}}.npy")
        np.testing.assert_array_equal(found, same)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)

    value = preparation.value_of(saved, tmp_path / "value")
    value.fit(PromptRewards())
    found, same = of_each("values-{}.npy")
    np.testing.assert_array_equal(found, same)
    np.testing.assert_allclose(found, value.values(preparation.OTHERS), rtol=1e-5)

    samples, data = preparation.samples_of(tmp_path / "alone")
    found, same = of_each("samples-{}.npy")
    np.testing.assert_array_equal(found, same)
    prompts = data.prompt_records().prompts
    np.testing.assert_array_equal(found, samples.of(data).of(prompts))

    # A checkpoint of one process is gone on from by two, and theirs by one again.
    other = folder_of(tmp_path, saved, "other")
    wanted = preparation.go_on(other, slice(None))
    found, same = of_each("state-{}.npz")
    for name, leaf in zip(found.files, wanted, strict=True):
        np.testing.assert_array_equal(found[name], same[name])
        np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-6)
    wanted = preparation.go_on(other, slice(None))
    for one, leaf in zip(preparation.go_on(run, slice(None)), wanted, strict=True):
        np.testing.assert_allclose(one, leaf, rtol=1e-4, atol=1e-6)
