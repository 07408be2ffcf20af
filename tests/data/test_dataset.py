"""Batches: content, order, resume, the last one, and settings that are refused."""

import dataclasses
import itertools
import re
import sys

import numpy as np
import pytest
import seqio
from array_data import assert_same_batches

from dro_jax.data.converter import FeedbackFeatureConverter
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.feedback_source import fingerprint
from dro_jax.data.store import preparation
from dro_jax.errors import ConfigError, DataError

LENGTHS = {"inputs": 6, "targets": 4}


def _config(task, **changes):
    settings = {"batch_size": 4, "seed": 3, **changes}
    return DatasetConfig(task.name, LENGTHS, **settings)


def _take(config, count, start=(0, 0)):
    return list(itertools.islice(config.batches(start), count))


def _record_indices(batches):
    return np.concatenate([batch["record_ids"][:, 0, 1] for batch in batches])


def _rows(batch):
    return [
        {name: rows[i] for name, rows in batch.items()}
        for i in range(len(batch["rewards"]))
    ]


def test_a_batch(register):
    rows = [
        {"prompt": "abcdefgh", "response": "ab", "reward": 0.5},
        {"prompt": "a", "response": "abcdefgh", "reward": -2},
    ]
    task = register(rows)
    (batch,) = _config(task, batch_size=2, shuffle=False, num_epochs=1).batches()
    expected = {
        "encoder_input_tokens": [[103, 104, 105, 106, 107, 1], [100, 1, 0, 0, 0, 0]],
        "decoder_input_tokens": [[0, 100, 101, 1], [0, 100, 101, 102]],
        "decoder_target_tokens": [[100, 101, 1, 0], [100, 101, 102, 103]],
        "decoder_loss_weights": [[1, 1, 1, 0], [1, 1, 1, 1]],
        "rewards": [[0.5], [-2.0]],
        "trajectory_weights": [[1.0], [1.0]],
        "record_ids": [[[fingerprint(task.name), 0]], [[fingerprint(task.name), 1]]],
        "truncated": [[1], [2]],
        "next_position": [2, 0],
    }
    assert batch.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(batch[name], values, err_msg=name)
        dtypes = dict.fromkeys(("rewards", "trajectory_weights"), np.float32)
        dtypes["next_position"] = np.int64
        assert batch[name].dtype == dtypes.get(name, np.int32)


def test_same_seed_same_batches_other_seed_others(register, trajectories):
    task = register(trajectories(10))
    assert_same_batches(_take(_config(task), 9), _take(_config(task), 9))
    other = _record_indices(_take(_config(task, seed=4), 9))
    assert other.tolist() != _record_indices(_take(_config(task), 9)).tolist()


