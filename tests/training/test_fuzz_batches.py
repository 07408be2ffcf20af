"""Malformed batches: found or skipped, and never in the parameters."""

import jax
import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import TrainingError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROV
from dro_jax.training import optimizers, schedules
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.non_finite import SKIPPED, NonFiniteGuard
from dro_jax.training.sharding import MeshConfig

NUM_BATCHES = 300
BAD_NUMBERS = [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e25, 1e-42]
BAD_IDS = [-1, 40, 10**6, -(2**31), 2**31 - 1]


def good_batch(rng):
    batch = next(ArrayDataset(seed=int(rng.integers(100))).batches())
    reference = rng.normal(-14, 1, batch["rewards"].shape)
    return batch | {"reference_logprobs": reference.astype(np.float32)}


def malformed(rng):
    """A batch with one thing wrong, and what."""
    batch = {name: x.copy() for name, x in good_batch(rng).items()}
    kind = rng.choice(
        [
            "rewards",
            "reference_logprobs",
            "trajectory_weights",
            "ids",
            "empty",
            "absent",
        ]
    )
    row = rng.integers(8)
    if kind in batch:
        batch[kind][row] = rng.choice(BAD_NUMBERS)
    elif kind == "ids":
        name = rng.choice(
            ["encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens"]
        )
        batch[name][row, rng.integers(4)] = rng.choice(BAD_IDS)
    elif kind == "empty":
        for name in ("decoder_target_tokens", "decoder_loss_weights"):
            batch[name][row] = 0
        if rng.random() < 0.5:
            batch["encoder_input_tokens"][row] = 0
    else:
        batch["trajectory_weights"][:] = 0
    return batch, kind


@pytest.fixture(scope="module")
def skipping():
    config = optimizers.OptimizerConfig(
        optimizers.adamw(), schedules.learning_rate_schedule(learning_rate=1e-3)
    )
    return MeshSteps(
        FeedbackModel(network=small.NETWORK, objective=DROV()),
        config.build(),
        MeshConfig(data=1).build(),
        good_batch(np.random.default_rng(0)),
        key=jax.random.key(0),
        on_non_finite="skip",
    )


def test_no_malformed_batch_reaches_the_parameters(skipping):
    rng = np.random.default_rng(1)
    state = skipping.start(None, jax.random.key(1))
    skipped = {}
    for _ in range(NUM_BATCHES):
        batch, kind = malformed(rng)
        before = state.params["value"]["head"]["kernel"].copy()
        state, metrics = skipping.train(state, batch, None)
        after = state.params["value"]["head"]["kernel"]
        left_out = bool(metrics[SKIPPED].compute())
        skipped.setdefault(kind, set()).add(left_out)
        assert not left_out or np.array_equal(before, after)
        norm = metrics["grad_norm"].compute()
        assert left_out or np.isfinite(norm), (kind, norm)
    assert int(state.step) == NUM_BATCHES
    assert all(np.isfinite(leaf).all() for leaf in small.leaves(state))
    assert skipped["rewards"] == {True, False}  # 1e-42 is a number like others
    assert skipped["empty"] == {False}


def test_the_guard_finds_the_batch_that_was_not_finite(skipping, tmp_path):
    rng = np.random.default_rng(2)
    guard = NonFiniteGuard(tmp_path, lambda batch: [f"row {i}" for i in range(8)])
    state = skipping.start(None, jax.random.key(1))
    batch = good_batch(rng)
    batch["rewards"][3] = np.nan
    for number, given in enumerate([good_batch(rng), batch, good_batch(rng)]):
        state, metrics = skipping.train(state, given, None)
        if number == 1:
            metrics["loss"] = metrics["loss"].of(given["rewards"], given["rewards"])
        metrics.pop(SKIPPED)
        if number < 2:
            guard.watch(number, metrics, given)
    with pytest.raises(TrainingError, match="loss is nan in the step from 1 to 2"):
        guard.check()
    assert '"row 3"' in (tmp_path / "non_finite_step_1.json").read_text()
