"""What a run was worth to a search."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.errors import ConfigError
from dro_jax.messages import warn


def value_of(
    metric: str, figures: Mapping[str, float], lines: Sequence[Mapping[str, Any]]
) -> float | None:
    """The value of a search's metric for a run that is done.

    Args:
      metric: its name.
      figures: of the run's evaluation, by name; they come first.
      lines: of its `metrics.jsonl`, of which the last that has the metric counts.

    Returns:
      The value; None, which a search takes for a failure, where it is not finite.

    Raises:
      ConfigError: there is no such name.
    """
    logged = {name: value for line in lines for name, value in line.items()}
    known = logged | dict(figures)
    known.pop("step", None)
    if metric not in known:
        near = difflib.get_close_matches(metric, known, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(
            f"Search.metric = {metric!r} is neither a figure of the run's evaluation nor "
            f"a name in its metrics.jsonl{meant}; there are {', '.join(sorted(known))}"
        )
    value = known[metric]
    if value is None or not math.isfinite(value):
        warn(f"its {metric} is not finite, which a search learns nothing from")
        return None
    return float(value)