def test_for_ever_means_whole_epochs_and_full_batches_across_their_ends(
    register, trajectories
):
    task = register(trajectories(10))
    batches = _take(_config(task), 10)
    epochs = _record_indices(batches).reshape(4, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert all(batch["trajectory_weights"].all() for batch in batches)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_epochs", [None, 3])
def test_resuming_gives_exactly_the_rest(register, trajectories, shuffle, num_epochs):
    task = register(trajectories(10))
    config = _config(task, shuffle=shuffle, num_epochs=num_epochs)
    whole = _take(config, 8)
    for k in (1, 4, 7):
        start = whole[k - 1]["next_position"]
        assert start.tolist() == [min(4 * k, 30 if num_epochs else 99), 0]
        assert_same_batches(_take(config, 8 - k, start), whole[k:])
        # Rows of unpacked batches are records.
        assert_same_batches(_take(config, 8 - k, (4 * k - 3, 3)), whole[k:])


def test_resuming_a_mixture(register, trajectories, mixture):
    one, two = register(trajectories(10)), register(trajectories(6, start=50))
    mixed = mixture("made_mixture", [(one.name, 2.0), (two.name, 1.0)])
    whole = _take(_config(mixed), 12)
    for k in (1, 5, 11):
        start = whole[k - 1]["next_position"]
        assert_same_batches(_take(_config(mixed), 12 - k, start), whole[k:])
    tasks = {int(name) for batch in whole for name in batch["record_ids"][:, 0, 0]}
    assert tasks == {fingerprint(one.name), fingerprint(two.name)}


def test_one_pass_of_a_mixture_holds_each_record_once(register, trajectories, mixture):
    one, two = register(trajectories(5)), register(trajectories(6))
    mixed = mixture("made_mixture", [(one.name, 100.0), (two.name, 1.0)])
    config = _config(mixed)
    batches = list(config.one_pass().batches())
    ids = np.concatenate(
        [b["record_ids"][b["trajectory_weights"] > 0] for b in batches]
    )
    wanted = {
        (fingerprint(t.name), i) for t, n in ((one, 5), (two, 6)) for i in range(n)
    }
    assert len(ids) == len(wanted) == config.num_records()
    assert set(map(tuple, ids.tolist())) == wanted


def test_last_batch_of_a_finite_pass_is_filled_up_with_nothing(register, trajectories):
    task = register(trajectories(10))
    *_, last = _config(task, num_epochs=1, shuffle=False).batches()
    assert last["trajectory_weights"].tolist() == [[1], [1], [0], [0]]
    assert last.pop("next_position").tolist() == [10, 0]
    for name, values in last.items():
        assert len(values) == 4
        assert not values[2:].any(), name
    assert last["rewards"][:2, 0].tolist() == [8 / 8, 9 / 8]


def test_starting_behind_the_end_gives_nothing(register, trajectories):
    config = _config(register(trajectories(10)), num_epochs=1)
    assert len(_take(config, 5, start=(8, 0))) == 1
    assert _take(config, 5, start=(10, 0)) == []
    assert _take(config, 5, start=(12, 0)) == []


def test_it_is_the_same_as_through_seqio(register, sentencepiece_model):
    rows = [
        {"prompt": "the cat sat " * i, "response": "a dog ran " * (7 - i), "reward": i}
        for i in range(1, 7)
    ]
    for vocabulary in ("byte", sentencepiece_model):
        task = register(rows, vocabulary=vocabulary)
        lengths = {"inputs": 20, "targets": 15}
        config = DatasetConfig(task.name, lengths, batch_size=3).one_pass()
        for pack in (False, True):
            batches = list(dataclasses.replace(config, pack=pack).batches())
            for batch in batches:
                del batch["next_position"]
            through_seqio = seqio.get_dataset(
                task.name, lengths, FeedbackFeatureConverter(pack=pack), shuffle=False
            )
            # The last batch of the data set, unlike seqio's, is filled up.
            every = itertools.chain.from_iterable(map(_rows, batches))
            present = [row for row in every if row["trajectory_weights"].any()]
            assert_same_batches(present, list(through_seqio.as_numpy_iterator()))


def test_shuffling_reaches_over_the_whole_split(register, trajectories):
    # Sorted logs: the first tenth of an epoch must not come from one corner.
    task = register(trajectories(2000))
    (batch,) = _take(_config(task, batch_size=200), 1)
    indices = _record_indices([batch])
    assert indices.min() < 100
    assert indices.max() > 1900


def test_record_ids_name_their_records(register, trajectories, mixture):
    one, two = register(trajectories(3)), register(trajectories(4))
    mixed = mixture("made_mixture", [(one.name, 1.0), (two.name, 1.0)])
    config = _config(mixed).one_pass()
    names = [name for batch in config.batches() for name in config.identities(batch)]
    assert [name.split("/")[-1] for name in names] == [
        *(f"{one.name}-train.jsonl line {n}" for n in (1, 2, 3)),
        *(f"{two.name}-train.jsonl line {n}" for n in (1, 2, 3, 4)),
    ]
    with pytest.raises(DataError, match="belongs to no task of 'made_mixture'"):
        config.identity([5, 0])


def test_errors_come_before_the_first_batch(register):
    task = register([{"prompt": "p", "response": "", "reward": 1}])
    with pytest.raises(DataError, match="line 1: the response is empty"):
        _config(task).batches()


def test_unknown_name_gives_near_ones_and_says_what_to_import(register):
    register([], name="made_support_desk")
    with pytest.raises(
        ConfigError,
        match=r"'made_suport_desk'.*made_support_desk.*DatasetConfig\.module",
    ):
        DatasetConfig("made_suport_desk", LENGTHS).batches()


def test_modules_are_imported_first(register, trajectories, tmp_path, monkeypatch):
    for name in ("made_module_a", "made_module_b"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    config = _config(register(trajectories(2)), module=" made_module_a, made_module_b")
    next(config.batches())
    assert {"made_module_a", "made_module_b"} <= sys.modules.keys()
    next(dataclasses.replace(config, module=["made_module_a"]).batches())
    with pytest.raises(ConfigError, match="'made_module_c'.*cannot be found"):
        dataclasses.replace(config, module="made_module_c").batches()


def test_an_import_that_fails_inside_a_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "made_broken.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        DatasetConfig("any", LENGTHS, module="made_broken").batches()


def test_unknown_split(register, trajectories):
    with pytest.raises(DataError, match="no split 'test': its splits are train"):
        _config(register(trajectories(2)), split="test").batches()


def test_tasks_of_a_mixture_must_be_alike(register, trajectories, mixture):
    plain = register(trajectories(2))
    for settings, message in (
        ({"vocabulary": seqio.ByteVocabulary(extra_ids=3)}, "different vocabularies"),
        ({"prompt_truncation": "right"}, "different sides"),
    ):
        other = register(trajectories(2), **settings)
        mixed = mixture(f"made_{other.name}", [(plain.name, 1.0), (other.name, 1.0)])
        with pytest.raises(ConfigError, match=message):
            _config(mixed).batches()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task_feature_lengths": {"inputs": 4}}, "lacks 'targets'"),
        ({"task_feature_lengths": {"targets": 4}}, "lacks 'inputs'"),
        (
            {"task_feature_lengths": {**LENGTHS, "rewards": 1}},
            "unknown entry 'rewards'",
        ),
        ({"task_feature_lengths": {**LENGTHS, "inputs": 0}}, r"\['inputs'\] = 0"),
        ({"task_feature_lengths": {**LENGTHS, "inputs": 2.5}}, r"\['inputs'\] = 2\.5"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"num_epochs": -1}, "num_epochs = -1"),
        ({"packing_window": 100}, r"packing_window = 100 has no effect.*pack = True"),
        ({"max_trajectories_per_row": 4}, r"row = 4 has no effect.*pack = True"),
        ({"pack": True, "packing_window": 0}, r"Config\.packing_window = 0 must be"),
        ({"pack": True, "max_trajectories_per_row": True}, "row = True must be"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DatasetConfig(
            **{
                "mixture_or_task_name": "any",
                "task_feature_lengths": LENGTHS,
                **settings,
            }
        )


def test_configurations_are_dictionary_keys():
    one = DatasetConfig("any", {"inputs": 6, "targets": 4})
    other = DatasetConfig("any", {"targets": 4, "inputs": 6})
    assert {one: 1}[other] == 1
    assert one != one.one_pass()


def test_fingerprints_name_what_log_probabilities_depend_on(register, trajectories):
    config = _config(register(trajectories(3)))
    same = dataclasses.replace(config, batch_size=9, seed=8, pack=True)
    assert config.fingerprint() == same.fingerprint()
    shorter = {"inputs": 6, "targets": 3}
    other = dataclasses.replace(config, task_feature_lengths=shorter).fingerprint()
    differing = {k for k, v in config.fingerprint().items() if other[k] != v}
    assert differing == {"task feature lengths"}
    assert config.name == config.fingerprint()["task"]


def test_use_cached_asks_for_splits_that_are_prepared(register):
    task = register([{"prompt": "p", "response": "r", "reward": 1.0}])
    data = dataclasses.replace(
        _config(task, batch_size=1), use_cached=True, module="json"
    )
    command = f"`dro-jax tasks prepare {task.name} --split=train --module=json`"
    for read in (
        data.batches,
        data.facts,
        lambda: task.get_dataset(None, "train", use_cached=True),
        lambda: seqio.get_mixture_or_task(task.name).get_dataset(use_cached=True),
    ):
        with pytest.raises(ConfigError, match="is not prepared: run `dro-jax tasks"):
            read()
    with pytest.raises(ConfigError, match=re.escape(command)):
        next(data.batches())
    preparation.prepare(task, "train")
    assert next(data.batches())["rewards"].tolist() == [[1.0]]
    (example,) = task.get_dataset(None, "train", use_cached=True).as_numpy_iterator()
    assert example["reward"] == [1.0]
