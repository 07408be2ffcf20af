"""Slices of TPUs as Google Cloud sells them: names, chips and hosts."""

import dataclasses
import math
import re

from dro_jax.errors import ConfigError
from dro_jax.planning.slice_names import FORMS


@dataclasses.dataclass(frozen=True)
class Generation:
    """A generation of TPUs, by the names that Google's tools give it.

    Attributes:
      gke_accelerator: the label of GKE's nodes.
      dimensions: of a slice's shape.
      vm_type: how an accelerator type of TPU VMs begins; None where there are none.
      vm_units: what such a type counts for each chip: 2 where it counts cores.
      runtime_version: the software of its TPU VMs.
      machines: GKE's type of them, which ends with their chips.
    """

    gke_accelerator: str
    dimensions: int
    vm_type: str | None
    vm_units: int
    runtime_version: str | None
    machines: str


GENERATIONS = {
    "v4": Generation(
        "tpu-v4-podslice", 3, "v4", 2, "tpu-ubuntu2204-base", "ct4p-hightpu"
    ),
    "v5e": Generation(
        *("tpu-v5-lite-podslice", 2, "v5litepod", 1),
        *("v2-alpha-tpuv5-lite", "ct5lp-hightpu"),
    ),
    "v5p": Generation("tpu-v5p-slice", 3, "v5p", 2, "v2-alpha-tpuv5", "ct5p-hightpu"),
    "v6e": Generation("tpu-v6e-slice", 2, "v6e", 1, "v2-alpha-tpuv6e", "ct6e-standard"),
    "tpu7x": Generation("tpu7x", 3, None, 2, None, "tpu7x-standard"),
}
_OTHER_NAMES = {"v7x": "tpu7x", "tpu7": "tpu7x", "v5litepod": "v5e"}


@dataclasses.dataclass(frozen=True)
class TpuSlice:
    """Chips that are wired as one machine.

    Attributes:
      name: of the generation, a key of `GENERATIONS`.
      shape: chips in each direction.
    """

    name: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "TpuSlice":
        """The slice that a setting means.

        Args:
          text: as `v5e:4x4`.

        Raises:
          ConfigError: there is no such generation or shape.
        """
        name, _, shape = text.partition(":")
        name = _OTHER_NAMES.get(name, name)
        if name not in GENERATIONS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)+", shape):
            raise ConfigError(
                f"SLICE = {text!r} is no slice: write a generation and a shape, as "
                f"'v5e:4x4' or 'v5p:2x2x2'; generations: {', '.join(GENERATIONS)}"
            )
        made = cls(name, tuple(map(int, shape.split("x"))))
        made._check_shape(text)
        return made

    @property
    def generation(self) -> Generation:
        """Its names with Google's tools."""
        return GENERATIONS[self.name]

    @property
    def topology(self) -> str:
        """The shape, as `4x4`."""
        return "x".join(map(str, self.shape))

    @property
    def full_name(self) -> str:
        """Generation and shape, by the generation's first name, which `plan` knows."""
        return f"{self.name}:{self.topology}"

    @property
    def chips(self) -> int:
        """All of them."""
        return math.prod(self.shape)

    def hosts(self, chips_per_host: int | None = None) -> int:
        """Machines, each with its share of the chips.

        Args:
          chips_per_host: None for what GKE's node pools of several hosts have: 4, or the
            single chip of a 1x1.

        Raises:
          ConfigError: no machine has so many.
        """
        usual = min(4, self.chips)
        each = chips_per_host or usual
        # Machines with eight chips stand alone.
        if each != usual and not (each == 8 == self.chips and len(self.shape) == 2):
            raise ConfigError(
                f"CHIPS_PER_HOST = {chips_per_host} is none that "
                f"{self.full_name} comes with: {usual}"
                + (", or 8 on one host" if self.topology == "2x4" else "")
            )
        return self.chips // each

    def machine_type(self, chips_per_host: int | None = None) -> str:
        """GKE's, as `ct5lp-hightpu-4t`; the argument is that of `hosts`."""
        return f"{self.generation.machines}-{self.chips // self.hosts(chips_per_host)}t"

    @property
    def vm_hosts(self) -> int:
        """Machines of a slice of TPU VMs: flat ones of up to eight chips are one."""
        is_one = len(self.shape) == 2 and self.chips <= 8
        return 1 if is_one else self.chips // 4

    @property
    def accelerator_type(self) -> str:
        """As TPU VMs are asked for: `v5litepod-16`; of v4 and v5p, by cores.

        Raises:
          ConfigError: the generation has no TPU VMs.
        """
        kind = self.generation
        if kind.vm_type is None:
            raise ConfigError(
                f"{self.name} has no TPU VMs: use the target gke, or a slice of "
                + ", ".join(n for n, g in GENERATIONS.items() if g.vm_type)
            )
        return f"{kind.vm_type}-{self.chips * kind.vm_units}"

    def _check_shape(self, text: str) -> None:
        forms = FORMS[self.name]
        is_listed = self.full_name in forms.split(", ")
        # Cubes of 4x4x4, put together.
        is_cubes = (
            len(self.shape) == self.generation.dimensions == 3
            and all(n % 4 == 0 for n in self.shape)
            and list(self.shape) == sorted(self.shape)
        )
        if not (is_listed or is_cubes):
            raise ConfigError(f"SLICE = {text!r}: slices of {self.name} are {forms}")
