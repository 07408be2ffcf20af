"""Where records come from: files, TFDS, any seqio source."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dro_jax.data.jsonl_source import JsonlSource, Paths
from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.records import RawRecord, RecordProblem
from dro_jax.data.store.code_digest import Unknown, code_of
from dro_jax.data.store.units import Unit
from dro_jax.errors import ConfigError, DataError
from dro_jax.paths import expanded

__all__ = [
    "ExpandedSource",
    "JsonlSource",
    "Paths",
    "RecordSource",
    "SeqioSource",
    "TfdsSource",
    "as_record_source",
]


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

    def parts(self, split: str) -> Parts:
        """The whole; of what it is made, only data sets of TFDS tell."""
        self.check_split(split)
        name = f"{type(self._source).__module__}.{type(self._source).__name__}"
        if name != "seqio.dataset_providers.TfdsDataSource":
            return Parts()
        from dro_jax.data.store.tfds_contents import tfds_contents

        contents = tfds_contents(self._source, split)
        return Parts(contents=contents, paths=(self._name,))

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
        object, `""` where there is one alone; its fields); may raise `RecordProblem` for
        the object as a whole.
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
                        yield RawRecord(
                            f"{raw.identity} {part}".rstrip(), fields=fields
                        )
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
