"""Where records come from: files, TFDS, any seqio source."""

import abc
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dro_jax.data.containers import holds_json_lines, read_lines, read_records
from dro_jax.data.records import RawRecord, RecordProblem
from dro_jax.data.source_files import source_files
from dro_jax.data.store.code_digest import Unknown, code_of
from dro_jax.data.store.file_facts import FileFacts, file_facts, file_status
from dro_jax.data.store.units import Unit
from dro_jax.data.text_encodings import check_encoding
from dro_jax.errors import ConfigError, DataError
from dro_jax.paths import expanded

Paths = str | os.PathLike | Sequence[str | os.PathLike]


class Parts(NamedTuple):
    """What a split is made of.

    Attributes:
      units: what is read by itself; end to end they are the split.
      contents: what its records depend on, as values that JSON holds: digests of files,
        names and versions. None where that is not known, so that what is prepared from
        it serves one process.
      paths: the files that identities of records begin with.
    """

    units: tuple[Unit, ...] = (Unit(),)
    contents: Any = None
    paths: tuple[str, ...] = ()


class RecordSource(abc.ABC):
    """Named splits of records, read in a fixed order by plain Python.

    A source that knows what its records depend on overrides `parts`; then they are
    prepared once, and not anew in each process.
    """

    @property
    @abc.abstractmethod
    def splits(self) -> Sequence[str]:
        """The names of the splits, known without reading data."""

    @abc.abstractmethod
    def records(self, split: str) -> Iterator[RawRecord]:
        """Every record of a split, the unreadable ones included, always in one order.

        Raises:
          DataError: the split is unknown or its storage cannot be read.
        """

    @abc.abstractmethod
    def description(self) -> str:
        """A few words for listings."""

    def parts(self, split: str) -> Parts:
        """What a split is made of: the whole of it, whose contents are not known.

        Raises:
          DataError: the split is unknown or its storage cannot be listed.
        """
        self.check_split(split)
        return Parts()

    def unit_records(self, split: str, unit: Unit) -> Iterator[RawRecord]:
        """The records of one of the split's units.

        Raises:
          DataError: its storage cannot be read.
        """
        return self.records(split)

    def check_split(self, split: str) -> str:
        """The split itself.

        Raises:
          DataError: there is none of that name.
        """
        if split not in self.splits:
            raise DataError(
                f"split '{split}' does not exist in {self.description()}: its splits are "
                + ", ".join(f"'{name}'" for name in self.splits)
            )
        return split


class JsonlSource(RecordSource):
    """Files of records: JSONL, a JSON array, CSV, TSV, Parquet or Arrow.

    Each file may be compressed by gzip, bzip2, xz or zstd; what it is, its content
    tells. A path may also be a folder of such files, a glob, or a URL that fsspec reads;
    `~` and environment variables are put in. See `dro_jax.data.containers`.

    Args:
      files: split name to a path or several.
      advice: what to do when a file is missing, added to that error.
      encoding: of files of text; None, UTF-8, or UTF-16 with its mark.

    Raises:
      ConfigError: no split, a split without files, or an unknown encoding.
    """

    def __init__(
        self,
        files: Mapping[str, Paths],
        *,
        advice: str = "",
        encoding: str | None = None,
    ):
        self._files = {split: _as_paths(given) for split, given in files.items()}
        self._advice = advice or "check the path"
        check_encoding(encoding)
        self._encoding = encoding
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
        facts = {path: file_facts(path) for path in files}
        units = [unit for path in files for unit in self._units(path, facts[path])]
        numbered = [dataclasses.replace(u, number=i) for i, u in enumerate(units)]
        contents = None
        if files and None not in facts.values():
            digests = [[facts[path].sha256, facts[path].size] for path in files]
            contents = {"files": digests, "encoding": self._encoding}
        return Parts(tuple(numbered), contents, tuple(files))

    def unit_records(self, split: str, unit: Unit) -> Iterator[RawRecord]:
        if not unit.path:
            yield from self.records(split)
        elif unit.start is None:
            yield from self._records_of(unit.path)
        else:
            yield from read_lines(unit, advice=self._advice)
        if unit.status is not None and file_status(unit.path) != unit.status:
            raise DataError(
                f"{unit.path} was changed while it was read: start again when it is "
                "written"
            )

    def _units(self, path: str, facts: FileFacts | None) -> list[Unit]:
        if facts is None:
            return [Unit(path=path)]
        status = (facts.size, facts.mtime_ns)
        if not facts.cuts or not holds_json_lines(path, self._encoding):
            return [Unit(path=path, status=status)]
        begins = [(0, 1), *facts.cuts]
        ends = [*(byte for byte, _ in facts.cuts), facts.size]
        return [
            Unit(0, path, start, end, line, status)
            for (start, line), end in zip(begins, ends, strict=True)
        ]

    def _records_of(self, path: str) -> Iterator[RawRecord]:
        return read_records(path, encoding=self._encoding, advice=self._advice)


