"""Folders of the machine that made a report, which its readers have no use for."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.reporting.reported_run import ReportedRun

# In quotes a path may hold spaces; elsewhere it ends where a word does.
_QUOTED = re.compile(r"""(?P<quote>['"])(?P<path>(?:file://)?[/~][^'"\n]*)(?P=quote)""")
_BARE = re.compile(r"(?<![\w:/.~'\"…-])(?:file://)?~?/[^\s'\"<>|,;:()\[\]{}]+")
_WHOLE = re.compile(r"(file://)?[/~](?!.* line \d).*")
_KEPT_PARTS = 2


@dataclasses.dataclass(frozen=True)
class Places:
    """Shortens absolute paths.

    Attributes:
      home: the folder that holds all runs; what lies in it is named from there. Of
        another path the last two names are kept.
    """

    home: str = ""

    @classmethod
    def of(cls, runs: Sequence[ReportedRun]) -> "Places":
        """From where some runs lie."""
        parents = [os.path.dirname(run.folder) for run in runs if run.folder]
        return cls(os.path.commonpath(parents) if parents else "")

    def shortened(self, value: Any) -> Any:
        """A text without machine paths, or JSON of which all texts are."""
        if isinstance(value, str):
            if _WHOLE.fullmatch(value):
                return self._path(value)
            text = _QUOTED.sub(
                lambda m: f"{m['quote']}{self._path(m['path'])}{m['quote']}", value
            )
            return _BARE.sub(lambda m: self._path(m[0]), text)
        if isinstance(value, Mapping):
            return {self.shortened(k): self.shortened(x) for k, x in value.items()}
        if isinstance(value, list | tuple):
            return [self.shortened(x) for x in value]
        return value

    def _path(self, path: str) -> str:
        path = path.removeprefix("file://")
        parts = [part for part in path.split("/") if part not in ("", "~")]
        if not parts:
            return path
        if self.home and (path == self.home or path.startswith(f"{self.home}/")):
            return os.path.relpath(path, self.home)
        if len(parts) <= 1:
            return path
        return "/".join(("…", *parts[-_KEPT_PARTS:]))


def without_places(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Runs as they are told of: settings and facts name no folder of this machine."""
    places = Places.of(runs)
    found = []
    for run in runs:
        # `…` is no gin: texts of a configuration are shown, and not parsed any more.
        evaluated = dataclasses.replace(
            run.evaluated,
            settings=places.shortened(run.evaluated.settings),
            tables=places.shortened(run.evaluated.tables),
        )
        found.append(
            dataclasses.replace(
                run,
                evaluated=evaluated,
                config=places.shortened(run.config),
                distinct=places.shortened(run.distinct),
                identity=places.shortened(run.identity),
                facts=places.shortened(run.facts),
            )
        )
    return found
