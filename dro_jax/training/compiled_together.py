"""Programs that all processes of a run begin at one time."""

from typing import Any

import jax

from dro_jax.training import hosts


class CompiledTogether:
    """A compiled function, which no process begins before all have compiled it.

    Compiling takes minutes, one process more of them than another, and the first
    collective of a program does not wait for long: over gloo half a minute.

    Args:
      function: as `jax.jit` gives it. All processes call it first with the same shapes.
    """

    def __init__(self, function: jax.stages.Wrapped):
        self.function = function
        self._is_compiled = False

    def __call__(self, *arguments: Any) -> Any:
        """The function's results."""
        if not self._is_compiled:
            self._is_compiled = True
            if hosts.count() > 1:
                # The call below finds the program and compiles nothing.
                self.function.lower(*arguments).compile()
                hosts.meet("compiled")
        return self.function(*arguments)
