"""Log-probabilities in chunks against all logits at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dro_jax.models import logprobs, output_layer
from dro_jax.training.sharding import MeshConfig

B, T, D, V = 6, 8, 12, 50
CHUNKS = [
    1,  # the smallest chunks that there are
    2 * V * 4 * 6,  # two positions; less than a row
    2 * V * 4 * T,  # two rows
    1 << 30,  # everything at once
]


@pytest.fixture(scope="module")
def arrays():
    keys = jax.random.split(jax.random.key(0), 4)
    hidden = jax.random.normal(keys[0], (B, T, D))
    kernel = jax.random.normal(keys[1], (D, V))
    targets = jax.random.randint(keys[2], (B, T), 0, V)
    return hidden, kernel, targets, jax.random.normal(keys[3], (B,))


def dense(hidden, kernel, targets):
    logits = jnp.einsum("btd,dv->btv", hidden, kernel)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    normalizers = jax.nn.logsumexp(logits, axis=-1)
    return chosen - normalizers, normalizers


def row_loss(per_token, rewards):
    return jnp.sum(jnp.square(0.1 * jnp.sum(per_token, axis=1) - rewards))


def gradient(function, hidden, kernel):
    return jax.jit(jax.value_and_grad(function, argnums=(0, 1)))(hidden, kernel)


def assert_close(actual, wanted):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1, float(np.abs(b).max())))


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_chunks_of_positions_give_the_dense_numbers(arrays, chunk_bytes):
    hidden, kernel, targets, rewards = arrays

    def loss(function):
        def total(hidden, kernel):
            values, normalizers = function(hidden, kernel, targets)
            return row_loss(values, rewards) + jnp.sum(jnp.sin(normalizers))

        return total

    def chunked(*arguments):
        return output_layer.token_logprobs(*arguments, chunk_bytes=chunk_bytes)

    assert_close(chunked(hidden, kernel, targets), dense(hidden, kernel, targets))
    assert_close(
        gradient(loss(chunked), hidden, kernel), gradient(loss(dense), hidden, kernel)
    )


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize("slice_bytes", [1, 1 << 30])
def test_gradients_formed_in_the_forward_pass_are_the_dense_ones(
    arrays, chunk_bytes, slice_bytes, monkeypatch
):
    monkeypatch.setattr(output_layer, "_SLICE_BYTES", slice_bytes)
    hidden, kernel, targets, rewards = arrays

    def chunked(hidden, kernel):
        values, anchor = output_layer.token_logprobs_with_gradient(
            hidden, kernel, targets, row_loss, rewards, chunk_bytes=chunk_bytes
        )
        return row_loss(jax.lax.stop_gradient(values), rewards) + anchor

    def plain(hidden, kernel):
        return row_loss(dense(hidden, kernel, targets)[0], rewards)

    assert_close(gradient(chunked, hidden, kernel), gradient(plain, hidden, kernel))


@pytest.mark.parametrize("by_row", [False, True])
def test_logits_in_bfloat16(arrays, by_row):
    """Rounded where the type says, and nowhere else; sums are float32."""
    hidden, kernel, targets, rewards = arrays
    chunk = {"chunk_bytes": CHUNKS[1], "dtype": jnp.bfloat16}

    def rounded(x):
        return x.astype(jnp.bfloat16).astype(jnp.float32)

    def chunked(hidden, kernel):
        if not by_row:
            values, _ = output_layer.token_logprobs(hidden, kernel, targets, **chunk)
            return row_loss(values, rewards), values
        values, anchor = output_layer.token_logprobs_with_gradient(
            hidden, kernel, targets, row_loss, rewards, **chunk
        )
        return anchor, values

    (_, values), found = jax.jit(
        jax.value_and_grad(chunked, argnums=(0, 1), has_aux=True)
    )(hidden, kernel)
    logits = rounded(jnp.einsum("btd,dv->btv", rounded(hidden), rounded(kernel)))
    expected, normalizers = logprobs.logprobs_and_normalizers(logits, targets)
    assert values.dtype == jnp.float32
    # A logit at the middle between two numbers may be rounded to either.
    assert np.mean(np.abs(values - expected) > 1e-5) < 0.05
    np.testing.assert_allclose(values, expected, atol=0.04)
    # What docs/performance.md says of a token's error.
    exact = dense(hidden, kernel, targets)[0]
    bound = 2**-7 * float(np.abs(logits).max())
    assert 1e-3 < np.abs(values - exact).max() < bound

    on_logprobs = jax.grad(row_loss)(expected, rewards)
    on_logits = rounded(
        logprobs.logits_cotangent(logits, targets, normalizers, on_logprobs)
    )
    wanted = (
        jnp.einsum("btv,dv->btd", on_logits, rounded(kernel)),
        jnp.einsum("btd,btv->dv", rounded(hidden), on_logits),
    )
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=0.02 * float(np.abs(b).max()))


def test_the_anchor_is_zero_and_scales_its_gradient(arrays):
    hidden, kernel, targets, rewards = arrays

    def anchor(scale):
        def function(hidden, kernel):
            return (
                scale
                * output_layer.token_logprobs_with_gradient(
                    hidden, kernel, targets, row_loss, rewards
                )[1]
            )

        return gradient(function, hidden, kernel)

    (value, once), (_, thrice) = anchor(1.0), anchor(3.0)
    assert float(value) == 0.0
    for a, b in zip(once, thrice, strict=True):
        np.testing.assert_allclose(3 * a, b, rtol=1e-5)
        assert np.abs(a).max() > 0


def test_the_written_gradient_is_that_of_the_formula(arrays):
    hidden, kernel, targets, _ = arrays
    logits = jnp.einsum("btd,dv->btv", hidden, kernel)
    on_logprobs, on_normalizers = jax.random.normal(jax.random.key(5), (2, B, T))
    (_, normalizers), pull = jax.vjp(
        lambda logits: logprobs.logprobs_and_normalizers(logits, targets), logits
    )
    actual = logprobs.logits_cotangent(
        logits, targets, normalizers, on_logprobs, on_normalizers
    )
    np.testing.assert_allclose(
        actual, pull((on_logprobs, on_normalizers))[0], atol=1e-6
    )


def test_every_device_holds_few_logits():
    """The limit is a device's: on a mesh too, chunks are of a row of each."""
    rows = 32
    hidden = jnp.ones((rows, T, D))
    targets = jnp.zeros((rows, T), jnp.int32)

    def loss(hidden, kernel):
        return output_layer.token_logprobs_with_gradient(
            hidden, kernel, targets, row_loss, jnp.zeros(rows), chunk_bytes=4 * V * T
        )[1]

    def lengths_of_scans(**mesh):
        with jax.set_mesh(MeshConfig(**mesh).build().mesh):
            traced = jax.make_jaxpr(jax.grad(loss))(hidden, jnp.ones((D, V)))
        return [e.params["length"] for e in traced.eqns if e.primitive.name == "scan"]

    assert lengths_of_scans(data=1) == [32]
    assert lengths_of_scans(data=4, model=2) == [8]
    assert lengths_of_scans(data=8) == [4]


def test_no_array_holds_all_logits(arrays):
    """XLA's own account at a T5-base size: at most a fifth of the dense memory."""
    rows, length, dim, vocabulary = 16, 128, 768, 32128
    shapes = (
        jax.ShapeDtypeStruct((rows, length, dim), jnp.float32),
        jax.ShapeDtypeStruct((dim, vocabulary), jnp.float32),
    )
    targets = jnp.zeros((rows, length), jnp.int32)
    rewards = jnp.zeros(rows)

    def chunked(hidden, kernel):
        values, anchor = output_layer.token_logprobs_with_gradient(
            hidden, kernel, targets, row_loss, rewards
        )
        return row_loss(jax.lax.stop_gradient(values), rewards) + anchor

    def plain(hidden, kernel):
        return row_loss(dense(hidden, kernel, targets)[0], rewards)

    def temporary(function):
        compiled = (
            jax.jit(jax.value_and_grad(function, (0, 1))).lower(*shapes).compile()
        )
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(chunked) <= temporary(plain) / 5
