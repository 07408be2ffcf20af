"""The reference's log-probabilities: computed once, kept, refused where they do not fit."""

import dataclasses
import shutil

import jax
import numpy as np
import optax
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import CheckpointError, ConfigError, DataError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROP, NLL
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.before.reference import Reference
from dro_jax.training.before.reference_share import Share
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.mesh_steps import MeshSteps, device_fields
from dro_jax.training.preemption import Preempted, StopSignal
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.sharding import MeshConfig

DATA = ArrayDataset()
ONE = MeshConfig(data=1)


def steps_of(model, mesh=ONE):
    return MeshSteps(
        model, optax.sgd(0.1), mesh.build(), next(DATA.batches()), key=jax.random.key(0)
    )


@pytest.fixture(scope="module")
def model():
    return FeedbackModel(network=small.NETWORK, objective=DROP())


@pytest.fixture(scope="module")
def steps(model):
    return steps_of(model)


@pytest.fixture(scope="module")
def saved(steps, tmp_path_factory):
    """A reference's checkpoint and its parameters."""
    return save(steps, tmp_path_factory.mktemp("saved"), key=1)


def save(steps, folder, key):
    state = steps.start(None, jax.random.key(key))
    checkpointer = Checkpointer(folder, CheckpointConfig())
    checkpointer.save(state, RunProgress())
    checkpointer.close()
    return folder, jax.device_get(state.params)


@pytest.fixture
def make(model, steps, saved, tmp_path):
    """A reference with a cache of the test's own."""

    def make(steps=steps, path=saved[0], model=model, **settings):
        return Reference(
            model, str(path), steps, cache_dir=tmp_path / "cache", **settings
        )

    return make


def completed(reference):
    table = reference.table(DATA)
    return PreparedData(DATA, () if table is None else (table,))


def test_cached_equals_a_forward_pass_of_each_batch(model, saved, make):
    prepared = completed(make())
    batches = prepared.batches(start=(24, 0))
    for index in range(3, 9):
        batch = next(batches)
        expected = jax.jit(model.logprobs)(saved[1], device_fields(batch))
        np.testing.assert_allclose(batch["reference_logprobs"], expected, rtol=1e-5)
        ids = batch["record_ids"][:, 0, 1]
        np.testing.assert_array_equal(ids, np.arange(8) + 8 * (index % 6))


def test_a_second_run_does_no_forward_pass(make):
    first, second = make(), make()
    wanted = next(completed(first).batches())
    actual = next(completed(second).batches())
    assert (first.num_forwards, second.num_forwards) == (6, 0)
    assert first.facts()["copying-train"]["forward_passes"] == 6
    np.testing.assert_array_equal(
        actual["reference_logprobs"], wanted["reference_logprobs"]
    )


def test_what_was_computed_before_a_stop_is_kept(make):
    stop = StopSignal()
    stop.request()
    stopped = make(stop=stop)
    with pytest.raises(Preempted) as caught:
        stopped.table(DATA)
    assert caught.value.code == 143
    assert stopped.num_forwards == 1
    resumed = make()
    batches = completed(resumed).batches()
    assert resumed.num_forwards == 5
    assert all(np.all(next(batches)["reference_logprobs"] < 0) for _ in range(6))


class AnotherRun:
    """Told that a run moves, it puts a part of its own into the run's cache."""

    def __init__(self, part, folder):
        self._part, self._folder = part, folder

    def reset(self):
        shutil.copy(self._part, self._folder)


def test_runs_that_fill_one_cache_at_once_end(model, steps, saved, make, tmp_path):
    other = Reference(
        model, str(saved[0]), steps, cache_dir=tmp_path / "other", part_seconds=0
    )
    wanted = completed(other).batches()
    part = tmp_path / "other" / "copying-train" / "part-000000000000-000000.npz"
    run = make(watchdog=AnotherRun(part, tmp_path / "cache" / "copying-train"))
    for actual, expected in zip(completed(run).batches(), wanted, strict=False):
        np.testing.assert_array_equal(
            actual["reference_logprobs"], expected["reference_logprobs"]
        )
        if actual["next_position"][0] >= 48:
            break


def test_a_part_that_was_being_written_is_ignored(make, tmp_path):
    make(part_seconds=0).table(DATA)
    folder = tmp_path / "cache" / "copying-train"
    parts = sorted(folder.glob("part-*.npz"))
    assert len(parts) == 6
    parts[-1].rename(f"{parts[-1]}.123.partial")
    shutil.rmtree(folder / "table")
    resumed = make()
    resumed.table(DATA)
    assert resumed.num_forwards == 1


