"""Where a sweep's runs lie in its folder."""

import re

_UNSAFE = re.compile(r"[^A-Za-z0-9.+=-]+")
_LONGEST = 80


def run_folder(stage: str, number: int, label: str) -> str:
    """A trial's folder within the sweep's: `policies/0007_dro_v_TAU_0.1_seed_0`.

    Args:
      stage: its stage's name.
      number: of the trial's first try, which makes the name unique.
      label: the trial's; what no file system likes is left out, and so is a long end.
    """
    words = _UNSAFE.sub("_", label).strip("_.")[:_LONGEST].rstrip("_.")
    return f"{stage}/{number:04d}_{words}" if words else f"{stage}/{number:04d}"
