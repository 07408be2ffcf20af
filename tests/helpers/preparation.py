"""What a run prepares, by one process or by several with a disk each."""

import contextlib
import dataclasses
import json
import pathlib

import jax
import numpy as np
import optax
import small
from array_data import ArrayDataset
from prompt_rewards import PromptRewards

from dro_jax.errors import CheckpointError, DataError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROP, ALoLSeq
from dro_jax.training import host_files
from dro_jax.training.before.reference import Reference
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.before.same_data import check_same_data
from dro_jax.training.before.samples_of_reference import SamplesOfReference
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.before.value_of_reference import ValueOfReference
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.run_settings import RunData
from dro_jax.training.sharding import MeshConfig

OTHERS = PromptRewards(num_prompts=30, split="train", seed=1)
FIRST = next(ArrayDataset().batches())
ANCHORED = DROP()
FOUR = MeshConfig(data=4)
SHARDED = MeshConfig(data=2, model=2, fsdp=True)
asked = set()


class OwnRows(ArrayDataset):
    """Remembers which rows were read."""

    def batches(self, start=(0, 0), shard=(0, 1), beside=None):
        asked.add(shard)
        return super().batches(start, shard, beside)


class OwnPrompts(PromptRewards):
    """Remembers which rows were read."""

    def batches(self, start=(0, 0), shard=(0, 1)):
        asked.add(shard)
        return super().batches(start, shard)


def steps_of(mesh, objective=ANCHORED):
    model = FeedbackModel(network=small.NETWORK, objective=objective)
    optimizer = optax.sgd(0.1, momentum=0.9)
    return MeshSteps(model, optimizer, mesh.build(), FIRST, key=jax.random.key(0))


def reference_of(saved, cache, *, mesh=FOUR, objective=ANCHORED):
    model = FeedbackModel(network=small.NETWORK, objective=objective)
    steps = steps_of(mesh, objective)
    return Reference(model, str(saved), steps, cache_dir=cache, part_seconds=0)


def value_of(saved, folder):
    config = ValueFitConfig(num_epochs=2, learning_rate=1e-2, batch_size=8)
    model = FeedbackModel(network=small.NETWORK, objective=ANCHORED)
    load = reference_of(saved, folder).load
    return ValueOfReference(
        model, load, steps_of(FOUR), config, fingerprint="f00d", folder=folder
    )


@contextlib.contextmanager
def compilations():
    """Lists what is compiled."""
    found = []

    def note(name, seconds, **_):
        if name.endswith("backend_compile_duration"):
            found.append(name)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)


def go_on(folder, part):
    """One step from the checkpoint that a run has; gives the state's leaves."""
    steps = steps_of(SHARDED)
    checkpointer = Checkpointer(folder, CheckpointConfig())
    progress = checkpointer.progress(steps.state_layout)
    state = checkpointer.restore(steps.state_layout)
    step = int(state.step)
    assert progress == RunProgress(position=(step, 0))
    batch = {n: x[part] for n, x in FIRST.items() if n != "next_position"}
    batch["reference_logprobs"] = np.zeros_like(batch["rewards"])
    # No process begins the step before all have compiled it, and none compiles twice.
    with compilations() as found:
        state, _ = steps.train(state, batch, None)
    assert len(found) == 1, found
    after = RunProgress(position=(step + 1, 0))
    checkpointer.save(state, after)
    checkpointer.close()
    whole = jax.jit(lambda tree: tree, out_shardings=steps.partitioner.replicated)(
        state
    )
    return [np.asarray(leaf.addressable_data(0)) for leaf in jax.tree.leaves(whole)]


def by_processes(place, saved, run, folder):
    """Everything here, by several processes; what is found goes to `folder`."""
    place.join()
    host_files._PIECE = 1000  # so that files are sent in several
    folder = pathlib.Path(folder)
    disk, part = folder / f"disk-{place.rank}", (place.rank, place.count)
    _reference(saved, disk, part, folder)
    _mended_and_refused(saved, disk, place.rank)
    _value(saved, disk, part, folder)
    _samples(disk, part[0], folder)
    rows = len(FIRST["rewards"]) // place.count
    leaves = go_on(run, slice(place.rank * rows, (place.rank + 1) * rows))
    np.savez(folder / f"state-{place.rank}.npz", *leaves)


