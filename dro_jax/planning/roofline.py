"""The least time that a step can take on its chips."""

import dataclasses

from jax.typing import DTypeLike

from dro_jax.planning.chips import chip_of
from dro_jax.planning.program_costs import Costs
from dro_jax.planning.topologies import Slice
from dro_jax.training.throughput import peak_flops


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step, were each of these all that it had to wait for.

    Attributes:
      compute: its matrix products at the peak.
      memory: its traffic to and from memory at full bandwidth.
      interconnect: what it sends at the bandwidth of all links together, which a
        collective along one axis of a torus does not reach; None where that is not known.
    """

    compute: float
    memory: float
    interconnect: float | None

    @property
    def seconds(self) -> float:
        """The longest: no step is faster, and one is as fast where all overlap."""
        return max(self._terms().values())

    @property
    def bound(self) -> str:
        """Which of them that is."""
        terms = self._terms()
        return max(terms, key=terms.get)

    def _terms(self) -> dict[str, float]:
        terms = dataclasses.asdict(self)
        return {name: seconds for name, seconds in terms.items() if seconds is not None}


def roofline(costs: Costs, devices: Slice, dtype: DTypeLike) -> Roofline | None:
    """The times of a program; None where the chip is not known.

    Args:
      costs: of one device.
      devices: of one kind.
      dtype: of the network's activations.
    """
    chip, peak = chip_of(devices.kind), peak_flops(devices.devices[:1], dtype)
    if chip is None or peak is None:
        return None
    cores = devices.devices_a_chip
    links = chip.interconnect
    return Roofline(
        compute=costs.flops / (peak * devices.chip_share),
        memory=costs.bytes * cores / chip.bandwidth,
        interconnect=None if links is None else costs.sent_bytes * cores / links,
    )
