"""Progress: a bar with rate and time left on a terminal, plain lines otherwise."""

import sys
import time
from typing import Self

import rich.console
import rich.progress


class Progress:
    """Tells how far a loop has come.

    Args:
      label: what the loop does, for example `train`.
      total: how many units it will do, or None when that is unknown.
      start: units that an earlier run has done.
      unit: the unit's name.

    Use as a context manager.
    """

    def __init__(
        self, label: str, total: int | None, *, start: int = 0, unit: str = "steps"
    ):
        self._label, self._total, self._unit = label, total, unit
        self._done = self._start = start
        self._began = time.monotonic()
        self._bar = self._task = None
        if sys.stderr.isatty():
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TextColumn("{task.fields[rate]}"),
                rich.progress.TimeRemainingColumn(),
                rich.progress.TextColumn("{task.fields[note]}"),
                console=rich.console.Console(stderr=True),
            )
            self._task = self._bar.add_task(
                label, total=total, completed=start, rate="", note=""
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """Count units as done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=self._rate_text())

    def say(self, text: str) -> None:
        """Show a note: beside the bar, or as a line of its own."""
        if self._bar is not None:
            self._bar.update(self._task, note=text)
            return
        whole = "" if self._total is None else f"/{self._total}"
        print(
            f"{self._label} {self._done}{whole} {self._unit}  {self._rate_text()}"
            f"{self._time_left()}  {text}".rstrip(),
            file=sys.stderr,
            flush=True,
        )

    def _rate(self) -> float:
        seconds = max(time.monotonic() - self._began, 1e-6)
        return (self._done - self._start) / seconds

    def _rate_text(self) -> str:
        return f"{self._rate():.3g} {self._unit}/s"

    def _time_left(self) -> str:
        rate = self._rate()
        if self._total is None or not rate or self._done >= self._total:
            return ""
        seconds = int((self._total - self._done) / rate)
        return f"  {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"
