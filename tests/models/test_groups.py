"""Responses to one prompt side by side, the prompt encoded once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DPO, DROV, IPO, KTO, NLL, PRO, RPO

GROUPS = small.groups()
PACKED = small.pack_groups([GROUPS[:2], GROUPS[2:]], 3)
APART = small.pack_groups([[group] for group in GROUPS], 3)


def reference_of(batch):
    """A number for each trajectory that does not depend on where it lies."""
    return jnp.where(batch["trajectory_weights"] > 0, -9.0 + batch["rewards"], 0.0)


def with_reference(batch):
    return batch | {"reference_logprobs": reference_of(batch)}


def present(batch, per_trajectory):
    return np.asarray(per_trajectory)[np.asarray(batch["trajectory_weights"]) > 0]


@pytest.mark.parametrize("batch", [PACKED, APART], ids=["packed", "apart"])
def test_log_probabilities_are_those_of_the_trajectories_alone(batch):
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    params = small.init(model, batch)
    alone = small.unpacked([item for group in GROUPS for item in group])
    logprobs = jax.jit(model.logprobs)
    np.testing.assert_allclose(
        present(batch, logprobs(params, batch)),
        logprobs(params, alone)[:, 0],
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "objective", [DPO(0.5), IPO(0.5), PRO()], ids=lambda o: type(o).__name__
)
def test_packing_groups_changes_neither_loss_nor_gradient(objective):
    model = FeedbackModel(network=small.NETWORK, objective=objective)
    params = small.init(model, APART)
    loss = jax.jit(jax.value_and_grad(lambda p, b: model.loss(p, b)[0]))
    wanted = loss(params, with_reference(APART))
    found = loss(params, with_reference(PACKED))
    assert max(np.abs(leaf).max() for leaf in small.leaves(wanted[1])) > 0.01
    for a, b in zip(small.leaves(found), small.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, np.abs(b).max()))


def test_a_pair_has_the_loss_of_its_formula():
    model = FeedbackModel(network=small.NETWORK, objective=DPO(0.5))
    batch = with_reference(small.pack_groups([[GROUPS[1]]], 2))
    params = small.init(model, batch)
    logprobs = jax.jit(model.logprobs)(params, batch)
    ratios = np.asarray(logprobs - batch["reference_logprobs"])[0]
    expected = np.log1p(np.exp(-0.5 * (ratios[0] - ratios[1])))
    loss, _ = jax.jit(model.loss)(params, batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_equal_rewards_make_no_pair():
    model = FeedbackModel(network=small.NETWORK, objective=DPO(0.5))
    batch = with_reference(small.pack_groups([[GROUPS[1]]], 2))
    batch["rewards"] = jnp.ones_like(batch["rewards"])
    params = small.init(model, batch)
    loss, metrics = jax.jit(model.loss)(params, batch)
    assert float(loss) == 0
    assert metrics["pair_rate"].compute() == 0


@pytest.mark.parametrize(
    "value",
    [
        ValueConfig(),
        ValueConfig(readout="encoder_pool"),
        ValueConfig(granularity="token"),
        ValueConfig(network="shared_head", trunk_gradient=True),
        ValueConfig(network="shared_head", readout="encoder_pool"),
        ValueConfig(network="policy_logits", granularity="batch"),
    ],
    ids=lambda value: f"{value.network}-{value.granularity}-{value.readout}",
)
def test_single_trajectories_lose_nothing_by_sharing_their_prompts(value):
    model = FeedbackModel(network=small.NETWORK, objective=DROV(), value=value)
    alone = with_reference(small.unpacked([item for group in GROUPS for item in group]))
    params = small.init(model, alone)

    @jax.jit
    def outcome(params, batch):
        loss = jax.value_and_grad(lambda p: model.loss(p, batch)[0])(params)
        return loss, model.trajectories(params, batch).values

    wanted, expected = outcome(params, alone)
    found, values = outcome(params, with_reference(PACKED))
    assert max(np.abs(leaf).max() for leaf in small.leaves(wanted[1])) > 0.01
    for a, b in zip(small.leaves(found), small.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, np.abs(b).max()))
    if not value.per_token:
        values = present(PACKED, values.reshape(PACKED["rewards"].shape))
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_what_puts_responses_under_others_prompts_takes_no_groups():
    model = FeedbackModel(network=small.NETWORK, objective=KTO())
    batch = with_reference(APART)
    params = small.init(model, batch)
    with pytest.raises(ConfigError, match="GROUP_SIZE. out"):
        jax.jit(model.loss)(params, batch, reference_params=params)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (PRO(), r"PRO needs 'group_weights' .*GROUP_SIZE"),
        (RPO(), "RPO needs 'prompt_values'"),
    ],
)
def test_a_batch_that_lacks_what_is_needed_is_refused(objective, message):
    model = FeedbackModel(network=small.NETWORK, objective=objective)
    batch = with_reference(small.unpacked(GROUPS[0]))
    params = small.init(model, batch)
    with pytest.raises(ConfigError, match=message):
        jax.jit(model.loss)(params, batch)
