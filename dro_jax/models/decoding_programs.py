"""Programs that decode, compiled as a CPU runs them fastest."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dro_jax.models.attention_choice import platform

# XLA hands matrix products to YNNPACK, which takes 2.0 ms for 32 rows by an output layer
# that Eigen multiplies by in 1.2. Reductions remain YNNPACK's: it is faster at them.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}


def decoding_program(static_argnames: Sequence[str]) -> Callable[[Callable], Callable]:
    """A decorator: `jax.jit` of a function, on a CPU with options of its compiler.

    Within another program, which has options of its own, it is a part of that.
    """

    def decorate(function: Callable) -> Callable:
        jit = functools.partial(jax.jit, function, static_argnames=static_argnames)
        plain, on_cpu = jit(), functools.cache(lambda: jit(compiler_options=_options()))

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            nested = isinstance(jnp.zeros(()), jax.core.Tracer)
            own = platform() == "cpu" and not nested
            return (on_cpu() if own else plain)(*args, **kwargs)

        return call

    return decorate


@functools.cache
def _options() -> dict[str, str] | None:
    """Those that this version's compiler takes: they are no part of XLA's interface."""
    # Without arguments, which would have to be where a mesh around it has its devices.
    trial = jax.jit(lambda: jnp.zeros(()), compiler_options=_CPU_OPTIONS)
    try:
        trial.lower().compile()
    except jax.errors.JaxRuntimeError:
        return None
    return _CPU_OPTIONS
