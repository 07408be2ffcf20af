"""Packed batches hold just what unpacked ones hold, and are resumed exactly."""

import dataclasses
import itertools

import numpy as np
import pytest
from array_data import assert_same_batches

from dro_jax.data.batching import fill_up
from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError

LENGTHS = {"inputs": 24, "targets": 16}
WINDOW = 20


@pytest.fixture
def records():
    """Texts of all lengths, some too long, with rewards that need every bit."""

    def make(count, seed=0):
        rng = np.random.default_rng(seed)
        return [
            {
                "prompt": "p" * (1 + int(rng.exponential(8))),
                "response": "".join(
                    rng.choice(list("abc"), 1 + int(rng.exponential(5)))
                ),
                "reward": float(np.float32(rng.normal())),
            }
            for _ in range(count)
        ]

    return make


def _config(task, **changes):
    settings = {
        "batch_size": 4,
        "seed": 3,
        "pack": True,
        "packing_window": WINDOW,
        "max_trajectories_per_row": 5,
        **changes,
    }
    return DatasetConfig(task.name, LENGTHS, **settings)


def _take(config, count, start=(0, 0)):
    return list(itertools.islice(config.batches(start), count))


def _segments(batch, row, slot):
    """The trajectory in a place of a packed row, as one row without padding."""
    encoder = batch["encoder_segment_ids"][row] == slot + 1
    decoder = batch["decoder_segment_ids"][row] == slot + 1
    for side, tokens in (("encoder", encoder), ("decoder", decoder)):
        positions = batch[f"{side}_positions"][row][tokens]
        assert positions.tolist() == list(range(tokens.sum()))
        # One run of neighbours.
        assert np.diff(np.flatnonzero(tokens)).max(initial=1) == 1
    return {
        "encoder_input_tokens": batch["encoder_input_tokens"][row][encoder],
        **{
            name: batch[name][row][decoder]
            for name in (
                "decoder_input_tokens",
                "decoder_target_tokens",
                "decoder_loss_weights",
            )
        },
    }


def _unpacked_tokens(batch, row):
    prompt = batch["encoder_input_tokens"][row]
    count = int(batch["decoder_loss_weights"][row].sum())
    names = ("decoder_input_tokens", "decoder_target_tokens", "decoder_loss_weights")
    return {
        "encoder_input_tokens": prompt[prompt != 0],
        **{name: batch[name][row][:count] for name in names},
    }


def _trajectories(batches):
    """By record id: tokens as lists, and the other fields as they are in memory."""
    found = []
    for batch in batches:
        for row, slot in np.argwhere(batch["trajectory_weights"] > 0):
            packed = "encoder_segment_ids" in batch
            tokens = (
                _segments(batch, row, slot) if packed else _unpacked_tokens(batch, row)
            )
            fields = ("rewards", "truncated", "record_ids", "trajectory_weights")
            found.append(
                (
                    tuple(batch["record_ids"][row, slot].tolist()),
                    {name: x.tolist() for name, x in tokens.items()},
                    {name: batch[name][row, slot].tobytes() for name in fields},
                )
            )
    return sorted(found, key=lambda trajectory: trajectory[0])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("count", [1, 3 * WINDOW, 67])
def test_they_hold_what_unpacked_batches_hold(register, records, shuffle, count):
    task = register(records(count))
    packed = _config(task, num_epochs=1, shuffle=shuffle)
    plain = DatasetConfig(task.name, LENGTHS, batch_size=4, num_epochs=1)
    batches = list(packed.batches())
    unpacked = _trajectories(plain.batches())
    assert _trajectories(batches) == unpacked
    assert len(unpacked) == count
    if count > 1:
        assert any(trajectory[2]["truncated"] != bytes(4) for trajectory in unpacked)
        assert len(batches) < count / 4 / 1.5


def test_shapes_padding_and_empty_places(register, records):
    task = register(records(67))
    batches = list(_config(task, num_epochs=1).batches())
    for batch in batches:
        shapes = {name: (values.shape, values.dtype) for name, values in batch.items()}
        assert shapes == {
            **{
                f"encoder_{name}": ((4, 24), np.int32)
                for name in ("input_tokens", "segment_ids", "positions")
            },
            **{
                f"decoder_{name}": ((4, 16), np.int32)
                for name in ("input_tokens", "target_tokens", "loss_weights")
                + ("segment_ids", "positions")
            },
            "rewards": ((4, 5), np.float32),
            "trajectory_weights": ((4, 5), np.float32),
            "truncated": ((4, 5), np.int32),
            "record_ids": ((4, 5, 2), np.int32),
            "next_position": ((2,), np.int64),
        }
        empty = batch["trajectory_weights"] == 0
        for name in ("rewards", "truncated", "record_ids"):
            assert not batch[name][empty].any(), name
        for side, tokens in (("encoder", "input"), ("decoder", "target")):
            padding = batch[f"{side}_segment_ids"] == 0
            for name in (f"{side}_{tokens}_tokens", f"{side}_positions"):
                assert not batch[name][padding].any(), name
            assert batch[f"{side}_{tokens}_tokens"][~padding].all()


