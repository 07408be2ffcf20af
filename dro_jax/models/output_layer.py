"""The output layer and the log-probabilities of its tokens, a chunk of logits at a time.

Two ways through the chunks, one formula (:mod:`dro_jax.models.logprobs`) in both:

* :func:`token_logprobs` cuts the responses into chunks of positions. Its backward pass
  computes each chunk's logits anew, unless there is but one: four matrix products where
  the dense way has three.
* :func:`token_logprobs_with_gradient` cuts the batch into chunks of whole rows, for
  losses that are sums over rows. Each chunk's loss, and so its gradient, is known as
  soon as its log-probabilities are: three matrix products, like the dense way.

The gradient formed in the forward pass is the idea of fused linear losses, for example
https://arxiv.org/abs/2410.10989; the second cut, along the gradient's own rows, keeps
the partial products small too.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dro_jax.models import logprobs

CHUNK_BYTES = 32 << 20
_SLICE_BYTES = 32 << 20
RowLoss = Callable[[jax.Array, Any], jax.Array]


def token_logprobs(
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """log π(y_t | x, y_<t) of each target token, and its logits' logsumexp.

    Args:
      hidden: ``[B, T, D]`` the decoder's final states, scaled as the layer asks.
      kernel: ``[D, V]`` the output layer.
      targets: ``[B, T]`` int32.
      chunk_bytes: the most bytes that a chunk of float32 logits takes on a device.
      dtype: of the logits, and of what is multiplied for them and for their gradients;
        products and log-probabilities are summed in float32.

    Returns:
      Two ``[B, T]`` float32 arrays, nats.
    """
    rows, length = targets.shape
    fits = chunk_bytes // (4 * kernel.shape[1] * max(rows // data_parallelism(), 1))
    chunks = _fewest_chunks(length, fits)
    return _by_position(chunks, dtype, hidden.astype(jnp.float32), kernel, targets)


def token_logprobs_with_gradient(
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    row_loss: RowLoss,
    rows: Any,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """The same log-probabilities, and a number that carries a loss's gradient.

    Args:
      hidden: ``[B, T, D]``.
      kernel: ``[D, V]``.
      targets: ``[B, T]`` int32.
      row_loss: ``(token log-probs [b, T], rows) -> scalar``, for any b rows of the
        batch, their losses added up.
      rows: a tree of arrays ``[B, ...]``, what `row_loss` reads beside; no gradient
        flows into them.
      chunk_bytes, dtype: as in :func:`token_logprobs`.

    Returns:
      The log-probabilities ``[B, T]``, without gradient; and a scalar that is 0 and
      whose gradient for `hidden` and `kernel` is that of ``row_loss``.
    """
    count, length = targets.shape
    devices = data_parallelism()
    fits = chunk_bytes // (4 * kernel.shape[1] * length)
    # A chunk takes rows from every device, so that all of them work on each.
    chunks = _fewest_chunks(count // devices if count % devices == 0 else 1, fits)
    return _by_row(
        row_loss, chunks, dtype, hidden.astype(jnp.float32), kernel, (targets, rows)
    )


def data_parallelism() -> int:
    """Over how many devices the mesh in force spreads a batch; 1 without a mesh."""
    return jax.sharding.get_abstract_mesh().shape.get("data", 1)


def _fewest_chunks(size: int, at_most: int) -> int:
    """The smallest divisor of `size` whose parts have at most `at_most` items, or 1."""
    return next(
        count
        for count in range(1, size + 1)
        if size % count == 0 and (size // count <= at_most or count == size)
    )


# ---------------------------------------------------------------- chunks of positions


def _scan_positions(chunks, body, init, *arrays):
    """Scans over chunks of axis 1 of ``[B, T, ...]`` arrays; outputs as ``[B, T, ...]``."""

    def split(x):
        parts = x.reshape(x.shape[0], chunks, x.shape[1] // chunks, *x.shape[2:])
        return jnp.moveaxis(parts, 1, 0)

    def join(x):
        x = jnp.moveaxis(x, 0, 1)
        return x.reshape(x.shape[0], -1, *x.shape[3:])

    carry, outputs = jax.lax.scan(body, init, jax.tree.map(split, arrays))
    return carry, jax.tree.map(join, outputs)


def _product(hidden, kernel):
    """In the kernel's dtype, the sums of products in float32."""
    # As one matrix product: XLA's CPU backend is slower with more axes.
    rows = hidden.astype(kernel.dtype).reshape(-1, hidden.shape[-1])
    return (rows @ kernel).reshape(*hidden.shape[:-1], kernel.shape[-1])


def _position_forward(chunks, dtype, hidden, kernel, targets):
    kernel = kernel.astype(dtype)

    def body(_, part):
        hidden, targets = part
        return None, logprobs.logprobs_and_normalizers(
            _product(hidden, kernel), targets
        )

    return _scan_positions(chunks, body, None, hidden, targets)[1]