class SeqioSource(RecordSource):
    """Any `seqio.DataSource`, read as plain Python values.

    Args:
      source: for example a `seqio.FunctionDataSource`. Its records must come in the same
        order each time that it is read without shuffling.
      name: what records are called in messages, `NAME[split] record 17`, counted from 0;
        default, the class of the source.
    """

    def __init__(self, source: Any, name: str | None = None):
        self._source = source
        self._name = name or type(source).__name__

    @property
    def splits(self) -> Sequence[str]:
        try:
            return tuple(self._source.splits)
        except Exception as error:
            raise self._unreadable("its splits", error) from error

    def description(self) -> str:
        return self._name

    def records(self, split: str) -> Iterator[RawRecord]:
        where = f"{self._name}[{self.check_split(split)}]"
        count = 0
        try:
            dataset = self._source.get_dataset(split=split, shuffle=False)
            for count, example in enumerate(dataset.as_numpy_iterator(), start=1):
                identity = f"{where} record {count - 1}"
                try:
                    yield RawRecord(identity, fields=_as_python(example))
                except RecordProblem as problem:
                    yield RawRecord(identity, problem=problem)
        except DataError:
            raise
        except Exception as error:
            raise self._unreadable(f"{where} record {count}", error) from error

    def _unreadable(self, what: str, error: Exception) -> DataError:
        reason = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
        return DataError(
            f"{self._name}: reading {what} failed ({' '.join(reason.split())[:500]}): "
            "this comes from the source itself; check its name, its folder and the code "
            "that produces its records"
        )


def TfdsSource(
    tfds_name: str,
    splits: Mapping[str, str] | Sequence[str] | None = None,
    *,
    tfds_data_dir: str | None = None,
    **kwargs: Any,
) -> SeqioSource:
    """A TensorFlow Datasets data set.

    Args:
      tfds_name: its name with configuration and version, `name/config:1.0.0`.
      splits: the names to use, or a mapping from those to TFDS splits or slices, as
        `{'validation': 'train[:1%]'}`. None: the data set's own, which reads its folder.
      tfds_data_dir: where it lies; None, TFDS's default.
      **kwargs: further arguments of `seqio.TfdsDataSource`.
    """
    import seqio

    if tfds_data_dir is not None:
        tfds_data_dir = expanded(tfds_data_dir)
    source = seqio.TfdsDataSource(
        tfds_name, tfds_data_dir=tfds_data_dir, splits=splits, **kwargs
    )
    return SeqioSource(source, name=f"tfds {tfds_name}")


class ExpandedSource(RecordSource):
    """Several records from each stored object, distributed over splits.

    An object that cannot be read or expanded counts as a bad record of every split that
    is made from its stored split.

    Args:
      source: yields the stored objects.
      expand: from an object's fields, pairs of (what the record is called within the
        object, its fields); may raise `RecordProblem` for the object as a whole.
      splits: from split name to (stored split, predicate on the record's fields).
    """

    def __init__(
        self,
        source: RecordSource,
        expand: Callable[[Mapping[str, Any]], Iterable[tuple[str, Mapping[str, Any]]]],
        splits: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], bool]]],
    ):
        self._source = source
        self._expand = expand
        self._splits = dict(splits)

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._splits)

    def description(self) -> str:
        return self._source.description()

    def records(self, split: str) -> Iterator[RawRecord]:
        stored, _ = self._splits[self.check_split(split)]
        return self._expanded(split, self._source.records(stored))

    def parts(self, split: str) -> Parts:
        if type(self).records is not ExpandedSource.records:
            return super().parts(split)
        stored, belongs = self._splits[self.check_split(split)]
        units, contents, paths = self._source.parts(stored)
        try:
            if contents is not None:
                contents = [contents, code_of(self._expand), code_of(belongs)]
        except Unknown:
            contents = None
        return Parts(units, contents, paths)

    def unit_records(self, split: str, unit: Unit) -> Iterator[RawRecord]:
        stored, _ = self._splits[self.check_split(split)]
        return self._expanded(split, self._source.unit_records(stored, unit))

    def _expanded(self, split: str, raws: Iterator[RawRecord]) -> Iterator[RawRecord]:
        _, belongs = self._splits[split]
        for raw in raws:
            if raw.problem is not None:
                yield raw
                continue
            is_empty = True
            try:
                for part, fields in self._expand(raw.fields):
                    is_empty = False
                    if belongs(fields):
                        yield RawRecord(f"{raw.identity} {part}", fields=fields)
                if is_empty:
                    raise RecordProblem("no_responses", "it holds no response")
            except RecordProblem as problem:
                yield RawRecord(raw.identity, problem=problem)


def as_record_source(source: Any, name: str) -> RecordSource:
    """A `RecordSource` as it is; anything else as a seqio source called `name`.

    Raises:
      ConfigError: it is neither.
    """
    if isinstance(source, RecordSource):
        return source
    if hasattr(source, "get_dataset") and hasattr(source, "splits"):
        return SeqioSource(source, name=name)
    raise ConfigError(
        f"task '{name}': a source must be a JsonlSource, a TfdsSource, another "
        f"RecordSource or a seqio.DataSource, not {type(source).__name__}"
    )


def _as_paths(given: Paths) -> tuple[str, ...]:
    if isinstance(given, str | os.PathLike):
        given = (given,)
    return tuple(expanded(path) for path in given)


def _as_python(example: Any) -> dict[str, Any]:
    if not isinstance(example, Mapping):
        raise RecordProblem(
            "not_object",
            f"the record is a {type(example).__name__}, not a dictionary of fields",
        )
    return {name: _plain(name, value) for name, value in example.items()}


def _plain(name: str, value: Any) -> Any:
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RecordProblem(
                "invalid_utf8",
                f"field '{name}' is not valid UTF-8 (byte {error.start})",
            ) from error
    return value
