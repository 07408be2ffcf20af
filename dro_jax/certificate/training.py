"""Full-batch training in one compiled loop, for several runs at once."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dro_jax.training.optimizers import OptimizerConfig, adamw
from dro_jax.training.schedules import learning_rate_schedule


@dataclasses.dataclass(frozen=True)
class Training:
    """How long and how fast.

    Attributes:
      steps: updates, each with the exact gradient.
      learning_rate: Adam's at the start; it falls to 0 along a cosine.
      warmup: the share of the steps in which it rises to that.
      wait: the share of the steps before, in which V alone is trained. A policy that
        follows a V above V* lowers the likelihood of all that is logged; where it can,
        it then gives mass to what is not, and no residual calls it back.
      b2: Adam's decay of squared gradients.
      records: how many policies along the way are kept at most, 2
        or more.
    """

    steps: int
    learning_rate: float
    warmup: float = 0.0
    wait: float = 0.0
    b2: float = 0.999
    records: int = 20


def minimise(
    loss: Callable[[Any, Any], jax.Array],
    observe: Callable[[Any, Any], Any],
    params: Any,
    runs: Sequence[Any],
    training: Training,
) -> tuple[Any, Any]:
    """Minimise a loss for several runs alike.

    Args:
      loss: of parameters and one run's inputs.
      observe: what is kept of them along the way.
      params: where every run starts.
      runs: each run's inputs, trees of arrays of one structure and shapes.
      training: how long and how fast.

    Returns:
      The last parameters, and what was observed: ``[runs, records, …]``; the last record
      is that of the last parameters.
    """
    optimizer = OptimizerConfig(
        optimizer=adamw(b2=training.b2),
        learning_rate=_schedule(training, wait=int(training.wait * training.steps)),
        value_learning_rate=_schedule(training, wait=0),
    ).build()
    lengths = jnp.asarray(_stretches(training), jnp.int32)

    def one_run(run):
        def step(_, carried):
            params, state = carried
            gradient = jax.grad(loss)(params, run)
            updates, state = optimizer.update(gradient, state, params)
            return jax.tree.map(jnp.add, params, updates), state

        def stretch(carried, length):
            carried = jax.lax.fori_loop(0, length, step, carried)
            return carried, observe(carried[0], run)

        carried, observed = jax.lax.scan(
            stretch, (params, optimizer.init(params)), lengths
        )
        return carried[0], observed

    # All runs in one program, compiled once.
    together, axes = _stacked(runs)
    # Of a single run no leaf differs.
    trained = jax.vmap(one_run, in_axes=(axes,), axis_size=len(runs))
    return jax.jit(trained)(together)


def _schedule(training: Training, wait: int):
    schedule = learning_rate_schedule(
        learning_rate=training.learning_rate,
        warmup_steps=int(training.warmup * training.steps),
        decay="cosine",
        total_steps=training.steps - wait,
    )
    if not wait:
        return schedule
    return optax.join_schedules([optax.constant_schedule(0.0), schedule], [wait])


def _stretches(training: Training) -> np.ndarray:
    """Steps between records, which lie ever farther apart."""
    ends = np.geomspace(1, training.steps, training.records)
    return np.diff(np.unique(np.round(ends)), prepend=0)


def _stacked(runs: Sequence[Any]) -> tuple[Any, Any]:
    """One tree and its axes: 0 of a leaf where runs differ, None where all agree.

    A gather by indices that all runs share is many times faster than one for each.
    """

    def agree(leaves):
        return all(np.array_equal(leaves[0], leaf) for leaf in leaves[1:])

    def together(*leaves):
        return leaves[0] if agree(leaves) else jnp.stack(leaves)

    tree = jax.tree.map(together, *runs)
    axes = jax.tree.map(lambda *leaves: None if agree(leaves) else 0, *runs)
    return tree, axes
