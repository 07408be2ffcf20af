"""Time limits as SLURM writes them."""

import re

from dro_jax.errors import ConfigError

# minutes, minutes:seconds, hours:minutes:seconds, and behind days- hours first.
_LIMIT = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_NO_LIMIT = ("0", "unlimited", "infinite", "-1")


def seconds_of(limit: str) -> int:
    """The seconds of a time limit; 0 where it is none.

    Args:
      limit: `MINUTES`, `MINUTES:SECONDS`, `HOURS:MINUTES:SECONDS`, `DAYS-HOURS`,
        `DAYS-HOURS:MINUTES` or `DAYS-HOURS:MINUTES:SECONDS`.

    Raises:
      ConfigError: it is none of these.
    """
    if limit.lower() in _NO_LIMIT:
        return 0
    match = _LIMIT.fullmatch(limit)
    if match is None:
        raise ConfigError(
            f"TIME_LIMIT = {limit!r} is no time of SLURM's: write 'HOURS:MINUTES:SECONDS', "
            "'DAYS-HOURS' or 'MINUTES'"
        )
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is None and len(numbers) < 3:
        numbers = [0, *numbers]
    hours, minutes, seconds = (*numbers, 0, 0)[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
