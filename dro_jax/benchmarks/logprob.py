"""Log-probabilities with their gradient: in chunks against all logits at once."""

import jax
import jax.numpy as jnp

from dro_jax.benchmarks.timing import Figure, Figures, in_turn, ratio
from dro_jax.models import logprobs, output_layer

ROWS, LENGTH, DIM, VOCABULARY = 16, 128, 768, 32128


def measure(rounds: int) -> Figures:
    """Memory by XLA's account, and time, of a loss's value and gradient.

    At the size of T5-base: 16 responses of 128 tokens, 768 wide, 32,128 pieces.
    """
    keys = jax.random.split(jax.random.key(0), 4)
    hidden = jax.random.normal(keys[0], (ROWS, LENGTH, DIM))
    kernel = jax.random.normal(keys[1], (DIM, VOCABULARY)) * DIM**-0.5
    targets = jax.random.randint(keys[2], (ROWS, LENGTH), 0, VOCABULARY)
    rewards = jax.random.normal(keys[3], (ROWS,))

    def row_loss(per_token, rewards):
        return jnp.sum(jnp.square(jnp.sum(per_token, axis=1) / LENGTH - rewards))

    def chunked(hidden, kernel):
        per_token, gradient = output_layer.token_logprobs_with_gradient(
            hidden, kernel, targets, row_loss, rewards
        )
        return row_loss(jax.lax.stop_gradient(per_token), rewards) + gradient

    def dense(hidden, kernel):
        logits = (hidden.reshape(-1, DIM) @ kernel).reshape(ROWS, LENGTH, VOCABULARY)
        return row_loss(logprobs.token_logprobs(logits, targets), rewards)

    def compiled(function):
        step = jax.jit(jax.value_and_grad(function, argnums=(0, 1)))
        step = step.lower(hidden, kernel).compile()
        memory = step.memory_analysis().temp_size_in_bytes
        return lambda: jax.block_until_ready(step(hidden, kernel)), memory

    run_chunked, chunked_bytes = compiled(chunked)
    run_dense, dense_bytes = compiled(dense)
    difference = max(
        float(jnp.max(jnp.abs(a - b)))
        for a, b in zip(run_chunked()[1], run_dense()[1], strict=True)
    )
    times = in_turn(run_chunked, run_dense, rounds=rounds)
    return {
        "logprob.memory_ratio": Figure.exact(chunked_bytes / dense_bytes),
        "logprob.time_ratio": ratio(*times),
        "logprob.gradient_difference": Figure.exact(difference),
        "logprob.megabytes_chunked": Figure.exact(chunked_bytes / 1e6),
        "logprob.megabytes_dense": Figure.exact(dense_bytes / 1e6),
    }
