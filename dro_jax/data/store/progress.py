"""What a pass over a large split tells a person; a short one is silent."""

import pathlib
import time
from typing import Self

from dro_jax import moving
from dro_jax.messages import note, say
from dro_jax.plurals import counted

_FIRST_SECONDS = 3.0
_SECONDS = 20.0


class Progress:
    """Lines on standard error, the first after a few seconds.

    Args:
      task: its name.
      split: its name.
      folder: where the split is prepared.

    Use as a context manager.
    """

    def __init__(self, task: str, split: str, folder: pathlib.Path):
        self._what = f"task '{task}', split '{split}'"
        self._folder = folder
        self._start = self._last = time.monotonic()
        self._told = False
        self._before = 0  # records of units that are done
        self._unit = 0  # records read of this one

    def told(self, count: int) -> None:
        """So many records of this unit have been read."""
        moving.goes_on()
        self._unit = count
        self._say("")

    def next_unit(self) -> None:
        """A unit is done."""
        self._before += self._unit
        self._unit = 0

    def waits(self) -> None:
        """Other processes have the units that are left; a dead one's are taken over."""
        moving.goes_on()
        self._say(", and waiting for other processes that prepare the rest")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, *unused) -> None:
        if self._told and kind is None:
            say(f"prepared {self._what}: {self._so_far()}")

    def _say(self, more: str) -> None:
        now = time.monotonic()
        if not self._told and now - self._start > _FIRST_SECONDS:
            note(
                f"preparing {self._what}: its records are read, checked and made "
                f"tokens once, and kept in {self._folder}"
            )
        elif not self._told or now - self._last < _SECONDS:
            return
        else:
            say(f"preparing {self._what}: {self._so_far()}{more}")
        self._told, self._last = True, now

    def _so_far(self) -> str:
        count, seconds = self._before + self._unit, time.monotonic() - self._start
        return f"{counted(count, 'record')} in {seconds:.0f} s ({count / seconds:,.0f} a second)"
