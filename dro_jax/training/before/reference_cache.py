"""The reference's log-probabilities of a split, on disk.

A folder holds `key.json`, what the numbers were computed from; parts of the data,
`part-RECORD-ROW.npz`, which begin at that position and name the position where they end;
and, once the parts cover the split, `table`, the same numbers in the order of records,
which runs map. A part is written whole or not at all, so a run that was killed computes
what is missing, several runs may fill one folder, and parts that another machine computed
under the same key may be copied into it.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np

from dro_jax.data.interface import START, Position
from dro_jax.errors import CheckpointError
from dro_jax.training import hosts
from dro_jax.training.atomic_files import (
    claim_folder,
    read_arrays,
    write_arrays,
    write_json,
)
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.before.reference_table import ReferenceTable, write_table
from dro_jax.training.host_files import share_files

_PARTS = "part-*.npz"
_TABLE, _MADE_FROM = "table", "parts.json"
_WHAT = "the reference cache's"
_A_DAY = 24 * 3600
# From a position to another, or to the end of the data.
Stretch = tuple[Position, Position | None]


@dataclasses.dataclass(frozen=True)
class Part:
    """A file with the log-probabilities of a stretch of the data.

    Attributes:
      path: the file.
      start: the position where it begins.
      end: where the next one begins; None for the last of the data.
      count: its records.
    """

    path: pathlib.Path
    start: Position
    end: Position | None
    count: int


class ReferenceCache:
    """One folder of cached log-probabilities.

    Args:
      folder: where it lies; made if need be.
      key: what the numbers depend on, in words and fingerprints, by name.

    Raises:
      CheckpointError: the folder was computed from something else; the message says
        from what.
    """

    def __init__(self, folder: str | pathlib.Path, key: dict[str, str]):
        self.folder = pathlib.Path(folder)
        claim_folder(
            self.folder,
            key,
            "the reference log-probabilities were computed",
            "Use another REFERENCE_CACHE_DIR, or delete that folder to compute them anew",
        )

    def table(self) -> ReferenceTable | None:
        """The whole split's, mapped; None where something is missing.

        Made of the parts where that was not done yet.

        Raises:
          CheckpointError: a part or the table cannot be read.
        """
        folder = self.folder / _TABLE
        if self._is_made_of_parts(folder):
            return ReferenceTable(folder)
        parts = self.parts()
        if missing(parts):
            return None
        self._make_table(folder, parts)
        return ReferenceTable(folder)

    def share_table(self) -> ReferenceTable:
        """The table that the first process has, on every process.

        All must call this. A process whose folder is another one than the first's, on a
        disk of its own, is sent what it lacks.

        Raises:
          CheckpointError: the table cannot be read.
        """
        folder = self.folder / _TABLE
        share_files(folder, hosts.first_says(lambda: _names_in(folder)))
        return hosts.agree(lambda: ReferenceTable(folder))

    def parts(self) -> list[Part]:
        """The parts that are there, by where they begin.

        Raises:
          CheckpointError: one cannot be read.
        """
        found = []
        for path in self.folder.glob(_PARTS):
            arrays = read_arrays(path, _WHAT, ("ids", "next_position", "last"))
            end = None if arrays["last"] else tuple(arrays["next_position"].tolist())
            record, row = path.stem.split("-")[1:]
            count = len(arrays["ids"])
            found.append(Part(path, (int(record), int(row)), end, count))
        return sorted(found, key=lambda part: part.start)

    def state(self, start: Position, end: Position | None) -> dict[str, Any]:
        """What is there and what is not, as values that JSON holds.

        Returns:
          `count`, the records of all parts, and `stretches`, what no part covers between
          two positions.
        """
        parts = self.parts()
        return {
            "count": sum(part.count for part in parts),
            "stretches": missing(parts, start, end),
        }

    def write(
        self, start: Position, part: ReferenceLogprobs, end: Position, *, last: bool
    ) -> None:
        """Keep the part of the data between two positions.

        Nothing where another run has kept one that begins there: a table may just be made
        of it, and would lack what another one of its name ends before.
        """
        arrays = dict(vars(part), next_position=np.array(end), last=np.array(last))
        path = self.folder / f"part-{start[0]:012d}-{start[1]:06d}.npz"
        if not path.exists():
            write_arrays(path, arrays)

    def _is_made_of_parts(self, folder: pathlib.Path) -> bool:
        """Whether a table holds all parts that are there: some may have been deleted."""
        try:
            made_from = json.loads((folder / _MADE_FROM).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return _sizes(self.folder.glob(_PARTS)).items() <= made_from.items()

    def _make_table(self, folder: pathlib.Path, parts: list[Part]) -> None:
        """Makes it beside its place, and gives it its name when it is whole."""
        for left in self.folder.glob(f"{_TABLE}.*"):
            # By a run that was killed; one that others make now is younger.
            if time.time() - left.stat().st_mtime > _A_DAY:
                shutil.rmtree(left, ignore_errors=True)
        made = self.folder / f"{_TABLE}.{uuid.uuid4().hex}.partial"
        made.mkdir()
        try:
            write_table(made, lambda: map(_read, parts))
            for path in made.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            write_json(made / _MADE_FROM, _sizes(part.path for part in parts))
            # A folder cannot be replaced in one go: one that is of other parts is first
            # taken away. Where two runs do this at once, one finds the other's in its
            # place, which holds the same numbers.
            if self._is_made_of_parts(folder):
                return  # Another run was faster, and others may be opening its table.
            if folder.exists():
                away = self.folder / f"{_TABLE}.{uuid.uuid4().hex}.old"
                folder.rename(away)
                shutil.rmtree(away, ignore_errors=True)
            made.rename(folder)
        except OSError:
            if not self._is_made_of_parts(folder):
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)


def missing(
    parts: list[Part], start: Position = START, end: Position | None = None
) -> list[Stretch]:
    """The stretches between two positions that no part covers.

    Args:
      parts: by where they begin; they may overlap.
      start: where to begin.
      end: where to end; None, at the end of the data.
    """
    found: list[Stretch] = []
    position: Position | None = start
    for part in parts:
        if position is None or (end is not None and position >= end):
            return found
        if part.start > position:
            stop = part.start if end is None else min(part.start, end)
            found.append((position, stop))
            position = stop
        if part.start <= position:
            position = None if part.end is None else max(position, part.end)
    if position is not None and (end is None or position < end):
        found.append((position, end))
    return found


def _read(part: Part) -> ReferenceLogprobs:
    arrays = read_arrays(part.path, _WHAT)
    try:
        return ReferenceLogprobs(
            **{
                field.name: arrays[field.name]
                for field in dataclasses.fields(ReferenceLogprobs)
            }
        )
    except KeyError as error:
        raise CheckpointError(
            f"{_WHAT} {part.path} lacks {error}: delete it, and the run computes it anew"
        ) from error


def _names_in(table: pathlib.Path) -> list[str]:
    """The files of a table; last, the one that is written last."""
    names = {path.name for path in table.iterdir()} - {_MADE_FROM}
    return [*sorted(names), _MADE_FROM]


def _sizes(paths: Iterator[pathlib.Path]) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in paths}
