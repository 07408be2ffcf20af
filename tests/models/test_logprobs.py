import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.models import logprobs


def test_equals_a_float64_log_softmax():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 11)) * 30
    targets = rng.integers(0, 11, (2, 3))
    exact = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.take_along_axis(exact, targets[..., None], -1)[..., 0]
    actual = logprobs.token_logprobs(
        jnp.asarray(logits, jnp.float32), jnp.asarray(targets, jnp.int32)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_is_float32_for_bfloat16_logits():
    out = logprobs.token_logprobs(
        jnp.zeros((1, 2, 4), jnp.bfloat16), jnp.zeros((1, 2), jnp.int32)
    )
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, np.log(0.25), rtol=1e-6)


def test_sums_by_segment_leave_padding_out():
    per_token = jnp.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
    weights = jnp.array([[1, 1, 1, 1, 0]], jnp.int32)
    segments = jnp.array([[1, 1, 2, 2, 0]], jnp.int32)
    mask = logprobs.trajectory_mask(weights, segments, 3)
    sums = logprobs.sum_over_tokens(per_token, mask)
    np.testing.assert_array_equal(sums, [[3.0, 12.0, 0.0]])
    unpacked = logprobs.trajectory_mask(weights, None, 1)
    np.testing.assert_array_equal(logprobs.sum_over_tokens(per_token, unpacked), [[15.0]])


def test_padding_gets_no_gradient():
    mask = logprobs.trajectory_mask(jnp.array([[1.0, 0.0]]), None, 1)
    gradient = jax.grad(lambda x: jnp.sum(logprobs.sum_over_tokens(x, mask)))
    np.testing.assert_array_equal(gradient(jnp.ones((1, 2))), [[1.0, 0.0]])
