"""A device's memory: what a step takes of it, and what there is."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax

from dro_jax.planning.chips import chip_of
from dro_jax.planning.topologies import Slice

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)i?B?"
# What TPU's and GPU's compilers and allocators say they need, the most telling first.
_NEEDED = (
    rf"Total hbm usage >= {_SIZE}",
    rf"Used {_SIZE} of",
    rf"required for HLO temporaries \({_SIZE}\)",
    rf"allocate {_SIZE}",
)
_AVAILABLE = (
    rf"available HBM \({_SIZE}\)",
    rf"Used [\d.]+[KMGT]? of {_SIZE}",
)


@dataclasses.dataclass(frozen=True)
class MemoryUse:
    """Bytes of one device.

    Attributes:
      state_bytes: parameters, optimiser state, a frozen reference and the batch.
      temporary_bytes: what a step makes and throws away; where it does not fit, what
        the compiler says of it, which may be the whole.
      code_bytes: of the program.
      available_bytes: that programs may use; None where that is not known.
      exhausted: whether the compiler found no way to fit it in.
    """

    state_bytes: int
    temporary_bytes: int
    code_bytes: int
    available_bytes: int | None
    exhausted: bool = False

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.state_bytes + self.temporary_bytes + self.code_bytes

    def to_json(self) -> dict[str, int]:
        """Its parts and their sum."""
        return {
            "state_bytes": self.state_bytes,
            "temporary_bytes": self.temporary_bytes,
            "code_bytes": self.code_bytes,
            "total_bytes": self.total_bytes,
        }

    @property
    def fits(self) -> bool:
        """Whether there is as much; where that is not known, whether it compiled."""
        if self.exhausted or self.available_bytes is None:
            return not self.exhausted
        return self.total_bytes <= self.available_bytes

    @property
    def spare(self) -> float | None:
        """The share of what there is that is left; below 0 where it does not fit."""
        if not self.available_bytes:
            return None
        return 1 - self.total_bytes / self.available_bytes


def used(
    compiled: jax.stages.Compiled, available: int | None, platform: str
) -> MemoryUse:
    """What a compiled step takes of each device.

    Args:
      compiled: the step.
      available: bytes that there are.
      platform: of the devices, as JAX names it.
    """
    sizes = compiled.memory_analysis()
    # What is donated is in both the arguments and the results.
    state = (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
    )
    temporary = sizes.temp_size_in_bytes
    if platform == "tpu":
        # libtpu's sum counts some of what loops hand on twice, up to 1.4 times what its
        # buffers take; its peak is all that is there at once. On CPU that is no peak.
        temporary = sizes.peak_memory_in_bytes - state
    return MemoryUse(state, temporary, sizes.generated_code_size_in_bytes, available)


def exhausted(error: Exception, state: int, available: int | None) -> MemoryUse | None:
    """What a failed compilation says of memory; None where it failed for another reason.

    Args:
      error: that the compiler raised.
      state: bytes of the state on each device.
      available: bytes that there are.
    """
    text = str(error)
    if "RESOURCE_EXHAUSTED" not in text and "out of memory" not in text.lower():
        return None
    if re.search(r"memory space (?!hbm)\w+mem\b", text):
        return None  # the chip's own memory is the compiler's affair
    needed = _found(_NEEDED, text) or 0
    temporary = needed - state if "Total hbm usage" in text else needed
    return MemoryUse(
        state, max(0, temporary), 0, _found(_AVAILABLE, text) or available, True
    )


def available_bytes(devices: Slice) -> int | None:
    """What a program may use of each device; None where that is not known.

    Of a slice it is what libtpu says of such chips, of a GPU its driver; a machine's
    CPU devices share its memory.
    """
    device = devices.devices[0]
    if devices.name is None and device.platform == "cpu":
        return _host_bytes() // len(devices.devices)
    if devices.name is None:
        limit = (device.memory_stats() or {}).get("bytes_limit")
        if limit is not None:
            return int(limit)
    chip = chip_of(devices.kind)
    if chip is None or chip.memory_bytes is None:
        return None
    return int(chip.memory_bytes * devices.chip_share)


def bytes_on_a_device(trees: Sequence[Any]) -> int:
    """Of arrays, or their shapes, with shardings."""
    total = 0
    for leaf in jax.tree.leaves(trees):
        shape = leaf.sharding.shard_shape(leaf.shape)
        total += jax.ShapeDtypeStruct(shape, leaf.dtype).size * leaf.dtype.itemsize
    return total


def _host_bytes() -> int:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = pathlib.Path("/sys/fs/cgroup/memory.max")
    try:
        return min(physical, int(limit.read_text()))
    except (OSError, ValueError):  # no such limit, or "max"
        return physical


def _found(patterns: Sequence[str], text: str) -> int | None:
    for pattern in patterns:
        if match := re.search(pattern, text):
            return int(float(match[1]) * _UNITS[match[2]])
    return None
