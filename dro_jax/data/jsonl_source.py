"""Records from files of any container."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence

from dro_jax.data.containers import (
    holds_json_lines,
    no_such_file,
    read_lines,
    read_records,
)
from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.records import RawRecord
from dro_jax.data.source_files import source_files
from dro_jax.data.store.file_facts import FileFacts, file_facts, file_status
from dro_jax.data.store.units import Unit
from dro_jax.data.text_encodings import check_encoding
from dro_jax.errors import ConfigError, DataError
from dro_jax.paths import expanded, is_url

Paths = str | os.PathLike | Sequence[str | os.PathLike]


class JsonlSource(RecordSource):
    """Files of records: JSONL, a JSON array, CSV, TSV, Parquet or Arrow.

    Each file may be compressed by gzip, bzip2, xz or zstd; what it is, its content
    tells. A path may also be a folder of such files, a glob, or a URL that fsspec reads;
    `~` and environment variables are put in. See `dro_jax.data.containers`.

    Args:
      files: split name to a path or several.
      advice: what to do when a file is missing, added to that error.
      encoding: of files of text; None, UTF-8, or UTF-16 with its mark.
      columns: the names of the cells of a row, where the files are tables of text
        without a row of names; None, they are not.

    Raises:
      ConfigError: no split, a split without files, or an unknown encoding.
    """

    def __init__(
        self,
        files: Mapping[str, Paths],
        *,
        advice: str = "",
        encoding: str | None = None,
        columns: Sequence[str] | None = None,
    ):
        self._files = {split: _as_paths(given) for split, given in files.items()}
        self._advice = advice or "check the path"
        check_encoding(encoding)
        self._encoding = encoding
        self._columns = None if columns is None else tuple(columns)
        if not self._files or not all(self._files.values()):
            raise ConfigError(
                "JsonlSource needs at least one file for every split, as in "
                f"JsonlSource({{'train': 'logs.jsonl.gz'}}); it was given {files!r}"
            )

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._files)

    def description(self) -> str:
        given = sorted(set(itertools.chain.from_iterable(self._files.values())))
        more = f" and {len(given) - 1} more" if len(given) > 1 else ""
        return f"{given[0]}{more}"

    def records(self, split: str) -> Iterator[RawRecord]:
        for path in source_files(self._files[self.check_split(split)], self._advice):
            yield from self._records_of(path)

    def parts(self, split: str) -> Parts:
        """Files, and of large files of JSONL parts of `file_facts.UNIT_BYTES`."""
        if type(self).records is not JsonlSource.records:
            return super().parts(split)  # what it is made of, only the subclass knows
        files = source_files(self._files[self.check_split(split)], self._advice)
        for path in files:
            if not is_url(path) and not os.path.exists(path):
                raise no_such_file(path, self._advice)
        facts = {path: file_facts(path) for path in files}
        units = [unit for path in files for unit in self._units(path, facts[path])]
        numbered = [dataclasses.replace(u, number=i) for i, u in enumerate(units)]
        contents = None
        if files and None not in facts.values():
            digests = [[facts[path].sha256, facts[path].size] for path in files]
            contents = {"files": digests, "encoding": self._encoding}
            if self._columns is not None:
                contents["columns"] = list(self._columns)
        return Parts(tuple(numbered), contents, tuple(files))

    def unit_records(self, split: str, unit: Unit) -> Iterator[RawRecord]:
        if not unit.path:
            yield from self.records(split)
        elif unit.start is None:
            yield from self._records_of(unit.path)
        else:
            yield from read_lines(unit, advice=self._advice)
        if unit.status is not None and not _is_as_it_was(unit):
            raise DataError(
                f"{unit.path} was changed while it was read: start again when it is "
                "written"
            )

    def _units(self, path: str, facts: FileFacts | None) -> list[Unit]:
        if facts is None:
            return [Unit(path=path)]
        status = (facts.size, facts.mtime_ns)
        if self._columns is not None:
            return [Unit(path=path, status=status)]
        if not facts.cuts or not holds_json_lines(path, self._encoding):
            return [Unit(path=path, status=status)]
        begins = [(0, 1), *facts.cuts]
        ends = [*(byte for byte, _ in facts.cuts), facts.size]
        return [
            Unit(0, path, start, end, line, status)
            for (start, line), end in zip(begins, ends, strict=True)
        ]

    def _records_of(self, path: str) -> Iterator[RawRecord]:
        return read_records(
            path,
            encoding=self._encoding,
            advice=self._advice,
            columns=self._columns,
        )


def _is_as_it_was(unit: Unit) -> bool:
    try:
        return file_status(unit.path) == unit.status
    except OSError:
        return False  # gone, or not accessible any more


def _as_paths(given: Paths) -> tuple[str, ...]:
    if isinstance(given, str | os.PathLike):
        given = (given,)
    return tuple(expanded(path) for path in given)
