"""The data that T5X is given: the built-in trainer's batches, resumed exactly."""

import dataclasses
import itertools
import json
import types

import numpy as np
import pytest
import small
import stored
from array_data import assert_same_batches
from flax.traverse_util import flatten_dict

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import CheckpointError, ConfigError, DataError, TrainingError
from dro_jax.interop import formats
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import (
    DROP,
    KTO,
    NLL,
    QRPO,
    RPO,
    ALoLRefFree,
    Losses,
    Objective,
)
from dro_jax.t5x_runtime.data import (
    AT_START,
    ReferenceData,
    get_dataset,
    get_eval_datasets,
)
from dro_jax.training.before.value_of_reference import ValueFitConfig
from dro_jax.training.mesh_steps import device_fields
from dro_jax.training.sharding import MeshConfig

TASK, MODULE = "support_desk", "dro_jax.tasks.support_desk.task"
BIG = dataclasses.replace(small.NETWORK, vocab_size=256)
DROPPING = dataclasses.replace(BIG, dropout_rate=0.1)
NO_REFERENCE = ReferenceData(FeedbackModel(network=BIG, objective=NLL()))


def t5x_config(**changes):
    """The fields of T5X's utils.DatasetConfig."""
    settings = {
        "mixture_or_task_name": TASK,
        "task_feature_lengths": {"inputs": 18, "targets": 24},
        "split": "train",
        "batch_size": 8,
        "shuffle": True,
        "seed": 3,
        "use_cached": False,
        "pack": False,
        "use_custom_packing_ops": False,
        "module": MODULE,
    }
    return types.SimpleNamespace(**(settings | changes))


def open_data(shard=0, num_shards=1, **changes):
    return get_dataset(t5x_config(**changes), shard, num_shards, None, reference=NO_REFERENCE)


def built_in(count, **changes):
    settings = {"module": MODULE, "seed": 3, **changes}
    config = DatasetConfig(TASK, {"inputs": 18, "targets": 24}, **settings)
    return [device_fields(b) for b in itertools.islice(config.batches(), count)]


@pytest.mark.parametrize("pack", [False, True])
def test_they_are_the_built_in_trainers_batches(pack):
    given = itertools.islice(open_data(pack=pack), 5)
    assert_same_batches(list(given), built_in(5, pack=pack))


@pytest.mark.parametrize("pack", [False, True])
def test_a_saved_position_goes_on(tmp_path, pack):
    whole = built_in(6, pack=pack)
    first = open_data(pack=pack)
    assert_same_batches([next(first) for _ in range(3)], whole[:3])
    first.save(tmp_path / "train_ds")
    second = open_data(pack=pack)
    next(second)
    second.restore(tmp_path / "train_ds")
    assert_same_batches([next(second) for _ in range(3)], whole[3:])
    second.reset()
    assert_same_batches([next(second)], whole[:1])


def test_a_checkpoint_without_a_position_is_refused(tmp_path):
    data = open_data()
    with pytest.raises(CheckpointError, match="no data position"):
        data.restore(tmp_path / "dataset" / "train_ds-000-of-001")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / AT_START).touch()
    data.restore(tmp_path / "dataset" / "train_ds-000-of-001")
    data.restore(tmp_path / "dataset" / "process_1-of-2" / "train_ds-001-of-002")
    assert_same_batches([next(data)], built_in(1))


def test_hosts_feed_their_rows():
    whole = next(open_data())
    parts = [next(open_data(shard, 2)) for shard in range(2)]
    for name, rows in whole.items():
        together = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(together, rows)


def test_the_spec_is_that_of_a_batch():
    data = open_data(pack=True)
    spec = data.element_spec
    batch = next(data)
    assert {name: (x.dtype, x.shape) for name, x in batch.items()} == {
        name: (s.dtype, s.shape) for name, s in spec.items()
    }


def test_held_out_data_are_the_same_whenever_they_are_read():
    held_out = get_eval_datasets(
        t5x_config(split="validation", shuffle=False), 0, 1, 2, None, reference=NO_REFERENCE
    )
    assert list(held_out) == [TASK]
    twice = [list(held_out[TASK]) for _ in range(2)]
    assert_same_batches(*twice)
    assert_same_batches(twice[0], built_in(2, split="validation", shuffle=False))


def test_a_short_split_is_read_once():
    held_out = get_eval_datasets(
        t5x_config(split="validation", shuffle=False), 0, 1, 10_000, None, reference=NO_REFERENCE
    )[TASK]
    weights = [batch["trajectory_weights"] for batch in held_out]
    config = DatasetConfig(TASK, {"inputs": 9, "targets": 9}, "validation")
    assert np.sum(weights) == config.num_records()


