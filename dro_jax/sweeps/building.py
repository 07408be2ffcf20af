"""Which run of an earlier stage a trial builds on."""

from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.errors import ConfigError
from dro_jax.sweeps.interface import PlannedTrial


def built_on(
    label: str,
    values: Mapping[str, Any],
    name: str,
    earlier: Sequence[PlannedTrial],
) -> PlannedTrial:
    """The run of a stage that is meant by `$NAME` in a trial.

    It is the one whose axes have the trial's values wherever the two have an axis in
    common, whatever else it has.

    Args:
      label: the trial's, for errors.
      values: the trial's, by axis.
      name: of the stage.
      earlier: its trials.

    Raises:
      ConfigError: none agrees, or several do.
    """
    agree = [
        other
        for other in earlier
        if all(
            _same(values[axis], value)
            for axis, value in other.values.items()
            if axis in values
        )
    ]
    if len(agree) == 1:
        return agree[0]
    if not agree:
        known = ", ".join(other.label for other in earlier[:5])
        more = ", …" if len(earlier) > 5 else ""
        raise ConfigError(
            f"{label}: no run of the stage {name} agrees with it on the axes that both "
            f"have, so ${name} means nothing; its runs are {known}{more}"
        )
    names = ", ".join(other.label for other in agree[:5])
    more = ", …" if len(agree) > 5 else ""
    apart = [
        axis
        for axis in dict.fromkeys(axis for other in agree for axis in other.values)
        if axis not in values
    ]
    raise ConfigError(
        f"{label}: ${name} could be any of {len(agree)} runs of the stage {name} "
        f"({names}{more}): give this stage their axis {' and '.join(apart)} too, or "
        f"that stage one run"
    )


def _same(one: Any, other: Any) -> bool:
    # 1 and True are equal in Python, and not to gin; a list is a tuple where JSON was.
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return repr(one) == repr(other)
