"""Settings that data sets and converters share, checked by their names."""

from collections.abc import Mapping

from dro_jax.data.interface import Shard
from dro_jax.data.packing import MAX_TRAJECTORIES_PER_ROW, WINDOW, Packing
from dro_jax.errors import ConfigError

_TOKEN_FEATURES = ("inputs", "targets")


def check_positive(name: str, value: int) -> None:
    """Refuses what is no count.

    Raises:
      ConfigError: the value is not a whole number of at least 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} = {value!r} must be a whole number of at least 1")


def check_lengths(owner: str, lengths: Mapping[str, int]) -> None:
    """Refuses task feature lengths that are not just those of `inputs` and `targets`.

    Raises:
      ConfigError: one is missing, too many or no count.
    """
    missing = [name for name in _TOKEN_FEATURES if name not in lengths]
    unknown = sorted(set(lengths) - set(_TOKEN_FEATURES))
    if missing or unknown:
        what = (
            f"lacks '{missing[0]}'"
            if missing
            else f"has an unknown entry '{unknown[0]}'"
        )
        raise ConfigError(
            f"{owner}.task_feature_lengths = {dict(lengths)!r} {what}: give the "
            "most tokens of prompts and of responses, as {'inputs': 512, 'targets': 256}"
        )
    for name in _TOKEN_FEATURES:
        check_positive(f"{owner}.task_feature_lengths['{name}']", lengths[name])


def check_packing(
    owner: str,
    pack: bool,
    max_trajectories_per_row: int | None,
    packing_window: int | None,
) -> None:
    """Refuses settings of packing that cannot be used.

    Raises:
      ConfigError: one is no count, or is set though nothing is packed.
    """
    for name, value in (
        ("max_trajectories_per_row", max_trajectories_per_row),
        ("packing_window", packing_window),
    ):
        if value is None:
            continue
        if not pack:
            raise ConfigError(
                f"{owner}.{name} = {value!r} has no effect without packing: set "
                "pack = True, or leave it out"
            )
        check_positive(f"{owner}.{name}", value)


def shard_rows(shard: Shard, batch_size: int) -> slice:
    """The rows of each batch that a part of the hosts feeds.

    Raises:
      ConfigError: parts would not be alike.
    """
    index, count = shard
    if batch_size % count:
        raise ConfigError(
            f"a batch of {batch_size} rows (BATCH_SIZE) cannot be shared out evenly "
            f"among {count} groups of hosts: make it a multiple of {count}"
        )
    size = batch_size // count
    return slice(index * size, (index + 1) * size)


def check_grouping(owner: str, group_size: int | None, single_responses: str) -> None:
    """Refuses settings of groups that cannot be used.

    Raises:
      ConfigError: the size is no count of at least 2, or `single_responses` is unknown
        or set though nothing is grouped.
    """
    if single_responses not in ("keep", "drop"):
        raise ConfigError(
            f"{owner}.single_responses = {single_responses!r} is unknown: use 'keep' or "
            "'drop'"
        )
    if group_size is None:
        if single_responses != "keep":
            raise ConfigError(
                f"{owner}.single_responses = {single_responses!r} has no effect without "
                "groups: set group_size, or leave it out"
            )
        return
    check_positive(f"{owner}.group_size", group_size)
    if group_size < 2:
        raise ConfigError(
            f"{owner}.group_size = {group_size} makes no groups: give 2 or more, or "
            "leave it out"
        )


def make_packing(
    lengths: Mapping[str, int],
    max_trajectories_per_row: int | None = None,
    packing_window: int | None = None,
    group_size: int | None = None,
) -> Packing:
    """Rows of the task feature lengths; None stands for the defaults.

    With groups, a row has room for the targets of a whole one, and counts groups.
    """
    size = group_size or 1
    default = max(1, MAX_TRAJECTORIES_PER_ROW // size)
    return Packing(
        lengths["inputs"],
        lengths["targets"] * size,
        max_trajectories_per_row or default,
        packing_window or WINDOW,
    )
