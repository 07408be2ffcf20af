"""Figures of rewards, as written beside a run."""

import json

import numpy as np
import pytest

from dro_jax.data.reward_statistics import Histogram, Summary
from dro_jax.errors import DataError

GOOD = {"prompt": "p", "response": "r"}


def _rows(rewards):
    return [{**GOOD, "reward": reward} for reward in rewards]


def test_summary_by_hand():
    summary = Summary.of(np.array([4.0, 0.0, 2.0, 2.0]))
    assert (summary.count, summary.mean, summary.min, summary.max) == (4, 2.0, 0.0, 4.0)
    assert summary.std == pytest.approx(2**0.5)
    assert dict(summary.quantiles)[0.5] == 2.0


def test_statistics_before_and_after_the_transform(register):
    task = register(
        {"train": _rows([0, 2, None]), "validation": _rows([3, 5])},
        name="made_statistics",
        reward_transform="normalize",
        on_bad_record="drop",
    )
    train, validation = task.statistics(), task.statistics("validation")
    assert (train.recorded.mean, train.recorded.std, train.num_dropped) == (1.0, 1.0, 1)
    assert (train.transformed.mean, train.transformed.std) == (0.0, 1.0)
    # Fitted on train: (3 - 1) / 1 and (5 - 1) / 1.
    assert (validation.transformed.min, validation.transformed.max) == (2.0, 4.0)
    values = json.loads(json.dumps(train.to_json(), allow_nan=False))
    assert values["task"] == "made_statistics"
    assert values["split"] == "train"
    assert values["transform"] == "normalize"
    assert values["recorded"]["quantiles"]["0.5"] == 1.0


def test_transform_fitted_on_train_needs_that_split(register):
    task = register({"validation": _rows([1, 2])}, reward_transform="normalize")
    with pytest.raises(DataError, match="fitted on the split 'train'"):
        task.source.rewards("validation")


def test_transform_that_leaves_float32_names_the_record(register):
    rows = {"train": _rows([0, 1e-30]), "validation": _rows([1, 1e30])}
    task = register(rows, reward_transform="normalize")
    with pytest.raises(DataError, match=r"validation\.jsonl line 2: .*into inf"):
        task.source.rewards("validation")


def test_histogram_of_few_values_counts_each():
    histogram = Histogram.of(np.array([1, -1, 1, 1], np.float32))
    assert histogram == Histogram(counts=(1, 3), values=(-1.0, 1.0))


def test_histogram_of_many_values_has_bins_that_hold_all():
    rewards = np.linspace(-1, 1, 1000)
    histogram = Histogram.of(rewards)
    assert sum(histogram.counts) == 1000
    assert (histogram.edges[0], histogram.edges[-1]) == (-1.0, 1.0)
    assert len(histogram.edges) == len(histogram.counts) + 1
