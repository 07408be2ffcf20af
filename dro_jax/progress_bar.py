"""ProgressBar: a bar with rate and time left on a terminal, plain lines otherwise."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import rich.console
import rich.live
import rich.text

from dro_jax.messages import is_first, say

_PLAIN_SECONDS = 20.0  # without a terminal, the longest that a loop is silent
_LIVE_SECONDS = 5.0  # on a terminal, the longest that a rate is shown which is old
_BAR = 24  # cells of the bar, fewer where the terminal is narrow
_SHORTEST_BAR = 8
# What stands above all bars of this process, if anything does.
_above: "_Above | None" = None


class ProgressBar:
    """Tells how far a loop has come.

    The rate is that since the last line, and the time left follows from it. Of several
    processes that run the loop together the first shows it.

    Args:
      label: what the loop does, for example `train`.
      total: how many units it will do, or None when that is unknown.
      start: units that an earlier run has done.
      unit: the unit's name.
      now: seconds, from any origin.

    Use as a context manager.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        *,
        start: int = 0,
        unit: str = "steps",
        now: Callable[[], float] = time.monotonic,
    ):
        self._label, self._total, self._unit, self._now = label, total, unit, now
        self._done = start
        self._rate: float | None = None
        self._lap_from, self._lap_began = start, now()
        self._spoke = now()
        self._others: dict[str, int] = {}
        self._other_rates: dict[str, float] = {}
        self._notes: Sequence[str] = ()
        self._live = None
        if is_first() and sys.stderr.isatty():
            line = _Line(self._row)
            # A terminal has room for one thing that is drawn anew.
            self._live = _live(lambda: line) if _above is None else _above.beneath(line)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live is not None:
            self._live.stop()

    def advance(self, count: int = 1, **others: int) -> None:
        """Count units as done.

        Args:
          count: how many.
          others: units of other kinds that came with them, `tokens=512`, of which the
            rate alone is shown.
        """
        self._done += count
        for unit, more in others.items():
            self._others[unit] = self._others.get(unit, 0) + more
        now = self._now()
        if self._live is None:
            if now - self._spoke > _PLAIN_SECONDS:
                self.say()
        elif now - max(self._spoke, self._lap_began) > _LIVE_SECONDS:
            self.lap()

    def restart(self) -> None:
        """Measure the rate from here on: what took place before was no unit's work."""
        self._lap_from, self._lap_began = self._done, self._now()
        self._others = dict.fromkeys(self._others, 0)

    def lap(self) -> None:
        """Take the rate since the last line, and begin to measure the next."""
        count = self._done - self._lap_from
        if count:
            seconds = max(self._now() - self._lap_began, 1e-6)
            self._rate = count / seconds
            self._other_rates = {n: x / seconds for n, x in self._others.items()}
        self.restart()

    def say(self, *notes: str) -> None:
        """Show notes, the most important first: beside the bar, or as a line.

        Without notes a line is left out that would tell nothing new.
        """
        if not notes and self._live is None and self._done == self._lap_from:
            return
        if self._done > self._lap_from:
            self.lap()
        self._notes, self._spoke = notes, self._now()
        if self._live is None:
            parts = [
                f"{self._label} {self._count()} {self._unit}",
                *self._pace(),
                *notes,
            ]
            say("  ".join(parts))

    def _count(self) -> str:
        whole = "" if self._total is None else f"/{self._total:,}"
        return f"{self._done:,}{whole}"

    def _pace(self) -> list[str]:
        rate = self._rate
        if not rate:
            return []
        rates = {self._unit: rate} | self._other_rates
        pace = [f"{_number(x)} {unit}/s" for unit, x in rates.items()]
        if self._total is not None and self._done < self._total:
            pace.append(f"{clock((self._total - self._done) / rate)} left")
        return pace

    def _row(self, width: int) -> str:
        """A line of at most `width` cells; what matters least is left out first."""
        head, counter = self._label, f"{self._count()} {self._unit}"
        row = f"{head} {counter}"
        if self._total:
            room = min(_BAR, width - len(row) - 1)
            if room >= _SHORTEST_BAR:
                row = f"{head} {_bar(self._done / self._total, room)} {counter}"
        for part in [*self._pace(), *self._notes]:
            if len(row) + 2 + len(part) > width:
                break
            row += f"  {part}"
        return row[:width]


@contextlib.contextmanager
def shown_above_bars(get_renderable: Callable[[], Any]) -> Iterator[None]:
    """Keeps something on the terminal while the block runs, with what bar there is below.

    Args:
      get_renderable: what `rich` shows, asked for several times a second.
    """
    global _above
    above = _above = _Above(get_renderable)
    try:
        with _live(above):
            yield
    finally:
        _above = None


class _Above:
    """What stands above, and the bars that run."""

    def __init__(self, get_renderable: Callable[[], Any]):
        self._get_renderable = get_renderable
        self._bars: list[_Line] = []

    def __call__(self) -> rich.console.Group:
        return rich.console.Group(self._get_renderable(), *self._bars)

    def beneath(self, line: "_Line") -> "_Beneath":
        """A bar that is drawn while it is started."""
        return _Beneath(self._bars, line)


class _Beneath:
    """Stands for the `Live` of a bar."""

    def __init__(self, bars: "list[_Line]", line: "_Line"):
        self._bars, self._line = bars, line

    def start(self) -> None:
        self._bars.append(self._line)

    def stop(self) -> None:
        self._bars.remove(self._line)


def _live(get_renderable: Callable[[], Any]) -> rich.live.Live:
    return rich.live.Live(
        console=rich.console.Console(stderr=True),
        get_renderable=get_renderable,
        refresh_per_second=4,
    )


class _Line:
    """A line that is made for the width of the terminal as it is."""

    def __init__(self, row: Callable[[int], str]):
        self._row = row

    def __rich_console__(self, console, options):
        # The last cell stays empty, or some terminals begin another line.
        row = self._row(options.max_width - 1)
        yield rich.text.Text(row, no_wrap=True, overflow="crop")


def _bar(share: float, cells: int) -> str:
    full = round(min(share, 1.0) * cells)
    return "━" * full + "─" * (cells - full)


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 999.5 else f"{rate:.3g}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
