"""The kernel against dense attention: results, all gradients, what it never writes."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_policies
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dro_jax.models.attention import MASKED_LOGIT
from dro_jax.models.attention_kernel import kernel_attention, segments
from dro_jax.models.attention_kernel.layout import Layout
from dro_jax.models.layers import skew

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu (libtpu)"
)
NAMES = ("query", "key", "value", "diagonals")
KERNEL = functools.partial(
    kernel_attention, interpret=True, query_block=16, key_block=16
)
# Of rows: packed, one token, whole, with a row of padding alone; in no order.
PACKED = [[1] * 20 + [2] * 13 + [3] * 9 + [0] * 6, [1] + [0] * 47, [1] * 48, [0] * 48]
JUMBLED = [[3] * 9 + [0] * 5 + [1] * 20 + [3] * 14, [2, 1] * 24, [1] * 48, [4] * 48]
KEYS = [[1] * 9 + [2] * 30 + [3] * 21 + [0] * 4, [0] * 3 + [1] * 61, [2] * 64, [1] * 64]


def dense(query, key, value, diagonals, query_ids, key_ids, *, causal):
    """As `attention.Attention` has it, with 0 for queries that attend to nothing."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
    if diagonals is not None:
        logits += skew(diagonals, query.shape[1], key.shape[1])[None]
    mask = (query_ids[:, :, None] == key_ids[:, None]) & (query_ids != 0)[:, :, None]
    if causal:
        mask &= jnp.tri(query.shape[1], key.shape[1], dtype=bool)[None]
    logits = jnp.where(mask[:, None], logits, MASKED_LOGIT)
    weights = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
    out = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
    return jnp.where(mask.any(-1)[:, :, None, None], out, jnp.zeros_like(out))


def arrays(query_ids, key_ids, *, heads=2, dim=8, bias=True, dtype=jnp.float32):
    """Of random numbers: query, key, value, diagonals, ids, and a gradient."""
    keys = jax.random.split(jax.random.key(0), 5)
    ids = [jnp.asarray(ids, jnp.int32) for ids in (query_ids, key_ids)]
    (batch, queries), length = ids[0].shape, ids[1].shape[1]
    shapes = [(batch, size, heads, dim) for size in (queries, length, length, queries)]
    made = [
        jax.random.normal(k, shape, dtype)
        for k, shape in zip(keys, shapes, strict=False)
    ]
    diagonals = jax.random.normal(keys[4], (heads, queries + length - 1))
    return (*made[:3], diagonals if bias else None, *ids), made[3]


@functools.partial(jax.jit, static_argnums=(0, 1))
def with_gradients(attend, causal, inputs, given):
    """The result, and gradients of query, key, value and diagonals."""
    out, pull = jax.vjp(
        lambda *moving: attend(*moving, *inputs[4:], causal=causal), *inputs[:4]
    )
    return out, *pull(given)


def assert_same(found, expected, tolerance):
    for name, a, b in zip(("out", *NAMES), found, expected, strict=True):
        if b is None:
            assert a is None
            continue
        assert a.dtype == b.dtype, name
        a, b = np.float32(a), np.float32(b)
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(
            a, b, atol=tolerance * scale, rtol=0, err_msg=name, equal_nan=False
        )


@pytest.mark.parametrize(
    ("query_ids", "key_ids", "options"),
    [
        pytest.param(PACKED, PACKED, {"causal": False}, id="packed"),
        pytest.param(PACKED, KEYS, {"causal": False, "bias": False}, id="cross"),
        pytest.param(
            JUMBLED, KEYS,
            # As on a TPU: two programs a row, and blocks of 2 by 3 squares of the bias.
            {"causal": True, "heads": 4, "dim": 64, "query_block": 32, "key_block": 48},
            id="no order, Q and K differ, several programs and squares",
        ),
        pytest.param(
            [[1] * 30 + [0] * 7, [1] * 37], [[1] * 21 + [0] * 2, [1] * 23],
            {"causal": False, "heads": 3, "dim": 16}, id="no multiples of a block",
        ),
    ],
)  # fmt: skip
def test_result_and_gradients_are_those_of_dense_attention(query_ids, key_ids, options):
    options = dict(options)
    causal = options.pop("causal")
    blocks = {k: options.pop(k) for k in ("query_block", "key_block") if k in options}
    kernel = functools.partial(KERNEL, **blocks) if blocks else KERNEL
    inputs, given = arrays(query_ids, key_ids, **options)
    found = with_gradients(kernel, causal, inputs, given)
    assert_same(found, with_gradients(dense, causal, inputs, given), 1e-5)


