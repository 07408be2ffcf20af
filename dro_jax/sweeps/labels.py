"""What tables call a trial."""

from collections.abc import Mapping
from typing import Any

_LONGEST = 40


def label_of(
    stage: str,
    values: Mapping[str, Any],
    files: Mapping[str, Any],
    seed_axis: str | None,
) -> str:
    """`DRO-V · TAU 0.1 · seed 0`; of a trial without axes the stage's name.

    Args:
      stage: its name.
      values: by axis.
      files: the axes of files, whose labels stand alone.
      seed_axis: the axis of seeds.
    """
    parts = [
        str(value) if name in files else f"{_short(name, seed_axis)} {_shown(value)}"
        for name, value in values.items()
    ]
    return " · ".join(parts) or stage


def _short(name: str, seed_axis: str | None) -> str:
    return "seed" if name == seed_axis else name.rpartition(".")[2]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
