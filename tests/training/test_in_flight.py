"""A host waits for the step before the one that it sends."""

import jax
import numpy as np
import optax
import pytest
import small
from array_data import ArrayDataset

from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training.in_flight import InFlight
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.sharding import MeshConfig


@pytest.fixture
def waited(monkeypatch):
    """What was waited for, in its order."""
    found, wait = [], jax.block_until_ready
    monkeypatch.setattr(
        jax, "block_until_ready", lambda tree: found.append(tree) or wait(tree)
    )
    return found


@pytest.mark.parametrize("most", [1, 3])
def test_the_oldest_are_waited_for(waited, most):
    in_flight = InFlight(most)
    steps = [{"loss": np.float32(number)} for number in range(6)]
    for number, step in enumerate(steps):
        assert in_flight.sent(step) is step
        assert waited == steps[: max(0, number + 1 - most)]


def test_training_and_evaluation_stay_one_step_ahead(waited):
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    first = next(ArrayDataset().batches())
    mesh = MeshConfig(data=1).build()
    steps = MeshSteps(model, optax.sgd(0.1), mesh, first, key=jax.random.key(0))
    state = steps.start(None, jax.random.key(1))
    sent = []
    for _ in range(3):
        state, metrics = steps.train(state, first, None)
        sent.append(metrics)
    sent += [steps.evaluate(state.params, first, None) for _ in range(3)]
    assert [id(x) for x in waited] == [id(x) for x in sent[:-1]]
