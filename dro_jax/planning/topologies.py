"""Devices to plan for: those of a TPU slice, by its name, or this machine's own."""

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Iterator, Sequence

import jax

from dro_jax.errors import ConfigError
from dro_jax.planning.chips import chip_of
from dro_jax.planning.slice_names import ACCELERATORS, check_topology, forms

# A compiler's process is no host of a slice: nothing is asked of a metadata server, no
# other host is waited for, and one that trains beside it keeps its lock.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_MIN_LOG_LEVEL": "2",
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """Devices to plan for.

    Attributes:
      name: of the topology; None, this machine's own devices.
      devices: all of them.
    """

    name: str | None
    devices: Sequence[jax.Device]

    @property
    def kind(self) -> str:
        """The devices' kind, `TPU v5 lite`."""
        return self.devices[0].device_kind

    @property
    def devices_a_chip(self) -> int:
        """As how many devices the compiler sees a chip."""
        places = {tuple(getattr(device, "coords", None) or (device.id,))
                  for device in self.devices}  # fmt: skip
        return len(self.devices) // len(places)

    @property
    def chip_share(self) -> float:
        """The part of what JAX trains on as one device that is one of these.

        TPU v4's two cores are one device there, and two for the compiler on its own.
        """
        chip = chip_of(self.kind)
        return chip.devices / self.devices_a_chip if chip else 1.0


def slice_of(topology: str | None) -> Slice:
    """The devices of a topology.

    Args:
      topology: `v5e:4x4`; None, what this machine has.

    Raises:
      ConfigError: the name is not one, or there is no TPU compiler.
    """
    if topology is None:
        return Slice(None, jax.devices())
    bounds = check_topology(topology)
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            f"{topology}: TPU's compiler is not installed: pip install -e '.[tpu]' "
            "brings it (libtpu, for Linux on x86-64). --gin.SLICE=None without "
            "--topology plans for this machine's own devices"
        )
    from jax.experimental import topologies

    options = {} if bounds is None else {"chips_per_host_bounds": bounds}
    try:
        with _environment(topology.partition(":")[0]):
            found = topologies.get_topology_desc(
                platform="tpu", topology_name=topology, **options
            )
    except (RuntimeError, NotImplementedError) as error:
        raise ConfigError(f"{topology}: {error}. {forms()}") from error
    return Slice(topology, found.devices)


@contextlib.contextmanager
def _environment(version: str) -> Iterator[None]:
    """libtpu's settings while it is loaded; processes that are started later get none."""
    wanted = _ENVIRONMENT | {"TPU_ACCELERATOR_TYPE": ACCELERATORS[version]}
    added = {name: x for name, x in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
