"""What a source of records is: named splits, made of units read by themselves."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dro_jax.data.records import RawRecord
from dro_jax.data.store.units import Unit
from dro_jax.errors import DataError


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
