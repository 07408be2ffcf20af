"""Memory and bandwidths of chips; their peak FLOP/s are in `training.throughput`."""

import dataclasses
import re
from collections.abc import Mapping

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """A chip.

    Attributes:
      devices: as which JAX sees it when it trains: 1, or its 2 cores apart.
      memory_bytes: that a program may use, of each device.
      bandwidth: bytes a second to and from the memory of the whole chip.
      interconnect: bytes a second that it sends to its neighbours, over all links
        together; None where that is not known.
    """

    devices: int
    memory_bytes: int | None
    bandwidth: float
    interconnect: float | None = None


# By `jax.Device.device_kind`. Memory is what libtpu 0.0.42 says is available where a program
# asks for more (v4: of its two cores together). Bandwidths are the makers' figures; of
# the links, one direction.
CHIPS: Mapping[str, Chip] = {
    "TPU v2": Chip(2, int(7.48 * _GIB), 700e9, 248e9),
    "TPU v3": Chip(2, int(15.48 * _GIB), 900e9, 328e9),
    "TPU v4": Chip(1, int(30.5 * _GIB), 1228e9, 300e9),
    "TPU v5 lite": (_V5E := Chip(1, int(15.75 * _GIB), 819e9, 200e9)),
    "TPU v5e": _V5E,
    "TPU v5": (_V5P := Chip(1, int(95.74 * _GIB), 2765e9, 600e9)),
    "TPU v5p": _V5P,
    "TPU v6 lite": (_V6E := Chip(1, int(31.25 * _GIB), 1638e9, 400e9)),
    "TPU v6e": _V6E,
    "TPU7x": Chip(2, int(94.75 * _GIB), 7380e9, 600e9),
    # Of GPUs the driver says how much memory there is. Names hold its size where
    # bandwidth depends on it; of cards on PCIe, links are not known.
    "NVIDIA A100": Chip(1, None, 1555e9, 300e9),
    "NVIDIA A100-SXM4-80GB": Chip(1, None, 2039e9, 300e9),
    "NVIDIA A100-PCIE-40GB": Chip(1, None, 1555e9),
    "NVIDIA A100 80GB PCIe": Chip(1, None, 1935e9),
    "NVIDIA H100": Chip(1, None, 3350e9, 450e9),
    "NVIDIA H100 PCIe": Chip(1, None, 2000e9),
    "NVIDIA H100 NVL": Chip(1, None, 3938e9),
    "NVIDIA H200": Chip(1, None, 4800e9, 450e9),
    "NVIDIA H200 NVL": Chip(1, None, 4800e9),
}


def chip_of(kind: str) -> Chip | None:
    """The chip of a `device_kind`; None where it is not listed."""
    names = [name for name in CHIPS if re.match(rf"{name}(?!\w)", kind)]
    if not names or "MIG" in kind:
        return None
    return CHIPS[max(names, key=len)]
