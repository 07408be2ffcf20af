import jax
import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import ConfigError, DataError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROP, NLL
from dro_jax.training.reference import Reference, compute_reference_logprobs
from dro_jax.training.train import on_device

DATA = ArrayDataset()


@pytest.fixture(scope="module")
def model():
    return FeedbackModel(network=small.NETWORK, objective=DROP())


@pytest.fixture(scope="module")
def params(model):
    return small.init(model, on_device(next(DATA.batches())))


def test_cached_equals_a_forward_pass_of_each_batch(model, params):
    prepared = Reference(model, params, "cached").prepare(DATA)
    batches = prepared.batches(start_batch=3)
    for index in range(3, 9):
        batch = next(batches)
        expected = jax.jit(model.logprobs)(params, on_device(batch))
        np.testing.assert_allclose(batch["reference_logprobs"], expected, rtol=1e-5)
        ids = batch["record_ids"][:, 0, 1]
        np.testing.assert_array_equal(ids, np.arange(8) + 8 * (index % 6))


def test_frozen_copy_leaves_batches_alone(model, params):
    reference = Reference(model, params, "frozen_copy")
    assert reference.prepare(DATA) is DATA
    assert reference.step_params is not None
    assert Reference(model, params, "cached").step_params is None


def test_an_objective_without_reference_gets_none():
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    reference = Reference(model, None, "frozen_copy")
    assert reference.step_params is None
    assert reference.prepare(DATA) is DATA


def test_padding_rows_get_zero_and_are_not_looked_up(model, params):
    table = compute_reference_logprobs(model, params, DATA.one_pass().batches())
    batch = next(DATA.batches())
    batch["trajectory_weights"][5:] = 0
    batch["record_ids"][5:] = -1
    attached = table.attach(batch)["reference_logprobs"]
    np.testing.assert_array_equal(attached[5:], 0)
    assert np.all(attached[:5] < 0)


def test_a_record_that_is_not_in_the_cache_is_refused(model, params):
    table = compute_reference_logprobs(model, params, DATA.one_pass().batches())
    batch = next(DATA.batches())
    batch["record_ids"][2, 0] = (7, 999)
    with pytest.raises(DataError, match=r"1 records of the batch \(first id \[7, 999\]"):
        table.attach(batch)


def test_an_unknown_mode_is_refused(model, params):
    with pytest.raises(ConfigError, match="reference = 'live' is unknown"):
        Reference(model, params, "live")