def test_parts_made_elsewhere_are_taken_and_gaps_computed(model, saved, make, tmp_path):
    wanted = next(completed(make()).batches())
    folder = tmp_path / "cache" / "copying-train"
    shutil.rmtree(folder)
    # Three machines that know nothing of each other; the second's work is lost.
    for number in (1, 3):
        machine = Reference(
            model, str(saved[0]), make()._steps, cache_dir=tmp_path / f"machine{number}"
        )
        machine.compute_share(DATA, Share(number, 3))
        assert machine.num_forwards == 2
        machine.compute_share(DATA, Share(number, 3))
        assert machine.num_forwards == 2
        source = tmp_path / f"machine{number}" / "copying-train"
        assert not (source / "table").exists()
        shutil.copytree(source, folder, dirs_exist_ok=True)
    reference = make()
    found = next(completed(reference).batches())
    assert reference.num_forwards == 2
    np.testing.assert_array_equal(
        found["reference_logprobs"], wanted["reference_logprobs"]
    )
    assert len(reference.table(DATA)) == 48


def test_parts_of_another_key_are_not_taken(make, tmp_path):
    make().table(DATA)
    other = dataclasses.replace(DATA, seed=3)
    with pytest.raises(CheckpointError, match="records: 48 from seed 0"):
        make().compute_share(other, Share(1, 2))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 3}, r"records: 48 from seed 0 → 48 from seed 3"),
        ({"num_records": 40}, r"records: 48 from seed 0 → 40 from seed 0"),
    ],
)
def test_a_cache_of_other_data_is_refused(make, change, named):
    make().table(DATA)
    with pytest.raises(CheckpointError, match=named):
        make().table(dataclasses.replace(DATA, **change))


def test_a_cache_of_other_parameters_is_refused(make, steps, tmp_path):
    make().table(DATA)
    other, _ = save(steps, tmp_path / "other", key=2)
    with pytest.raises(CheckpointError, match="reference parameters: [0-9a-f]+ →"):
        make(path=other).table(DATA)


def test_a_damaged_part_is_named(make, tmp_path):
    make().table(DATA)
    (part,) = (tmp_path / "cache" / "copying-train").glob("part-*.npz")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"part-0.*delete it"):
        make().table(DATA)


def test_pickled_objects_are_not_read(make, tmp_path):
    make().table(DATA)
    (part,) = (tmp_path / "cache" / "copying-train").glob("part-*.npz")
    with np.load(part) as arrays:
        changed = dict(arrays) | {"ids": np.array([{"a": 1}], dtype=object)}
    with part.open("wb") as file:
        np.savez(file, **changed)
    with pytest.raises(CheckpointError, match="cannot be read"):
        make().table(DATA)


@pytest.mark.slow
def test_a_mesh_computes_the_same_numbers(model, make, tmp_path):
    wanted = next(completed(make()).batches())
    mesh = MeshConfig(data=4, model=2, fsdp=True)
    sharded = Reference(
        model, make()._path, steps_of(model, mesh), cache_dir=tmp_path / "sharded"
    )
    actual = next(completed(sharded).batches())
    np.testing.assert_allclose(
        actual["reference_logprobs"], wanted["reference_logprobs"], rtol=1e-5
    )


def test_token_logprobs_are_kept_for_objectives_that_need_them(saved, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class PerToken(DROP):
        needs = dataclasses.replace(DROP.needs, token_logprobs=True)

    model = FeedbackModel(network=small.NETWORK, objective=PerToken())
    reference = Reference(model, str(saved[0]), steps_of(model), cache_dir=tmp_path)
    batch = next(completed(reference).batches(start=(8, 0)))
    expected = jax.jit(model.token_logprobs)(saved[1], device_fields(batch))
    np.testing.assert_allclose(
        batch["reference_token_logprobs"], expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        batch["reference_token_logprobs"].sum(1),
        batch["reference_logprobs"][:, 0],
        rtol=1e-5,
    )


def test_frozen_copy_leaves_batches_alone(make):
    reference = make(mode="frozen_copy")
    assert "reference_logprobs" not in next(completed(reference).batches())
    assert reference.step_params is not None
    assert make().step_params is None


def test_an_objective_without_reference_gets_none(make):
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    reference = make(model=model, steps=None, mode="frozen_copy")
    assert reference.step_params is None
    assert reference.table(DATA) is None


def test_padding_rows_get_zero_and_are_not_looked_up(make):
    table = make().table(DATA)
    batch = next(DATA.batches())
    batch["trajectory_weights"][5:] = 0
    batch["record_ids"][5:] = -1
    attached = table.attach(batch)["reference_logprobs"]
    np.testing.assert_array_equal(attached[5:], 0)
    assert np.all(attached[:5] < 0)


def test_a_record_that_is_not_in_the_cache_is_refused(make):
    table = make().table(DATA)
    batch = next(DATA.batches())
    batch["record_ids"][2, 0] = (7, 999)
    with pytest.raises(DataError, match=r"1 record of the batch \(first id \[7, 999\]"):
        table.attach(batch)


def test_an_unknown_mode_is_refused(make):
    with pytest.raises(ConfigError, match="reference = 'live' is unknown"):
        make(mode="live")
