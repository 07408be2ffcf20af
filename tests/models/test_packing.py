"""A trajectory of a packed row does not notice who else is in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DRO, DROV, RGold

MODELS = {
    "separate": (DROV(0.5), ValueConfig()),
    "shared_head": (
        DRO(0.5),
        ValueConfig(network="shared_head", trunk_gradient=True, readout="encoder_pool"),
    ),
    "policy_logits": (DROV(0.5), ValueConfig(network="policy_logits")),
    "token": (DROV(0.5), ValueConfig(granularity="token")),
    "r_gold": (RGold(), None),
}


def rows():
    """One trajectory in the middle of a row: alone, and beside different others."""
    one, *others = small.examples(5, ((5, 4), (3, 6), (6, 2), (4, 4), (2, 3)))
    empty = {
        "prompt": np.zeros(0, np.int32),
        "response": np.zeros(0, np.int32),
        "reward": np.float32(0),
    }
    return [
        [empty, one, empty],
        [others[0], one, others[1]],
        [others[2], one, others[1]],
        [others[3], one, empty],
    ]


@pytest.mark.parametrize("kind", MODELS)
def test_swapping_or_removing_a_neighbour_changes_nothing(kind):
    objective, value = MODELS[kind]
    model = FeedbackModel(network=small.NETWORK, objective=objective, value=value)
    batches = [small.pack([row], input_length=16, target_length=14) for row in rows()]
    params = small.init(model, batches[0])

    @jax.jit
    def look(params, batch):
        reference = jnp.full(batch["rewards"].shape, -17.0)

        def loss(params):
            own = batch | {
                "reference_logprobs": reference,
                "trajectory_weights": jnp.array([[0.0, 1.0, 0.0]]),
            }
            return model.loss(params, own)[0]

        scores = model.score(params, batch)
        numbers = [found[0, 1] for found in scores.values()]
        return numbers, jax.value_and_grad(loss)(params)

    wanted = look(params, batches[0])
    # A loss of probabilities has small gradients where the model is all but uniform.
    least = 0.01 if kind == "r_gold" else 0.1
    assert max(np.abs(leaf).max() for leaf in small.leaves(wanted[1][1])) > least
    for batch in batches[1:]:
        for a, b in zip(
            small.leaves(look(params, batch)), small.leaves(wanted), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, np.abs(b).max()))
