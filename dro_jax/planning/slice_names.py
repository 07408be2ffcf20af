"""Names of TPU slices: known without libtpu, and without JAX."""

import math
import re
from collections.abc import Mapping

from dro_jax.errors import ConfigError

# Each version's names, sizes of slices that Google Cloud has, and as many axes as its
# network has.
FORMS: Mapping[str, str] = {
    "v2": "v2:2x2, v2:4x4, …",
    "v3": "v3:2x2, v3:4x4, …",
    "v4": "v4:2x2x1, v4:2x2x2, v4:2x2x4, v4:2x4x4, v4:4x4x4, …",
    "v5e": "v5e:1x1, v5e:2x2, v5e:2x4, v5e:4x4, v5e:4x8, v5e:8x8, v5e:8x16, v5e:16x16",
    "v5p": "v5p:2x2x1, v5p:2x2x2, v5p:2x2x4, v5p:2x4x4, v5p:4x4x4, …",
    "v6e": "v6e:1x1, v6e:2x2, v6e:2x4, v6e:4x4, v6e:4x8, v6e:8x8, v6e:8x16, v6e:16x16",
    "tpu7x": "tpu7x:2x2x1, tpu7x:2x2x2, tpu7x:2x2x4, tpu7x:2x4x4, tpu7x:4x4x4, …",
}
# A type of accelerator that has such chips, for libtpu; how many chips it says is of no
# matter to the compiler.
ACCELERATORS: Mapping[str, str] = {
    "v2": "v2-8",
    "v3": "v3-8",
    "v4": "v4-8",
    "v5e": "v5litepod-16",
    "v5p": "v5p-8",
    "v6e": "v6e-16",
    "tpu7x": "tpu7x-8",
}
_AXES = {"v2": 2, "v3": 2, "v5e": 2, "v6e": 2}
_NAME = re.compile(r"(?P<version>[a-z]\w*):(?P<sizes>\d+(x\d+)*)")


def check_topology(topology: str, setting: str = "--topology") -> list[int] | None:
    """Refuses what is no slice's name, before anything is imported for it.

    Args:
      topology: `v5e:4x4`.
      setting: that gives it, for messages.

    Returns:
      The chips of a host along each axis, where a slice is smaller than a usual host.

    Raises:
      ConfigError: it is none.
    """
    match = _NAME.fullmatch(str(topology))
    if not match or match["version"] not in FORMS:
        raise ConfigError(f"{setting} {topology!r} is no TPU slice. {forms()}")
    sizes = [int(size) for size in match["sizes"].split("x")]
    axes = _AXES.get(match["version"], 3)
    if len(sizes) != axes or math.prod(sizes) == 0:
        raise ConfigError(
            f"{setting} {topology!r}: {match['version']} has slices of {axes} axes. "
            f"{forms(match['version'])}"
        )
    if any(size % 2 for size in sizes[:2]):
        if math.prod(sizes) > 1:
            raise ConfigError(
                f"{setting} {topology!r}: the first two sizes must be even, since a "
                f"host has 2x2 chips. {forms(match['version'])}"
            )
        return [1, 1, 1]
    return None


def forms(version: str | None = None) -> str:
    """The names that there are, of all versions or of one, as a sentence."""
    if version is not None:
        return f"Its slices are {FORMS[version]}"
    return "Name the version and the chips along each axis: " + "; ".join(
        FORMS.values()
    )
