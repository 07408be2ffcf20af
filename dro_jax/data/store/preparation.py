"""Prepares splits, or opens them where that has been done: one process or several.

For other programs than this package's commands, as pipelines on many machines:
:func:`units`, :func:`write_unit` for each in any order and anywhere, :func:`finish`.
All see the same source files and the same folder, or copies of these.
"""

import contextlib
import pathlib
import shutil
import time
from typing import Any, Protocol

from dro_jax.data.record_source import Parts
from dro_jax.data.records import RecordReport
from dro_jax.data.store import claims, unit_writing
from dro_jax.data.store.finishing import finish_store, is_done, is_whole
from dro_jax.data.store.folders import kept_root, private_folder, store_root
from dro_jax.data.store.progress import Progress
from dro_jax.data.store.recipe import Recipe, key_of, store_name
from dro_jax.data.store.shards import token_type
from dro_jax.data.store.stored_records import Damaged, StoredRecords
from dro_jax.data.store.unit_writing import NotWritten, written_to
from dro_jax.data.store.units import Unit
from dro_jax.data.vocabularies import check_vocabulary
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import note

_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0


class _Task(Protocol):
    """A `FeedbackTask`."""

    recipe: Recipe


def units(task: _Task, split: str) -> tuple[Unit, ...]:
    """The parts of a task's split, each of which one process writes.

    They follow from the source's files, so that every process finds the same.

    Raises:
      DataError: there is no such split, or its files cannot be found.
      ConfigError: a template names a field that records do not have.
    """
    found = task.recipe.source.parts(split).units
    unit_writing.check_templates(task.recipe, split, found)
    return found


def store_folder(task: _Task, split: str) -> pathlib.Path | None:
    """Where the split's store is, or will be kept; None where no run can share one.

    Raises:
      DataError: there is no such split, or the vocabulary cannot be used.
    """
    return _folder(task.recipe, split)


def is_prepared(recipe: Recipe, split: str) -> bool:
    """Whether the split's store is there, whole.

    Raises:
      DataError: there is no such split, or the vocabulary cannot be used.
    """
    folder = _folder(recipe, split)
    return folder is not None and is_whole(folder)


def write_unit(task: _Task, split: str, unit: Unit, folder: pathlib.Path) -> None:
    """Writes one unit into a store's folder; nothing where that has been done.

    Raises:
      DataError: a record is bad and the policy is `error`, the source cannot be read,
        or the folder cannot be written to.
    """
    check_vocabulary(task.recipe.vocabulary)
    if not is_whole(folder) and not is_done(folder, unit):
        _make(folder)
        unit_writing.write_unit(task.recipe, split, unit, folder)


def finish(task: _Task, split: str, folder: pathlib.Path) -> StoredRecords:
    """Makes the store of the shards of all units.

    Raises:
      DataError: a shard is missing or damaged, or no record is valid.
    """
    return _finished(task.recipe, split, task.recipe.source.parts(split), folder)


def prepare(task: _Task, split: str) -> StoredRecords:
    """The split's records, prepared by this process and all others that are at it.

    Raises:
      DataError: the split cannot be used; the message names the record.
      ConfigError: a template names a field that records do not have.
    """
    return open_records(task.recipe, split)


def open_records(recipe: Recipe, split: str) -> StoredRecords:
    """As :func:`prepare`, by recipe."""
    parts = recipe.source.parts(split)
    check_vocabulary(recipe.vocabulary)
    key = key_of(recipe, parts)
    if key is None:
        return _prepared(recipe, split, parts, private_folder())
    folder = _place(store_name(split, key))
    if is_whole(folder):
        try:
            return _opened(recipe, split, parts, folder, key)
        except Damaged as error:
            note(
                f"the prepared split '{split}' of task '{recipe.task}' in {folder} "
                f"cannot be used ({error}), so it is prepared anew"
            )
            shutil.rmtree(folder, ignore_errors=True)
            folder = store_root() / folder.name
    return _prepared(recipe, split, parts, folder)


def _folder(recipe: Recipe, split: str) -> pathlib.Path | None:
    parts = recipe.source.parts(split)
    check_vocabulary(recipe.vocabulary)
    key = key_of(recipe, parts)
    return None if key is None else _place(store_name(split, key))


def _place(name: str) -> pathlib.Path:
    """Where a store is, in a folder that may be read-only, or else will be."""
    kept = kept_root() / name
    return kept if is_whole(kept) else store_root() / name


def _prepared(
    recipe: Recipe, split: str, parts: Parts, folder: pathlib.Path
) -> StoredRecords:
    _make(folder)
    try:
        unit_writing.check_templates(recipe, split, parts.units)
        with Progress(recipe.task, split, folder) as progress:
            _write_units(recipe, split, parts.units, folder, progress)
        return _finished(recipe, split, parts, folder)
    except NotWritten:
        raise  # What is done is kept.
    except (DataError, ConfigError):
        # What was bad will be corrected, which makes another store.
        if not claims.any_taken(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _finished(
    recipe: Recipe, split: str, parts: Parts, folder: pathlib.Path
) -> StoredRecords:
    key = key_of(recipe, parts)
    if not is_whole(folder):
        about = {"task": recipe.task, "split": split, "paths": ", ".join(parts.paths)}
        with written_to(folder):
            finish_store(
                folder,
                parts.units,
                key,
                about,
                check=lambda report: _check_not_empty(recipe, split, report),
            )
    try:
        return _opened(recipe, split, parts, folder, key)
    except Damaged as error:
        raise DataError(
            f"the prepared records in {folder} are damaged ({error}): delete the folder"
        ) from error


def _opened(
    recipe: Recipe, split: str, parts: Parts, folder: pathlib.Path, key: Any
) -> StoredRecords:
    kind = token_type(recipe.vocabulary)
    return StoredRecords(folder, parts.units, key, split, kind)


def _check_not_empty(recipe: Recipe, split: str, report: RecordReport) -> None:
    if report.num_kept:
        return
    where = f"task '{recipe.task}', split '{split}' ({recipe.source.description()})"
    if not report.num_read:
        raise DataError(f"{where} holds no records: there is nothing to train on")
    first = report.dropped[0]
    raise DataError(
        f"{where}: all {report.num_read:,} records are bad and were dropped, so "
        f"nothing is left. The first is {first.identity}: {first.message}. Check the "
        "field names and reward_kind of the task"
    )


def _write_units(recipe, split, every, folder, progress) -> None:
    wait = _WAIT_SECONDS
    while missing := _missing(folder, every):
        for unit in missing:
            with contextlib.ExitStack() as stack:
                # Another process may have met bad data, and removed it: so shall we.
                _make(folder)
                with written_to(folder):
                    claim = claims.take(folder, unit.name)
                if claim is None:
                    continue
                stack.enter_context(claim)
                if not _missing(folder, (unit,)):
                    continue
                try:
                    unit_writing.write_unit(
                        recipe, split, unit, folder, claim=claim, told=progress.told
                    )
                except NotWritten:
                    # Another process took this one for gone, did its work as well, and
                    # cleared up.
                    if not is_whole(folder):
                        raise
                progress.next_unit()
                wait = _WAIT_SECONDS
        if _missing(folder, every):
            progress.waits()
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def _missing(folder: pathlib.Path, every: tuple[Unit, ...]) -> list[Unit]:
    if is_whole(folder):
        return []
    return [unit for unit in every if not is_done(folder, unit)]


def _make(folder: pathlib.Path) -> None:
    with written_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