def test_cached_reference_logprobs_are_in_the_batch(tmp_path, reference_of):
    model = FeedbackModel(network=BIG, objective=DROP())
    reference = ReferenceData(model, path=reference_of(BIG), model_dir=str(tmp_path))
    config = t5x_config(split="validation", shuffle=False)
    data = get_dataset(config, 0, 1, None, reference=reference)
    batch = next(data)
    assert data.element_spec["reference_logprobs"].shape == (8, 1)
    own = {n: x for n, x in batch.items() if n != "reference_logprobs"}
    np.testing.assert_allclose(
        batch["reference_logprobs"],
        model.logprobs(small.read_params(reference_of(BIG)), own),
        atol=1e-4,
    )
    assert (tmp_path / "reference_cache").is_dir()
    frozen = dataclasses.replace(reference, mode="frozen_copy")
    assert "reference_logprobs" not in next(
        get_dataset(config, 0, 1, None, reference=frozen)
    )


def test_balanced_classes_are_refused_with_their_numbers(reference_of):
    model = FeedbackModel(network=BIG, objective=KTO())
    reference = ReferenceData(model, path=reference_of(BIG))
    with pytest.raises(ConfigError, match=r"set CLASS_WEIGHTS = \(1\.?\d*, 1\.?\d*\)"):
        get_dataset(t5x_config(), 0, 1, None, reference=reference)


def test_an_objective_may_be_no_dataclass():
    class Plain(Objective):
        def __call__(self, trajectories):
            return Losses(policy=-trajectories.policy_logprobs)

    reference = ReferenceData(FeedbackModel(network=BIG, objective=Plain()))
    data = get_dataset(t5x_config(), 0, 1, None, reference=reference)
    assert_same_batches([next(data)], built_in(1))


def test_an_unknown_sampling_is_refused():
    with pytest.raises(ConfigError, match="'often' .SAMPLING. is unknown"):
        dataclasses.replace(NO_REFERENCE, sampling="often")


