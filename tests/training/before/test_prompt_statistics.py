"""Statistics of prompts, and numbers of records in batches."""

import numpy as np
import pytest

from dro_jax.data.record_ids import PromptRecords
from dro_jax.errors import DataError
from dro_jax.objectives import RPO, AsymRE
from dro_jax.training.before.prompt_statistics import (
    check_several_responses,
    prompt_value_table,
    quantile_table,
)
from dro_jax.training.before.record_fields import RecordField
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.before.reference_table import ReferenceTable

RECORDS = PromptRecords(
    ids=np.array([(7 << 32) + i for i in range(4)]),
    prompts=np.array([0, 1, 0, 0]),
    rewards=np.array([1.0, 2.0, 0.0, -1.0], np.float32),
)


def batch_of(indices):
    ids = np.array([[[7, index] for index in indices]], np.int32)
    weights = np.ones(ids.shape[:2], np.float32)
    weights[0, -1] = 0
    return {"record_ids": ids, "trajectory_weights": weights}


def reference(order):
    logprobs = np.array([-1.0, -4.0, -2.0, -3.0], np.float32)
    nothing = np.zeros(0, np.int32)
    return ReferenceTable.of(
        ReferenceLogprobs(
            RECORDS.ids.take(np.array(order)),
            logprobs[order],
            nothing,
            nothing.astype(np.float32),
        )
    )


def test_prompt_values_are_those_of_the_formula_whatever_the_cache_s_order():
    table = prompt_value_table(RPO(0.5), RECORDS, reference([2, 0, 3, 1]))
    values = table.attach(batch_of([1, 3, 0, 0]))["prompt_values"][0]
    p = np.exp([-1.0, -2.0, -3.0])
    p /= p.sum()
    expected = 0.5 * np.log(np.sum(p * np.exp(np.array([1.0, 0.0, -1.0]) / 0.5)))
    np.testing.assert_allclose(values, [2.0, expected, expected, 0.0], rtol=1e-5)


def test_prompt_values_of_rewards_alone_need_no_reference():
    table = prompt_value_table(AsymRE(), RECORDS, None)
    values = table.attach(batch_of([1, 3, 0, 0]))["prompt_values"][0]
    np.testing.assert_allclose(values, [2.0, 0.0, 0.0, 0.0], atol=1e-7)


def test_a_cache_of_other_records_is_refused():
    with pytest.raises(DataError, match="lacks 1 of the split's 4 records"):
        prompt_value_table(RPO(0.5), RECORDS, reference([2, 0, 3]))


def test_quantiles_are_ranks_among_a_prompt_s_rewards():
    values = quantile_table(RECORDS).attach(batch_of([0, 1, 2, 3, 0]))["quantiles"]
    np.testing.assert_allclose(values[0], [1.0, 1.0, 2 / 3, 1 / 3, 0.0], rtol=1e-6)


def test_splits_of_single_responses_are_refused():
    single = PromptRecords(RECORDS.ids, np.arange(4), RECORDS.rewards)
    with pytest.raises(DataError, match="none of the 4 prompts of the split 'train'"):
        check_several_responses(single, "QRPO", "train")
    check_several_responses(RECORDS, "QRPO", "train")


def test_a_record_without_an_entry_is_named():
    table = RecordField("advantages", RECORDS.ids, np.zeros(4))
    with pytest.raises(DataError, match=r"'advantages' .*first id \[7, 9\]"):
        table.attach(batch_of([9, 0]))