def test_the_last_batch_is_filled_up_with_nothing(register, records):
    config = _config(register(records(67)), batch_size=60, num_epochs=1)
    (batch,) = config.batches()
    present = batch["trajectory_weights"].any(1)
    rows = present.sum()
    assert 67 / 5 < rows < 60
    assert present[:rows].all()
    position = batch.pop("next_position")
    assert position.tolist() == [80, 0]
    for name, values in batch.items():
        assert len(values) == 60
        assert not values[rows:].any(), name


def test_decoder_inputs_are_shifted_within_each_trajectory(register):
    rows = [{"prompt": "a", "response": text, "reward": 1} for text in ("ab", "c")]
    task = register(rows)
    (batch,) = _config(task, batch_size=1, num_epochs=1, shuffle=False).batches()
    # Bytes count from 3, so that 'a' is 100; 1 is the end of a text.
    assert batch["decoder_target_tokens"][0, :6].tolist() == [100, 101, 1, 102, 1, 0]
    assert batch["decoder_input_tokens"][0, :6].tolist() == [0, 100, 101, 0, 102, 0]


def test_rows_come_by_their_first_records_window_after_window(register, records):
    task = register(records(67))
    first, later = [], []
    for batch in _config(task, num_epochs=1, shuffle=False).batches():
        indices = batch["record_ids"][..., 1]
        present = batch["trajectory_weights"] > 0
        windows = np.where(present, indices // WINDOW, -1)
        assert ((windows == windows[:, :1]) | ~present).all()
        first += indices[:, 0][present[:, 0]].tolist()
        later += indices[:, 1:][present[:, 1:]].tolist()
    assert first == sorted(first)
    assert sorted(first + later) == list(range(67))


def test_epochs_without_end_are_whole_and_windows_reach_over_their_ends(
    register, records
):
    # 67 records in windows of 20: 20 epochs are 67 windows.
    task = register(records(67))
    indices, record = [], 0
    for batch in _config(task, batch_size=1).batches():
        if record >= 20 * 67:
            break
        indices += batch["record_ids"][
            0, batch["trajectory_weights"][0] > 0, 1
        ].tolist()
        record = int(batch["next_position"][0])
    assert len(indices) == 20 * 67
    assert np.bincount(indices).tolist() == [20] * 67
    plain = DatasetConfig(task.name, LENGTHS, batch_size=WINDOW, seed=3)
    for window, batch in enumerate(itertools.islice(plain.batches(), 67)):
        drawn = indices[window * WINDOW : (window + 1) * WINDOW]
        assert sorted(drawn) == sorted(batch["record_ids"][:, 0, 1].tolist())


@pytest.mark.parametrize("num_epochs", [None, 3])
def test_resuming_gives_exactly_the_rest(register, records, num_epochs):
    config = _config(register(records(67)), num_epochs=num_epochs)
    whole = _take(config, 12)
    rows_left_out = set()
    for k in (1, 3, 11):
        start = whole[k - 1]["next_position"]
        record, row = start.tolist()
        assert record % WINDOW == 0
        rows_left_out.add(row)
        assert_same_batches(_take(config, 12 - k, (record, row)), whole[k:])
    assert rows_left_out - {0}
    # And from a resumed run once more.
    again = _take(config, 1, whole[2]["next_position"])[0]["next_position"]
    assert_same_batches(_take(config, 3, again), whole[4:7])


def test_resuming_a_mixture(register, records, mixture):
    one, two = register(records(30)), register(records(23, seed=1))
    mixed = mixture("made_packed_mixture", [(one.name, 2.0), (two.name, 1.0)])
    config = _config(mixed)
    whole = _take(config, 9)
    for k in (1, 4, 8):
        start = whole[k - 1]["next_position"]
        assert_same_batches(_take(config, 9 - k, start), whole[k:])


def test_after_the_last_batch_nothing_follows(register, records):
    config = _config(register(records(67)), num_epochs=1)
    *_, last = config.batches()
    assert last["next_position"].tolist() == [80, 0]
    assert list(config.batches(last["next_position"])) == []


def test_another_packing_makes_other_rows_and_positions(register, records):
    config = _config(register(records(67)))
    (batch,) = _take(config, 1)
    other = dataclasses.replace(config, packing_window=30)
    assert not np.array_equal(_take(other, 1)[0]["record_ids"], batch["record_ids"])
    for start in ((20, 1), (7, 0)):
        with pytest.raises(
            ConfigError, match="not the start of a window of 30 records"
        ):
            other.batches(start)


def test_filling_up_leaves_the_position_alone(register, records):
    (batch,) = _take(_config(register(records(67))), 1)
    filled = fill_up(batch, 6)
    assert filled["rewards"].shape == (6, 5)
    assert not filled["encoder_input_tokens"][4:].any()
    assert filled["next_position"].tolist() == batch["next_position"].tolist()


def test_by_default_what_the_real_data_asks_for():
    config = DatasetConfig("any", LENGTHS, pack=True)
    packing = config.packing
    assert (packing.inputs, packing.targets) == (24, 16)
    assert (packing.max_trajectories, packing.window) == (16, 2048)
    assert DatasetConfig("any", LENGTHS).packing is None