def _reference(saved, disk, part, folder):
    # Each process its own rows; then a model over all, so that each holds all rows.
    for data, wanted in ((4, part), (1, (0, 1))):
        mesh = MeshConfig(data=data, model=4 // data)
        asked.clear()
        reference = reference_of(saved, disk / str(data), mesh=mesh)
        reference.table(OwnRows())
        assert reference.num_forwards == 6 and asked == {wanted}, asked
        found = reference.table(OwnRows()).attach(FIRST)["reference_logprobs"]
        assert reference.num_forwards == 6
        np.save(folder / f"logprobs-{data}-{part[0]}.npy", found)


def _mended_and_refused(saved, disk, rank):
    cache = disk / "tokens"
    reference = reference_of(saved, cache, objective=ALoLSeq())
    wanted = reference.table(OwnRows()).attach(FIRST)["reference_token_logprobs"]
    (path,) = cache.rglob("tokens.f32")
    if rank == 1:
        path.write_bytes(bytes(path.stat().st_size))
    found = reference.table(OwnRows()).attach(FIRST)["reference_token_logprobs"]
    np.testing.assert_array_equal(found, wanted)
    assert reference.num_forwards == 6
    for held_out, checkpoint, told in (
        (ArrayDataset(seed=rank), saved, "from seed 0 → 48"),
        (
            None,
            disk.parent / "other_policy" if rank else saved,
            "INITIAL_CHECKPOINT_PATH: ",
        ),
    ):
        try:
            check_same_data(RunData(ArrayDataset(), held_out), {}, str(checkpoint))
        except DataError as error:
            assert "process 1" in str(error) and told in str(error), error
        else:
            raise AssertionError("processes that read other data went on")
    # One process's folder holds something else: all refuse it, and say whose it is.
    (key,) = cache.rglob("key.json")
    if rank == 1:
        key.write_text(json.dumps({"reference parameters": "others"}))
    try:
        reference.table(OwnRows())
    except CheckpointError as error:
        assert "reference parameters: others" in str(error), error
        assert ("process 1" in str(error)) == (rank == 0), error
    else:
        raise AssertionError("a folder of something else was taken")


def _value(saved, disk, part, folder):
    asked.clear()
    value = value_of(saved, disk / "value")
    report = value.fit(OwnPrompts())
    values = value.values(OwnPrompts(**vars(OTHERS)))
    assert asked == {part}, asked
    # They are on the first one's disk alone.
    assert bool(list((disk / "value").rglob("*.np?"))) == (part[0] == 0)
    again = value_of(saved, disk / "value")
    assert again.fit(OwnPrompts()) == report
    np.testing.assert_array_equal(again.values(OwnPrompts(**vars(OTHERS))), values)
    assert again.num_forwards == 0 and len(list((disk / "value").rglob("*.np?"))) == 2
    np.save(folder / f"values-{part[0]}.npy", values)


def samples_of(disk):
    """What the reference answers to a few prompts, and the split of these."""
    # Imports TensorFlow, which what is anchored alone does without.
    from dro_jax.data.dataset import DatasetConfig
    from dro_jax.data.sources import JsonlSource
    from dro_jax.data.tasks import register_feedback_task

    disk.mkdir(parents=True, exist_ok=True)
    path = disk / "questions.jsonl"
    lines = [f'{{"prompt": "q{n}", "response": "a", "reward": {n}}}' for n in range(7)]
    path.write_text("\n".join(lines))
    task = register_feedback_task(
        "asked_by_processes",
        JsonlSource({"train": str(path)}),
        vocabulary="byte",
        reward_fn=lambda prompt, response: float(len(response)),
    )
    data = DatasetConfig(task.name, {"inputs": 8, "targets": 5}, batch_size=8)
    network = dataclasses.replace(small.NETWORK, vocab_size=259)
    model = FeedbackModel(network=network, objective=ANCHORED)
    example, key = next(data.batches()), jax.random.key(0)
    steps = MeshSteps(model, optax.sgd(0.1), FOUR.build(), example, key=key)
    samples = SamplesOfReference(
        model,
        lambda: steps.start(None, jax.random.key(1)).params,
        steps,
        ReferenceSamples(DecodingConfig(num_samples=2), batch_size=4),
        fingerprint="f00d",
        folder=disk / "samples",
    )
    return samples, data


def _samples(disk, rank, folder):
    samples, data = samples_of(disk)
    prompts = data.prompt_records().prompts
    found = samples.of(data).of(prompts)
    np.testing.assert_array_equal(samples.of(data).of(prompts), found)
    assert samples.num_sampled == found.size == 14
    # The first one alone scores and keeps them; to the others their rewards are sent.
    kept = {path.name for path in disk.rglob("samples/*/*")}
    assert ("samples.jsonl" in kept) == (rank == 0) and "rewards.npy" in kept, kept
    np.save(folder / f"samples-{rank}.npy", found)
