"""Sums of microbatches' gradients in fewer bits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import small

from dro_jax.batch_fields import device_fields
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training.microbatches import loss_and_gradient


def test_a_sum_in_bfloat16_is_off_by_what_is_said():
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    batch = device_fields(small.unpacked(small.examples()))
    params, count = small.init(model, batch), len(batch["rewards"])

    def gradient(dtype):
        step = functools.partial(
            loss_and_gradient, model, num_microbatches=count, sum_dtype=dtype
        )
        return jax.device_get(jax.jit(step)(params, batch))

    (loss, _), exact = gradient(jnp.float32)
    (same, _), rounded = gradient(jnp.bfloat16)
    assert same == loss
    errors = []
    for a, b in zip(small.leaves(rounded), small.leaves(exact), strict=True):
        assert a.dtype == b.dtype == np.float32
        # Sums of parts may cancel, so that the bound is of the largest of a parameter.
        errors.append(np.abs(a - b).max() / np.abs(b).max())
    assert 1e-4 < max(errors) < count * 2**-9 * 4