def test_bfloat16_is_as_near_to_float32_as_dense_attention_is():
    inputs, given = arrays(PACKED, PACKED, dtype=jnp.bfloat16)
    exact = jax.tree.map(lambda x: x.astype(jnp.float32), inputs[:4]) + inputs[4:]
    exact = with_gradients(dense, False, exact, given.astype(jnp.float32))
    found = with_gradients(KERNEL, False, inputs, given)
    assert [x.dtype for x in found[:4]] == [jnp.bfloat16] * 4
    assert found[4].dtype == jnp.float32
    assert_same([x.astype(jnp.float32) for x in found], exact, 0.02)

    def error(arrays):
        return [
            float(jnp.abs(a.astype(jnp.float32) - b).mean())
            for a, b in zip(arrays, exact, strict=True)
        ]

    others = error(with_gradients(dense, False, inputs, given))
    for mine, other in zip(error(found), others, strict=True):
        assert mine <= 1.1 * other


@pytest.mark.parametrize(
    ("causal", "of_keys", "expected"),
    [
        (False, False, [(0, 1), (1, 3), (1, 3), None]),
        (True, False, [(0, 1), (1, 2), (1, 3), None]),
        (True, True, [(0, 1), (1, 3), (2, 3), None]),
    ],
)
def test_blocks_that_no_segment_shares_are_skipped(causal, of_keys, expected):
    layout = Layout(1, 2, 8, 64, 64, 16, 16, causal, True, True)
    ids = jnp.asarray([[1] * 14 + [0] * 2 + [2] * 29 + [0] * 19])
    query_ids = segments.apart(ids, 64, nothing=-1)
    key_ids = segments.apart(ids, 64, nothing=-2)
    ranges = segments.meeting_ranges(layout, query_ids, key_ids, of_keys=of_keys)
    found = [(int(a), int(b)) for a, b in zip(*ranges, strict=True)]
    assert [None if a == b else (a, b) for a, b in found] == expected


def test_queries_that_attend_to_nothing_give_zeros_and_no_nan():
    inputs, given = arrays(PACKED, PACKED)
    out, *gradients = with_gradients(KERNEL, False, inputs, given)
    nothing = np.asarray(PACKED) == 0
    assert not np.asarray(out)[nothing].any()
    assert np.asarray(out)[~nothing].any(axis=(1, 2)).all()
    for name, gradient in zip(NAMES, gradients, strict=True):
        assert np.isfinite(gradient).all(), name
    assert not np.asarray(gradients[0])[nothing].any()


def test_under_remat_and_scan_the_gradients_are_the_same():
    inputs, given = arrays(PACKED[:2], PACKED[:2])
    policy = checkpoint_policies.save_only_these_names(
        "attention_out", "attention_log_sums"
    )

    def twice(attend, query, key, value, diagonals, *ids, causal):
        def layer(value, _):
            return attend(query, key, value, diagonals, *ids, causal=causal), None

        return jax.lax.scan(jax.checkpoint(layer, policy=policy), value, None, 2)[0]

    kernel = functools.partial(twice, KERNEL)
    found = with_gradients(kernel, True, inputs, given)
    expected = with_gradients(functools.partial(twice, dense), True, inputs, given)
    assert_same(found, expected, 1e-5)


def test_in_shard_map_the_gradient_of_the_bias_is_summed_over_rows():
    mesh = Mesh(np.asarray(jax.devices()[:8]).reshape(4, 2), ("data", "model"))
    rows, of_ids = P("data", None, "model"), P("data")

    def sharded(*inputs, causal):
        return jax.shard_map(
            functools.partial(KERNEL, causal=causal),
            mesh=mesh,
            in_specs=(rows, rows, rows, P("model"), of_ids, of_ids),
            out_specs=rows,
            check_vma=False,
        )(*inputs)

    inputs, given = arrays(PACKED, PACKED)
    found = with_gradients(sharded, False, inputs, given)
    assert_same(found, with_gradients(dense, False, inputs, given), 1e-5)


@needs_libtpu
@pytest.mark.parametrize("bias", [True, False], ids=["self", "cross"])
def test_compiles_for_tpu_without_an_array_of_pairs(bias):
    from dro_jax.planning.topologies import slice_of

    device = slice_of("v5e:1x1").devices[0]
    placed = NamedSharding(Mesh(np.asarray([device]), ("x",)), P())
    ids = [np.ones((2, 256), np.int32), np.ones((2, 512), np.int32)]
    inputs, given = jax.eval_shape(
        lambda: arrays(*ids, heads=4, dim=64, bias=bias, dtype=jnp.bfloat16)
    )
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed),
        (inputs, given),
    )
    compiled = with_gradients.lower(kernel_attention, bias, *shapes).compile()
    pairs = 2 * 4 * 256 * 512 * 2
    assert compiled.memory_analysis().temp_size_in_bytes < pairs // 2