def _position_vjp_forward(chunks, dtype, hidden, kernel, targets):
    as_computed = kernel.astype(dtype)

    def body(_, part):
        hidden, targets = part
        logits = _product(hidden, as_computed)
        # A single chunk is as much as the backward pass would make anew: keep it.
        kept = logits if chunks == 1 else None
        return None, (logprobs.logprobs_and_normalizers(logits, targets), kept)

    outputs, logits = _scan_positions(chunks, body, None, hidden, targets)[1]
    return outputs, (hidden, kernel, targets, outputs[1], logits)


def _position_vjp_backward(chunks, dtype, residuals, cotangents):
    hidden, kernel, targets, normalizers, logits = residuals
    as_computed = kernel.astype(dtype)

    def body(kernel_gradient, part):
        hidden, targets, normalizers, logits, on_logprobs, on_normalizers = part
        if logits is None:
            logits = _product(hidden, as_computed)
        d_logits = logprobs.logits_cotangent(
            logits, targets, normalizers, on_logprobs, on_normalizers
        )
        on_hidden = _product(d_logits, as_computed.T).astype(jnp.float32)
        return _add_product(kernel_gradient, hidden, d_logits, dtype), on_hidden

    kernel_gradient, hidden_gradient = _scan_positions(
        chunks,
        body,
        jnp.zeros_like(kernel),
        hidden,
        targets,
        normalizers,
        logits,
        *cotangents,
    )
    return hidden_gradient, kernel_gradient, None


# By hand: of a scan that JAX differentiates every chunk's logits are kept for the
# backward pass, which is the memory that the chunks are to save.
_by_position = jax.custom_vjp(_position_forward, nondiff_argnums=(0, 1))
_by_position.defvjp(_position_vjp_forward, _position_vjp_backward)


# --------------------------------------------------------------------- chunks of rows


def _scan_rows(chunks, body, init, arrays):
    """Scans over chunks of axis 0, each of rows from all over it; outputs likewise."""

    def split(x):
        return jnp.swapaxes(x.reshape(x.shape[0] // chunks, chunks, *x.shape[1:]), 0, 1)

    def join(x):
        return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])

    carry, outputs = jax.lax.scan(body, init, jax.tree.map(split, arrays))
    return carry, jax.tree.map(join, outputs)


def _row_forward(row_loss, chunks, dtype, hidden, kernel, batch):
    kernel = kernel.astype(dtype)

    # Nobody differentiates this call, so no chunk's loss is needed.
    def body(_, part):
        hidden, (targets, _) = part
        return None, logprobs.token_logprobs(_product(hidden, kernel), targets)

    values = _scan_rows(chunks, body, None, (hidden, batch))[1]
    return values, jnp.float32(0)


def _row_vjp_forward(row_loss, chunks, dtype, hidden, kernel, batch):
    as_computed = kernel.astype(dtype)

    def body(kernel_gradient, part):
        hidden, (targets, rows) = part
        logits = _product(hidden, as_computed)
        values, normalizers = logprobs.logprobs_and_normalizers(logits, targets)
        on_logprobs = jax.grad(row_loss)(values, rows)
        d_logits = logprobs.logits_cotangent(logits, targets, normalizers, on_logprobs)
        on_hidden = _product(d_logits, as_computed.T).astype(jnp.float32)
        return (
            _add_product(kernel_gradient, hidden, d_logits, dtype),
            (values, on_hidden),
        )

    kernel_gradient, (values, hidden_gradient) = _scan_rows(
        chunks, body, jnp.zeros_like(kernel), (hidden, batch)
    )
    return (values, jnp.float32(0)), (hidden_gradient, kernel_gradient)


def _row_vjp_backward(row_loss, chunks, dtype, gradients, cotangents):
    # The gradient was formed on the way forward. What is differentiated is 0 and enters
    # sums alone, so that its cotangent is a factor. That of the log-probabilities,
    # which are given out as numbers, is dropped.
    hidden_gradient, kernel_gradient = gradients
    scale = cotangents[1]
    return hidden_gradient * scale, kernel_gradient * scale, None


_by_row = jax.custom_vjp(_row_forward, nondiff_argnums=(0, 1, 2))
_by_row.defvjp(_row_vjp_forward, _row_vjp_backward)


def _add_product(total, hidden, d_logits, dtype):
    """``total + hiddenᵀ · d_logits`` over all leading axes, for a ``[D, V]`` total."""
    hidden = hidden.astype(dtype).reshape(-1, hidden.shape[-1])
    d_logits = d_logits.astype(dtype).reshape(-1, d_logits.shape[-1])
    product = functools.partial(jnp.matmul, preferred_element_type=total.dtype)
    slices = 1
    # On a mesh each device's part is small already, and slices would cut across shards.
    if jax.sharding.get_abstract_mesh().size <= 1:
        slices = _fewest_chunks(len(total), _SLICE_BYTES // (4 * total.shape[1]))
    if slices == 1:
        return total + product(hidden.T, d_logits)
    parts = hidden.T.reshape(slices, -1, hidden.shape[0])
    height = parts.shape[1]

    def add(index, total):
        old = jax.lax.dynamic_slice_in_dim(total, index * height, height)
        new = old + product(parts[index], d_logits)
        return jax.lax.dynamic_update_slice_in_dim(total, new, index * height, 0)

    return jax.lax.fori_loop(0, slices, add, total)
