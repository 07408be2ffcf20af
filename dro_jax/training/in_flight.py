"""How far a host runs ahead of its devices: a step, never dozens."""

import collections
from typing import TypeVar

import jax

Results = TypeVar("Results")


class InFlight:
    """Waits for older steps whenever a new one is sent.

    A step is sent to the devices and computed later. A host that never waits has every
    batch of an epoch in memory, and processes with dozens of collectives in flight hang
    (over gloo 16 were fine and 32 were not). One step ahead is enough to hide the host's
    work on the next batch.

    Args:
      most: steps that may still run when :meth:`sent` returns.
    """

    def __init__(self, most: int = 1):
        self._most = most
        self._waiting: collections.deque = collections.deque()

    def sent(self, results: Results) -> Results:
        """Notes a step, and waits for those that may run no longer.

        Args:
          results: arrays that the step gives, of which no later step takes the buffers.

        Returns:
          The same.
        """
        self._waiting.append(results)
        while len(self._waiting) > self._most:
            jax.block_until_ready(self._waiting.popleft())
        return results
