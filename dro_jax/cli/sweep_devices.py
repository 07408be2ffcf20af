"""This machine's cores and GPUs, shared out among workers."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence

from dro_jax.errors import ConfigError
from dro_jax.launching.gpus import jax_uses_gpus, visible_gpus


@dataclasses.dataclass(frozen=True)
class Devices:
    """What one worker may use.

    Attributes:
      cores: numbers of processor cores; none, all.
      environment: variables that name its GPUs.
    """

    cores: Sequence[int] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def give_to(self, process: int) -> None:
        """Keeps a process, which has just begun, to its cores."""
        # Pools of threads are as large as the cores that a process may use. Two workers
        # with pools of all cores each wait for one another's threads.
        if self.cores:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process, self.cores)


def devices_of(count: int) -> list[Devices]:
    """What each of some workers may use: disjoint parts, as far as there are enough.

    Raises:
      ConfigError: JAX would take GPUs, and there are fewer.
    """
    cores = _parts(_cores(), count)
    cards = visible_gpus() if jax_uses_gpus() and not _on_cpu() else []
    if not cards:
        return [Devices(part) for part in cores]
    if len(cards) < count:
        raise ConfigError(
            f"--workers {count}: this machine has {len(cards)} GPUs, and each worker takes "
            "one for itself: give fewer, or JAX_PLATFORMS=cpu"
        )
    return [
        Devices(part, {"CUDA_VISIBLE_DEVICES": ",".join(own)})
        for part, own in zip(cores, _parts(cards, count), strict=True)
    ]


def _on_cpu() -> bool:
    return os.environ.get("JAX_PLATFORMS", "").startswith("cpu")


def _cores() -> list[int]:
    """Those that this process may use; none where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return []
    return sorted(os.sched_getaffinity(0))


def _parts(things: Sequence, count: int) -> list[Sequence]:
    """Neighbours, nearly equally many in each part; none in any where there are fewer."""
    if len(things) < count:
        return [()] * count
    ends = [len(things) * n // count for n in range(count + 1)]
    return [tuple(things[a:b]) for a, b in itertools.pairwise(ends)]