def test_advantages_are_in_the_batch_and_the_leftover_alone_is_drawn(
    tmp_path, reference_of
):
    model = FeedbackModel(network=BIG, objective=ALoLRefFree())
    reference = ReferenceData(
        model,
        path=reference_of(BIG),
        model_dir=str(tmp_path),
        value_fit=ValueFitConfig(num_heads=2, num_epochs=1),
    )
    config = t5x_config(split="validation", shuffle=False)
    trained = next(get_dataset(config, 0, 1, None, reference=reference))
    assert np.all(trained["advantages"] > 0)
    (held_out,) = get_eval_datasets(
        config, 0, 1, 10, None, reference=reference
    ).values()
    advantages = np.concatenate([batch["advantages"] for batch in held_out])
    assert np.any(advantages < 0)
    # The same fit serves an evaluation of another split.
    other = t5x_config(split="train", shuffle=False)
    next(iter(get_eval_datasets(other, 0, 1, 1, None, reference=reference)[TASK]))
    with pytest.raises(ConfigError, match="ALoLRefFree .* INITIAL_CHECKPOINT_PATH"):
        get_dataset(
            config, 0, 1, None, reference=dataclasses.replace(reference, path=None)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_shards": 3}, "BATCH_SIZE"),
        ({"seed": None}, "RANDOM_SEED"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        open_data(**arguments)


def test_use_cached_asks_for_splits_that_are_prepared():
    data = get_dataset(t5x_config(), 0, 1, None, reference=NO_REFERENCE)
    assert_same_batches([next(data)], [next(open_data(use_cached=True))])


def test_a_reference_that_is_nowhere_is_refused():
    model = FeedbackModel(network=BIG, objective=DROP())
    with pytest.raises(ConfigError, match="INITIAL_CHECKPOINT_PATH"):
        get_dataset(t5x_config(), 0, 1, None, reference=ReferenceData(model))
    # A frozen copy is restored by T5X, perhaps from a checkpoint that only it names.
    copied = ReferenceData(model, mode="frozen_copy")
    batch = next(get_dataset(t5x_config(), 0, 1, None, reference=copied))
    assert "reference_logprobs" not in batch


@pytest.mark.parametrize("open_split", [get_dataset, get_eval_datasets])
@pytest.mark.parametrize("objective", [QRPO(), RPO()])
def test_prompts_of_one_response_are_refused_as_by_the_built_in_trainer(
    open_split, objective, reference_of, tmp_path
):
    model = FeedbackModel(network=BIG, objective=objective)
    reference = ReferenceData(model, path=reference_of(BIG), model_dir=str(tmp_path))
    sizes = (0, 1) if open_split is get_dataset else (0, 1, 5)
    with pytest.raises(DataError, match="more than one response, and [A-Z]*RPO needs"):
        open_split(t5x_config(split="validation"), *sizes, None, reference=reference)


def test_a_vocabulary_that_does_not_fit_is_refused_as_by_the_built_in_trainer():
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    data = ReferenceData(model)
    with pytest.raises(ConfigError, match="vocabulary has .* pieces"):
        get_dataset(t5x_config(), 0, 1, None, reference=data)


@pytest.mark.parametrize(
    ("objective", "settings", "message"),
    [
        (NLL(), {"mesh": MeshConfig(data=3)}, "BATCH_SIZE = 8 rows do not divide"),
        (
            DROP(),
            {"model": FeedbackModel(network=DROPPING, objective=DROP())},
            "set DROPOUT_RATE = 0, or allow it by .* data.ReferenceData's",
        ),
        (
            ALoLRefFree(),
            {"value_fit_split": "nowhere"},
            "support_desk has no split 'nowhere', and ALoLRefFree fits the value",
        ),
    ],
    ids=["batch size", "dropout", "split to fit"],
)
def test_what_the_built_in_trainer_refuses_of_settings(
    tmp_path, reference_of, objective, settings, message
):
    model = FeedbackModel(network=BIG, objective=objective)
    given = {"path": reference_of(BIG), "model_dir": str(tmp_path)}
    reference = ReferenceData(**({"model": model} | given | settings))
    with pytest.raises(ConfigError, match=message):
        get_dataset(t5x_config(), 0, 1, None, reference=reference)


def test_a_checkpoint_with_another_tokenizer_is_refused(tmp_path, reference_of):
    policy = flatten_dict(small.read_params(reference_of(BIG)), sep="/")
    formats.write_model(stored.stored_model(policy), tmp_path / "hf", "hf")
    pieces = [[f"piece {i}", 0.0] for i in range(200)]
    tokenizer = {"model": {"vocab": pieces}}
    (tmp_path / "hf" / "tokenizer.json").write_text(json.dumps(tokenizer))
    reference = dataclasses.replace(NO_REFERENCE, path=str(tmp_path / "hf"))
    with pytest.raises(DataError, match="has 'piece 0' at id 0, but the task's"):
        get_dataset(t5x_config(), 0, 1, None, reference=reference)


def test_what_is_not_used_is_said(capsys):
    reference = dataclasses.replace(NO_REFERENCE, mode="cached", cache_dir="/c")
    get_dataset(t5x_config(), 0, 1, None, reference=reference)
    told = capsys.readouterr().err
    assert "note: REFERENCE is not used by NLL, which has no reference\n" in told
    assert "note: REFERENCE_CACHE_DIR is not used by NLL" in told
    nowhere = t5x_config(split="nowhere", shuffle=False)
    assert get_eval_datasets(nowhere, 0, 1, 1, None, reference=NO_REFERENCE) == {}
    told = capsys.readouterr().err
    assert "note: support_desk has no split 'nowhere': nothing is evaluated" in told


def test_a_cache_of_something_else_is_refused_before_the_first_step(
    tmp_path, reference_of
):
    model = FeedbackModel(network=BIG, objective=DROP())
    reference = ReferenceData(model, path=reference_of(BIG), model_dir=str(tmp_path))
    config = t5x_config(split="validation", shuffle=False)
    get_dataset(config, 0, 1, None, reference=reference)
    (path,) = (tmp_path / "reference_cache").rglob("logprobs.npy")
    np.save(path, np.load(path) + np.float32(0.5))
    with pytest.raises(TrainingError, match="cache does not hold .* up to 0.5 nats"):
        get_dataset(config, 0, 1, None, reference=reference)
    allowed = dataclasses.replace(reference, step_zero_tolerance=1.0)
    get_dataset(config, 0, 1, None, reference=allowed)
    # A run that goes on has left its reference.
    (tmp_path / "checkpoint_4").mkdir()
    get_dataset(config, 0, 1, None, reference=reference)


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    first = open_data()
    next(first)
    first.save(tmp_path / "train_ds")
    with pytest.raises(CheckpointError, match="the run began with other data"):
        open_data(split="validation").restore(tmp_path / "train_ds")


def test_a_position_of_an_earlier_version_is_one_of_another_order(tmp_path):
    (tmp_path / "train_ds").write_text('{"position": [8, 0]}')
    with pytest.raises(CheckpointError, match="its records in another order"):
        open_data().restore(tmp_path / "train_ds")
    unshuffled = open_data(shuffle=False)
    unshuffled.restore(tmp_path / "train_ds")
    assert_same_batches([next(unshuffled)], built_in(2, shuffle=False)[1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "frozen"}, "REFERENCE = 'frozen' is unknown"),
        ({"path": "/x", "model_dir": "gs://bucket/run"}, "set REFERENCE_CACHE_DIR"),
    ],
)
def test_references_that_cannot_be_had_are_refused(settings, message):
    model = FeedbackModel(network=BIG, objective=DROP())
    with pytest.raises(ConfigError, match=message):
        get_dataset(t5x_config(), 0, 1, None, reference=ReferenceData(model, **settings))
