"""Records drawn by weight: the leftover alike, or in proportion."""

import dataclasses
import json

import numpy as np
import pytest
import seqio
from array_data import assert_same_batches

from dro_jax.data import scratch
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.draws import Draws, WeightedOrder
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import feedback_task, register_feedback_task
from dro_jax.errors import ConfigError, DataError

WEIGHTS = np.array([0.0, 1.0, 3.0, 0.0, 0.0, 4.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("draws") / "logs.jsonl"
    lines = [{"prompt": f"{i}", "response": f"r{i}", "reward": i} for i in range(8)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    register_feedback_task(
        "drawn_logs", JsonlSource({"train": path}), vocabulary="byte"
    )
    return DatasetConfig("drawn_logs", {"inputs": 4, "targets": 4}, batch_size=2)


def indices(batches):
    return np.concatenate([batch["record_ids"][:, 0, 1] for batch in batches])


def some(config, count, start=(0, 0)):
    stream = config.batches(start=start)
    return [next(stream) for _ in range(count)]


def test_without_replacement_an_epoch_holds_each_that_is_left_once(config):
    found = indices(some(config.drawn(WEIGHTS, with_replacement=False), 3))
    assert sorted(found[:3]) == sorted(found[3:]) == [1, 2, 5]


def test_with_replacement_counts_follow_the_weights(config):
    drawn = config.drawn(WEIGHTS, with_replacement=True)
    counts = np.bincount(indices(some(drawn, 2000)), minlength=8)
    np.testing.assert_allclose(counts / 4000, WEIGHTS / 8, atol=0.03)
    assert counts[WEIGHTS == 0].sum() == 0


@pytest.mark.parametrize("with_replacement", [False, True])
@pytest.mark.parametrize("pack", [False, True])
def test_reading_goes_on_behind_any_batch(config, with_replacement, pack):
    settings = {"packing_window": 8} if pack else {}
    packed = dataclasses.replace(config, pack=pack, **settings)
    drawn = packed.drawn(WEIGHTS, with_replacement=with_replacement)
    first = some(drawn, 8)
    start = tuple(first[2]["next_position"].tolist())
    assert_same_batches(some(drawn, 5, start), first[3:])


def test_a_task_of_which_nothing_is_drawn_is_left_out(config):
    other = "drawn_logs_twin"
    if other not in seqio.TaskRegistry.names():
        source = feedback_task("drawn_logs").source
        register_feedback_task(other, source.recipe.source, vocabulary="byte")
        seqio.MixtureRegistry.add("both_drawn", ["drawn_logs", other], default_rate=1)
    both = dataclasses.replace(config, mixture_or_task_name="both_drawn")
    weights = np.concatenate([WEIGHTS, np.zeros(8)])
    found = some(both.drawn(weights, with_replacement=False), 6)
    assert sorted(set(indices(found))) == [1, 2, 5]
    assert len({int(batch["record_ids"][0, 0, 0]) for batch in found}) == 1


def test_one_pass_reads_all_records(config):
    drawn = config.drawn(WEIGHTS, with_replacement=True)
    batches = list(drawn.one_pass(pack=True).batches())
    assert sum(batch["trajectory_weights"].sum() for batch in batches) == 8


def test_nothing_to_draw_is_an_error():
    with pytest.raises(DataError, match="none of the 3 records has a positive weight"):
        Draws(np.zeros(3), with_replacement=True)


def test_groups_and_counted_epochs_are_refused(config):
    for settings in ({"group_size": 2}, {"num_epochs": 1}):
        with pytest.raises(ConfigError, match="cannot be grouped"):
            dataclasses.replace(config, **settings).drawn(
                WEIGHTS, with_replacement=True
            )


def test_draws_are_even_independent_and_found_at_once():
    weights = np.random.default_rng(0).exponential(size=50)
    order = WeightedOrder(Draws(weights, with_replacement=True), seed=1)
    found = order.places(10**9, 200_000)
    mean = 200_000 * weights / weights.sum()
    chi2 = np.sum((np.bincount(found, minlength=50) - mean) ** 2 / mean)
    assert abs(chi2 - 49) < 5 * np.sqrt(2 * 49)
    pairs = np.bincount(found[:-1] * 50 + found[1:], minlength=2500).reshape(50, 50)
    mean = np.outer(mean, mean) / 200_000
    assert abs(np.sum((pairs - mean) ** 2 / mean) - 2499) < 5 * np.sqrt(2 * 2499)
    assert order.places(10**9 + 7, 5).tolist() == found[7:12].tolist()
    other = WeightedOrder(Draws(weights, with_replacement=True), seed=2)
    assert np.mean(other.places(10**9, 200_000) == found) < 0.1


def test_tables_of_many_records_are_those_of_few(monkeypatch):
    rng = np.random.default_rng(0)
    weights = np.where(rng.random(1000) < 0.3, 0, rng.random(1000)).astype(np.float32)
    weights[-100:] = 0
    chunks = scratch.chunks
    monkeypatch.setattr(scratch, "chunks", lambda size: chunks(size, 64))
    draws = Draws(weights, with_replacement=False)
    assert draws.positions.tolist() == np.flatnonzero(weights > 0).tolist()
    assert draws.counts([300, 700]) == [
        int((weights[:300] > 0).sum()),
        int((weights[300:] > 0).sum()),
    ]
    sums = np.cumsum(weights, dtype=np.float64)
    np.testing.assert_allclose(draws.cumulative, sums, rtol=1e-12)
    assert (weights[WeightedOrder(draws, 0).places(0, 20_000)] > 0).all()
