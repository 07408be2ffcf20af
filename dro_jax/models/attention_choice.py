"""Which implementation of attention runs where, and how it is spread over devices."""

import functools
from typing import Literal, get_args

import jax
from flax.linen import partitioning
from jax.sharding import PartitionSpec

from dro_jax.errors import ConfigError
from dro_jax.models.attention_blocks import blocks_attention
from dro_jax.models.attention_mask import AttentionMask

Setting = Literal["auto", "dense", "blocks", "kernel", "interpreted"]
Implementation = Literal["dense", "blocks", "kernel", "interpreted"]
SETTINGS = get_args(Setting)
# 'auto' leaves dense what is shorter, on either side. With as few queries as a head has
# dimensions the matrix is no larger than the keys; a CPU keeps longer ones in its caches.
_LEAST_LENGTH = {"cpu": 512}
_LEAST_LENGTH_OF_OTHERS = 128
# Longer ones do not fit the 16 MiB that the kernel has on these TPUs; before v4 there is
# not the product that it needs.
_MOST_LENGTH_OF_KERNEL = {"TPU v2": 0, "TPU v3": 0, "TPU v4": 512}
# Of 16,384 numbers a row not even the 128 MiB of later TPUs are enough.
_MOST_LENGTH_OF_OTHERS = 8192


def platform() -> str:
    """Of the devices that a program is traced for: `cpu`, `gpu` or `tpu`.

    Those of the mesh in force, which need not be this machine's: `dro-jax plan`
    compiles for a TPU slice on a CPU.
    """
    found = _device().platform
    return "gpu" if found in ("cuda", "rocm") else found


def _device():
    mesh = mesh_in_force()
    if mesh is None:
        return jax.devices()[0]
    device = getattr(mesh, "abstract_device", None)
    return mesh.devices.flat[0] if device is None else device


def implementation(
    setting: Setting, query_length: int, key_length: int
) -> Implementation:
    """What attention of so many queries to so many keys is computed by.

    Args:
      setting: `auto`, what is fastest there: on TPU the kernel, elsewhere blocks, and
        the dense layer for short rows; any other is taken at its word.
      query_length, key_length: of a row.

    Raises:
      ConfigError: the kernel is asked for on other devices than TPUs.
    """
    found = platform()
    if setting == "kernel" and found != "tpu":
        raise ConfigError(
            f"ATTENTION = 'kernel' (T5Config.attention) runs on TPUs only, and these "
            f"devices are of the kind {found!r}: use 'auto', which takes what is fastest "
            "there, 'blocks' or 'dense'"
        )
    if setting != "auto":
        return setting
    least = _LEAST_LENGTH.get(found, _LEAST_LENGTH_OF_OTHERS)
    if min(query_length, key_length) < least:
        return "dense"
    if found != "tpu":
        return "blocks"
    most = _MOST_LENGTH_OF_KERNEL.get(_device().device_kind, _MOST_LENGTH_OF_OTHERS)
    fits = max(query_length, key_length) <= most
    return "kernel" if fits and not _partitioned_unseen() else "blocks"


def _partitioned_unseen() -> bool:
    """Whether the partitioner may split the program, and no mesh says how.

    It cannot split a kernel; blocks are XLA's own.
    """
    by_hand = jax.sharding.get_abstract_mesh().manual_axes  # in `shard_map`
    return mesh_in_force() is None and not by_hand and jax.device_count() > 1


def attend(
    chosen: Implementation,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    diagonals: jax.Array | None,
    mask: AttentionMask,
) -> jax.Array:
    """Attention without a matrix of all pairs, each device for its rows and heads.

    Args:
      chosen: any but `dense`.
      query: ``[B, Q, H, D]``.
      key: ``[B, K, H, D]``.
      value: ``[B, K, H, D]``.
      diagonals: float32 ``[H, Q + K − 1]``, the relative bias; None for none.
      mask: which keys each query may attend to.

    Returns:
      ``[B, Q, H, D]``.
    """
    run = functools.partial(_function(chosen), causal=mask.causal)
    arrays = (
        query,
        key,
        value,
        diagonals,
        mask.query_segment_ids,
        mask.key_segment_ids,
    )
    mesh = mesh_in_force()
    if mesh is None or mesh.size == 1:
        return run(*arrays)
    rows, heads = _axes(mesh, query.shape[0], query.shape[2])
    whole, ids = PartitionSpec(rows, None, heads, None), PartitionSpec(rows, None)
    of_bias = None if diagonals is None else PartitionSpec(heads, None)
    # A kernel is opaque to the partitioner. The gradient of the diagonals, which all
    # rows share, is summed over the devices that the rows are split over.
    return jax.shard_map(
        run,
        mesh=mesh,
        in_specs=(whole, whole, whole, of_bias, ids, ids),
        out_specs=whole,
        check_vma=False,
    )(*arrays)


def _function(chosen: Implementation):
    if chosen == "blocks":
        return blocks_attention
    # Pallas takes a while to import, for which a CPU has no use.
    from dro_jax.models.attention_kernel import kernel_attention

    return functools.partial(kernel_attention, interpret=chosen == "interpreted")


def _axes(mesh, num_rows: int, num_heads: int):
    """Mesh axes over which rows and heads are split; what does not divide is whole."""
    axes = partitioning.logical_to_mesh_axes(("batch", "heads")) or (None, None)
    found = []
    for axis, size in zip(axes, (num_rows, num_heads), strict=True):
        names = (axis,) if isinstance(axis, str) else tuple(axis or ())
        parts = 1
        for name in names:
            parts *= mesh.shape[name]
        found.append(axis if names and size % parts == 0 else None)
    return found


def mesh_in_force():
    """The mesh in force; None where there is none, or the program is one device's."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        mesh = _mesh_of_t5x()
        if mesh.empty:
            return None
    elif mesh.manual_axes:  # inside `shard_map` each device is on its own
        return None
    return mesh


def _mesh_of_t5x():
    """The mesh of ``with mesh:``, T5X's way, of which JAX's public names know nothing."""
    from jax._src.mesh import thread_resources

    return thread_resources.env.physical_mesh
