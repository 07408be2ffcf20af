"""Hosts read their own rows, and together the global batch."""

import dataclasses
import itertools

import numpy as np
import pytest
from array_data import assert_same_batches

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError

LENGTHS = {"inputs": 24, "targets": 16}
PACKED = {"pack": True, "packing_window": 20, "max_trajectories_per_row": 5}
GROUPED = {"group_size": 3}
WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 0.0] * 20)


class Watched:
    """Records of a split that remember whose tokens were read."""

    def __init__(self, records):
        self._records = records
        self.read = set()

    def __getattr__(self, name):
        return getattr(self._records, name)

    def __len__(self):
        return len(self._records)

    def tokens(self, positions, side):
        self.read |= {(side, self.indices[position]) for position in positions}
        return self._records.tokens(positions, side)

    def texts(self, positions, side):
        raise AssertionError("batches need no texts")


@pytest.fixture
def task(register, monkeypatch):
    """100 records of all lengths, some too long, of 34 prompts, watched."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "prompt": f"{i // 3}" + "p" * int(rng.exponential(8)),
            "response": "r" * (1 + int(rng.exponential(5))),
            "reward": float(rng.normal()),
        }
        for i in range(100)
    ]
    for row, first in zip(rows, (i - i % 3 for i in range(100)), strict=True):
        row["prompt"] = rows[first]["prompt"]
    task = register(rows)
    watched = Watched(task.records("train"))
    monkeypatch.setattr(task, "records", lambda split="train": watched)
    return task


def config(name, **settings):
    return DatasetConfig(name, LENGTHS, batch_size=8, seed=3, **settings)


def taken(config, count, *arguments):
    return list(itertools.islice(config.batches(*arguments), count))


def together(parts):
    """The batches that the parts of several hosts make, which agree on positions."""
    batches = []
    for own in zip(*parts, strict=True):
        assert len({tuple(part["next_position"]) for part in own}) == 1
        batches.append(
            {
                name: own[0][name]
                if name == "next_position"
                else np.concatenate([part[name] for part in own])
                for name in own[0]
            }
        )
    return batches


def assert_hosts_make_the_batch(config, count=9):
    whole = taken(config, count)
    for first in (0, 1, min(3, len(whole) - 1)):
        start = tuple(whole[first - 1]["next_position"].tolist()) if first else (0, 0)
        for hosts in (1, 2, 4, 8):
            parts = [
                taken(config, count - first, start, (host, hosts))
                for host in range(hosts)
            ]
            assert {len(part[0]["rewards"]) for part in parts} == {8 // hosts}
            assert_same_batches(together(parts), whole[first:])


@pytest.mark.parametrize("num_epochs", [None, 1], ids=["endless", "once"])
@pytest.mark.parametrize(
    "settings",
    [{}, PACKED, GROUPED, {**PACKED, **GROUPED}, {"shuffle": False}],
    ids=["rows", "packed", "grouped", "packed groups", "unshuffled"],
)
def test_their_rows_together_are_the_global_batch(task, settings, num_epochs):
    # An epoch of packed rows is over before nine batches are, in rows that only fill up.
    assert_hosts_make_the_batch(config(task.name, num_epochs=num_epochs, **settings))


@pytest.mark.parametrize("pack", [{}, PACKED], ids=["rows", "packed"])
@pytest.mark.parametrize("with_replacement", [True, False])
def test_also_of_drawn_records(task, pack, with_replacement):
    drawn = config(task.name, **pack).drawn(WEIGHTS, with_replacement=with_replacement)
    assert_hosts_make_the_batch(drawn)


@pytest.mark.parametrize("settings", [{}, PACKED, {**PACKED, **GROUPED}])
def test_also_of_mixtures(register, trajectories, mixture, task, settings):
    other = register(trajectories(30))
    mixed = mixture("made_shared_mixture", [(task.name, 3.0), (other.name, 1.0)])
    assert_hosts_make_the_batch(config(mixed.name, **settings))


@pytest.mark.parametrize(
    "settings", [{}, PACKED, GROUPED], ids=["rows", "packed", "grouped"]
)
def test_tokens_of_other_hosts_records_are_not_read(task, settings):
    data = config(task.name, num_epochs=1, **settings)
    watched, seen = task.records(), []
    for host in range(4):
        watched.read.clear()
        batches = list(data.batches((0, 0), (host, 4)))
        own = {
            int(index)
            for batch in batches
            for index in batch["record_ids"][batch["trajectory_weights"] > 0][:, 1]
        }
        targets = {index for side, index in watched.read if side == "targets"}
        assert targets == own
        assert {index for side, index in watched.read if side == "inputs"} <= own
        seen += own
    assert sorted(seen) == list(range(100))


def test_nothing_is_read_before_a_batch_is_asked_for_and_little_after(task):
    watched = task.records()
    batches = config(task.name, **PACKED).batches()
    assert watched.read == set()
    next(batches)
    # One window of 20 is read, one waits, one is in the making; rows of one are left.
    assert 8 <= len({index for _, index in watched.read}) <= 4 * 20
    batches.close()


def test_parts_must_be_alike(task):
    data = dataclasses.replace(config(task.name), batch_size=6)
    with pytest.raises(
        ConfigError, match=r"batch of 6 rows \(BATCH_SIZE\).* 4 groups of hosts"
    ):
        data.batches((0, 0), (1, 4))
