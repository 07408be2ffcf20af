"""From the shards of all units to one store: columns of numbers, and the manifest.

The manifest is written last: a folder that has one is a whole store.
"""

import collections
import contextlib
import itertools
import json
import os
import pathlib
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from dro_jax.data.records import MOST_LISTED, DroppedRecord, RecordReport
from dro_jax.data.store.recipe import VERSION
from dro_jax.data.store.shards import ROW, SYNCED, marker, whole_identity
from dro_jax.data.store.units import Unit
from dro_jax.errors import DataError
from dro_jax.whole_files import write_json

MANIFEST = "manifest.json"
COLUMNS = "records.columns"
_ROWS_AT_ONCE = 1 << 15
_ALIGNED = 64


def is_done(folder: pathlib.Path, unit: Unit) -> bool:
    """Whether a unit's shard is whole."""
    return marker(folder, unit).exists()


def is_whole(folder: pathlib.Path) -> bool:
    """Whether the store is."""
    return (folder / MANIFEST).exists()


def finish_store(
    folder: pathlib.Path,
    units: Sequence[Unit],
    key: Any,
    about: dict[str, str],
    *,
    check: Callable[[RecordReport], None],
) -> None:
    """Makes a store of the shards of all units; nothing where it is one already.

    Args:
      folder: the store's.
      units: all of the split's.
      key: what the records depend on.
      about: for people who look into the folder.
      check: is given the account of all units first, and may raise.

    Raises:
      DataError: a shard is missing or damaged; it is removed, so that it is made anew.
    """
    if is_whole(folder):
        return
    try:
        shards = [_shard(folder, unit) for unit in units]
        reasons: collections.Counter[str] = collections.Counter()
        for shard in shards:
            reasons.update(shard["reasons"])
        num_read = sum(shard["num_read"] for shard in shards)
        counts = [sum(shard["reasons"].values()) for shard in shards]
        dropped = first_dropped(folder, units, counts)
        check(RecordReport(about["split"], num_read, dropped, reasons))
        _finish(folder, units, shards, key, about, reasons)
    except FileNotFoundError as error:
        # Another process has finished it meanwhile, and removed what is needed no more.
        if not is_whole(folder):
            missing = pathlib.Path(error.filename).stem
            raise DataError(
                f"{missing} of the prepared records in {folder} has not been written: "
                "write it before the store is finished"
            ) from error


def _finish(folder, units, shards, key, about, reasons) -> None:
    total = sum(shard["num_kept"] for shard in shards)
    columns = _write_columns(folder, units, shards, total)
    manifest = {
        "version": VERSION,
        "about": about,
        "key": key,
        "num_read": sum(shard["num_read"] for shard in shards),
        "num_kept": total,
        "reasons": reasons,
        "columns": columns,
        "shards": [
            {
                "kept": shard["num_kept"],
                "dropped": sum(shard["reasons"].values()),
                "tokens": shard["files"]["tokens"][0],
                "texts": shard["files"]["texts"][0],
            }
            for shard in shards
        ],
    }
    durable = any(shard["tokens"] > SYNCED for shard in manifest["shards"])
    write_json(folder / MANIFEST, manifest, durable=durable)
    for path in (
        *folder.glob("*.partial"),
        *(folder / f"{unit.name}.rows" for unit in units),
        *(marker(folder, unit) for unit in units),
    ):
        with contextlib.suppress(OSError):
            path.unlink()


def _shard(folder: pathlib.Path, unit: Unit) -> dict[str, Any]:
    path = marker(folder, unit)
    try:
        shard = json.loads(path.read_bytes())
        sizes = {kind: size for kind, (size, _) in shard["files"].items()}
        rows = sizes["rows"] == shard["num_kept"] * ROW.itemsize
    except (ValueError, KeyError, TypeError, AttributeError):
        rows = False
    found = rows and all(
        (folder / f"{unit.name}.{kind}").stat().st_size == size
        for kind, size in sizes.items()
    )
    if not found:
        raise _damaged(folder, unit)
    return shard


def _damaged(folder: pathlib.Path, unit: Unit) -> DataError:
    marker(folder, unit).unlink(missing_ok=True)
    return DataError(
        f"the prepared records {folder / unit.name}.* are damaged: start again, and "
        "they are made anew"
    )


def _write_columns(folder, units, shards, total: int) -> dict[str, list[int]]:
    """(Place, CRC-32) of every column."""
    places, place = {}, 0
    for name in ROW.names:
        places[name] = place
        place += -(-total * ROW[name].itemsize // _ALIGNED) * _ALIGNED
    checks = dict.fromkeys(ROW.names, 0)
    path = folder / COLUMNS
    partial = folder / f"{COLUMNS}.{uuid.uuid4().hex}.partial"
    with partial.open("wb") as file:
        file.truncate(place)
        written = 0
        for rows in _rows(folder, units, shards):
            for name in ROW.names:
                data = rows[name].tobytes()
                checks[name] = zlib.crc32(data, checks[name])
                file.seek(places[name] + written * ROW[name].itemsize)
                file.write(data)
            written += len(rows)
        file.flush()
        if place > SYNCED:
            os.fsync(file.fileno())
    os.replace(partial, path)
    return {name: [places[name], checks[name]] for name in ROW.names}


def _rows(folder, units, shards) -> Iterator[np.ndarray]:
    """The rows of all shards, their indices counted through the split."""
    before = 0
    for unit, shard in zip(units, shards, strict=True):
        check = 0
        with (folder / f"{unit.name}.rows").open("rb") as file:
            while data := file.read(_ROWS_AT_ONCE * ROW.itemsize):
                check = zlib.crc32(data, check)
                rows = np.frombuffer(data, ROW).copy()
                rows["index"] += before
                yield rows
        if check != shard["files"]["rows"][1]:
            raise _damaged(folder, unit)
        before += shard["num_read"]


def first_dropped(
    folder: pathlib.Path, units: Sequence[Unit], counts: Sequence[int]
) -> tuple[DroppedRecord, ...]:
    """The first `MOST_LISTED` records that were left out.

    Args:
      folder: the store's.
      units: the split's.
      counts: how many were left out of each.
    """
    found: list[DroppedRecord] = []
    for unit, count in zip(units, counts, strict=True):
        if not count or len(found) == MOST_LISTED:
            continue
        with (folder / f"{unit.name}.dropped").open("rb") as file:
            for line in itertools.islice(file, MOST_LISTED - len(found)):
                short, reason, message = json.loads(line)
                identity = whole_identity(short.encode("utf-8", "surrogatepass"), unit)
                found.append(DroppedRecord(identity, reason, message))
    return tuple(found)
