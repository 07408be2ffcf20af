"""Checks of rank, type and shape that come before the maths of every objective."""

import jax.numpy as jnp


def check_per_trajectory(**arrays) -> None:
    """Require float arrays of one shape ``[N]``, of 32 bits or more.

    Without this a ``[N]`` and a ``[N, 1]`` broadcast in silence to ``[N, N]``.

    Raises:
      TypeError: an array is not floating point, or has fewer than 32 bits.
      ValueError: an array is not of rank 1, or the shapes differ.
    """
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.finfo(dtype).bits < 32:
            raise TypeError(
                f"{name} must be float32 (sums over response tokens are taken in "
                f"float32), got {dtype}"
            )
        if jnp.ndim(array) != 1:
            raise ValueError(
                f"{name} must have one entry per trajectory, shape [N], "
                f"got shape {jnp.shape(array)}"
            )
    shapes = {name: jnp.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"arrays must have one shape [N], got {shapes}")


def check_positive(**hyperparameters) -> None:
    """Require positive finite hyperparameters (traced values pass unchecked).

    Raises:
      ValueError: a Python number is zero, negative, infinite or NaN.
    """
    for name, value in hyperparameters.items():
        if isinstance(value, (int, float)) and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a positive number, got {value}")
