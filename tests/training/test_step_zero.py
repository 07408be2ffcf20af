"""The first step's ℓ: rounding is let pass and told from a wrong reference."""

import dataclasses

import jax
import numpy as np
import pytest
import small
from training_runs import DATA, run

from dro_jax import metrics
from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import TrainingError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.output_layer import token_logprobs
from dro_jax.objectives import UNA
from dro_jax.training import step_zero
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.step_zero import StepZeroCheck, allowed_per_root_token

BFLOAT16 = dataclasses.replace(small.NETWORK, vocab_size=256, dtype="bfloat16")


def packed_data():
    return DatasetConfig(
        "support_desk",
        {"inputs": 40, "targets": 40},
        split="validation",
        module="dro_jax.tasks.support_desk.task",
        pack=True,
        packing_window=64,
    )


@pytest.fixture(scope="module")
def packed_reference(tmp_path_factory):
    """A reference of a bfloat16 network, trained on packed rows."""
    folder = tmp_path_factory.mktemp("packed")
    run(folder, steps=20, network=BFLOAT16, train_dataset_cfg=packed_data())
    return {
        "network": BFLOAT16,
        "train_dataset_cfg": packed_data(),
        "initial_checkpoint_path": str(folder),
        "reference_cache_dir": str(folder / "cache"),
    }


def test_bfloat16_packing_and_a_cache_train_together(tmp_path, packed_reference):
    run(tmp_path, UNA(), steps=2, log_period=1, **packed_reference)
    first = read_metrics(tmp_path)[0]
    # Another order of packing, other rounding.
    assert 0 < first["logratio/largest"]
    allowed = allowed_per_root_token("bfloat16")
    assert first["logratio/largest_per_root_token"] < 0.2 * allowed


def test_rounding_above_one_s_own_tolerance_is_called_so(tmp_path, packed_reference):
    with pytest.raises(
        TrainingError, match="rounding, not a wrong reference"
    ) as caught:
        run(tmp_path, UNA(), step_zero_tolerance=1e-9, **packed_reference)
    message = str(caught.value)
    for named in ("step_zero_tolerance is 1e-09", "FLOAT32_RESIDUAL"):
        assert named in message
    assert not list(tmp_path.glob("checkpoint_*"))


def test_a_cache_of_something_else_is_called_so(tmp_path, reference_dir):
    settings = {
        "initial_checkpoint_path": str(reference_dir),
        "reference_cache_dir": str(tmp_path / "cache"),
    }
    run(tmp_path / "first", UNA(), steps=1, **settings)
    (path,) = (tmp_path / "cache").rglob("logprobs.npy")
    np.save(path, np.load(path) + np.float32(0.5))
    with pytest.raises(TrainingError, match="cache does not hold .* up to 0.5 nats"):
        run(tmp_path / "second", UNA(), steps=1, **settings)


LARGE = {
    "kl": metrics.Mean(np.float32(-2.0), np.float32(4.0)),
    "logratio/mean_square": metrics.Mean(np.float32(1.0), np.float32(4.0)),
    "logratio/largest": metrics.Largest(np.float32(0.75)),
    "logratio/largest_per_root_token": metrics.Largest(np.float32(0.1)),
}


def check(tolerance=None, *, in_rows=0.0, cache=None, network=small.NETWORK):
    model = FeedbackModel(network=network, objective=UNA())
    cache_error = None if cache is None else lambda: cache
    StepZeroCheck(
        model, tolerance, lambda batch: np.full((2, 1), in_rows), cache_error
    )(LARGE, {})


@pytest.mark.parametrize(
    ("figures", "cause"),
    [
        ({"in_rows": -0.8}, "reference is not the policy .* differ by up to 0.8 nats"),
        ({"in_rows": float("nan")}, "reference is not the policy"),
        ({"cache": 0.8}, "(?s)cache does not hold .*REFERENCE_CACHE_DIR"),
        ({"in_rows": 1e-6, "cache": 1e-6}, "rounding, not a wrong reference"),
        ({"in_rows": 1e-6}, "rounding, .*step_zero_tolerance = 1.5"),
    ],
)
def test_the_message_tells_what_it_is(figures, cause):
    with pytest.raises(TrainingError, match=cause) as caught:
        check(**figures)
    message = str(caught.value)
    assert "reaches 0.75 nats" in message
    assert "mean 0.5, root mean square 0.5" in message
    assert "0.1 for each root of a response token, where 0.0001 is allowed" in message


def test_tolerances():
    check(0.75)  # one's own is of a response
    with pytest.raises(TrainingError, match="step_zero_tolerance is 0.7"):
        check(0.7)
    check(network=BFLOAT16)
    check(network=dataclasses.replace(small.NETWORK, logits_dtype="bfloat16"))
    with pytest.raises(TrainingError, match="set DROPOUT_RATE = 0"):
        check(network=dataclasses.replace(small.NETWORK, dropout_rate=0.1))


def test_logits_of_few_bits_go_either_way():
    """Where states differ by float32's rounding, a logit's rounding may differ."""
    states = jax.random.normal(jax.random.key(0), (256, 4, 64))
    kernel = jax.random.normal(jax.random.key(1), (64, 64)) / 8
    targets = jax.random.randint(jax.random.key(2), (256, 4), 0, 64)

    def largest(dtype):
        of = lambda states: token_logprobs(states, kernel, targets, dtype=dtype)[0]
        return np.abs((of(states) - of(states * (1 + 1e-6))).sum(axis=1)).max() / 2

    assert largest("float32") < allowed_per_root_token("float32")
    found = largest("bfloat16")
    assert allowed_per_root_token("float32") < found
    assert found < allowed_per_root_token("float32", "bfloat16")


def test_float32_is_trusted_where_it_is_multiplied_in_float32(monkeypatch):
    assert allowed_per_root_token("float32") < 0.01
    monkeypatch.setattr(step_zero.jax, "default_backend", lambda: "tpu")
    assert allowed_per_root_token("float32") == allowed_per_root_token("bfloat16")


def test_only_the_first_call_is_looked_at():
    seen = []
    step = step_zero.checked(
        lambda state, batch: (state + 1, {}), lambda *given: seen.append(given)
    )
    assert step(0, DATA) == (1, {})
    assert step(1, None) == (2, {})
    assert seen == [({}, DATA)]


def test_a_skipped_step_is_no_step_to_look_at():
    """With ON_NON_FINITE = 'skip' its metrics are all 0, which says nothing of ℓ."""
    looked = []
    step = step_zero.checked(
        lambda state, batch: (state, {"skipped_steps": metrics.Sum(np.float32(batch))}),
        lambda _, batch: looked.append(batch),
    )
    for skipped in (1, 1, 0, 0):
        step(None, skipped)
    assert looked == [0]
