"""Checks of rank, type and shape that come before the maths of every objective."""

import jax.numpy as jnp


def check_per_trajectory(**arrays) -> None:
    """Require float arrays of one shape ``[N]``, of 32 bits or more.

    Without this a ``[N]`` and a ``[N, 1]`` broadcast in silence to ``[N, N]``.

    Raises:
      TypeError: an array is not floating point, or has fewer than 32 bits.
      ValueError: an array is not of rank 1, or the shapes differ.
    """
    _check_floats(arrays, 1, "one entry per trajectory, shape [N]")
    _check_one_shape(arrays, "[N]")


def check_per_token(**arrays) -> None:
    """Require float arrays of one shape ``[N, T]``, of 32 bits or more.

    Raises:
      TypeError: an array is not floating point, or has fewer than 32 bits.
      ValueError: an array is not of rank 2, or the shapes differ.
    """
    _check_floats(arrays, 2, "one entry per token of each trajectory, shape [N, T]")
    _check_one_shape(arrays, "[N, T]")


def check_per_response(**arrays) -> None:
    """Require float arrays of one shape ``[N, K]``, of 32 bits or more.

    Raises:
      TypeError: an array is not floating point, or has fewer than 32 bits.
      ValueError: an array is not of rank 2, or the shapes differ.
    """
    _check_floats(arrays, 2, "one entry per response of each prompt, shape [N, K]")
    _check_one_shape(arrays, "[N, K]")


def check_labels(**labels) -> None:
    """Require boolean arrays ``[N]``.

    Zeros and ones would be taken as true by one formula and as a factor by another.

    Raises:
      TypeError: an array is not boolean.
      ValueError: an array is not of rank 1.
    """
    for name, array in labels.items():
        if jnp.result_type(array) != jnp.bool_:
            raise TypeError(
                f"{name} must be boolean (compare rewards with a threshold first), "
                f"got {jnp.result_type(array)}"
            )
        _check_rank(name, array, 1, "one entry per trajectory, shape [N]")


def check_groups(**groups) -> None:
    """Require integer arrays ``[N]``: the prompt that each trajectory belongs to.

    Raises:
      TypeError: an array is not of integers.
      ValueError: an array is not of rank 1.
    """
    for name, array in groups.items():
        if not jnp.issubdtype(jnp.result_type(array), jnp.integer):
            raise TypeError(f"{name} must be integers, got {jnp.result_type(array)}")
        _check_rank(name, array, 1, "one entry per trajectory, shape [N]")


def check_scalars(**numbers) -> None:
    """Require one float for the batch: a Python number or a float array of rank 0.

    Raises:
      TypeError: an array is not floating point, or has fewer than 32 bits.
      ValueError: an array has axes.
    """
    arrays = {k: v for k, v in numbers.items() if not isinstance(v, (int, float))}
    _check_floats(arrays, 0, "one number for the whole batch, shape []")


def check_one_length(**arrays) -> None:
    """Require one leading axis N.

    Raises:
      ValueError: the lengths differ.
    """
    shapes = {name: jnp.shape(array) for name, array in arrays.items()}
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise ValueError(f"arrays must have one length N, got shapes {shapes}")


def check_positive(**hyperparameters) -> None:
    """Require positive finite hyperparameters (traced values pass unchecked).

    Raises:
      ValueError: a Python number is zero, negative, infinite or NaN.
    """
    for name, value in hyperparameters.items():
        if isinstance(value, (int, float)) and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a positive number, got {value}")


def check_non_negative(**hyperparameters) -> None:
    """Require finite hyperparameters of 0 or more (traced values pass unchecked).

    Raises:
      ValueError: a Python number is negative, infinite or NaN.
    """
    for name, value in hyperparameters.items():
        if isinstance(value, (int, float)) and not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a number of 0 or more, got {value}")


def check_fraction(**hyperparameters) -> None:
    """Require hyperparameters in [0, 1] (traced values pass unchecked).

    Raises:
      ValueError: a Python number lies outside [0, 1], or is NaN.
    """
    for name, value in hyperparameters.items():
        if isinstance(value, (int, float)) and not 0 <= value <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {value}")


def check_threshold(threshold: float | str) -> None:
    """Require a finite number or 'batch_mean'.

    Raises:
      ValueError: anything else.
    """
    if threshold == "batch_mean":
        return
    if isinstance(threshold, str) or not abs(threshold) < float("inf"):
        raise ValueError(
            f"threshold must be a number or 'batch_mean', got {threshold!r}"
        )


def _check_floats(arrays, rank, meaning):
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.finfo(dtype).bits < 32:
            raise TypeError(
                f"{name} must be float32 (sums over response tokens are taken in "
                f"float32), got {dtype}"
            )
        _check_rank(name, array, rank, meaning)


def _check_rank(name, array, rank, meaning):
    if jnp.ndim(array) != rank:
        raise ValueError(f"{name} must have {meaning}, got shape {jnp.shape(array)}")


def _check_one_shape(arrays, shape):
    shapes = {name: jnp.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"arrays must have one shape {shape}, got {shapes}")
