"""The names under which a command adds what it computed to records."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from dro_jax.data.records import RawRecord
from dro_jax.errors import ConfigError

FLAG = "--rename_field"


class ResultFields:
    """Names of the fields that a command adds.

    Args:
      names: of the fields, as the command calls them.
      renames: `NAME=OTHER`, as flags give them.

    Raises:
      ConfigError: a name is unknown, renamed twice, or two would be the same.
    """

    def __init__(self, names: Sequence[str], renames: Iterable[str] = ()):
        self._names = {name: name for name in names}
        for rename in renames:
            name, equals, other = rename.partition("=")
            if not equals or not other:
                raise ConfigError(
                    f"{FLAG} {rename}: give NAME=OTHER, as {names[0]}=my_{names[0]}"
                )
            if name not in self._names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(
                    f"{FLAG} {rename}: no field {name!r} is added, only "
                    f"{' and '.join(names)}{hint}"
                )
            if self._names[name] != name:
                raise ConfigError(f"{FLAG} gives {name} two names: give one")
            self._names[name] = other
        if len(set(self._names.values())) < len(self._names):
            raise ConfigError(f"{FLAG} gives one name to two fields: give two")

    def names(self) -> dict[str, str]:
        """The names in records, by the command's."""
        return dict(self._names)

    def check_free(self, records: Iterable[RawRecord], name: str) -> None:
        """Refuses records that have a field of the name for one of the values already.

        Raises:
          ConfigError: one has; names it.
        """
        other = self._names[name]
        for record in records:
            if record.fields is not None and other in record.fields:
                raise ConfigError(
                    f"{record.identity} has a field {other!r} already, which would be "
                    f"overwritten: give the new one another name, {FLAG} "
                    f"{name}=NEW_NAME, or take the old one out of the file"
                )

    def added_to(
        self, record: Mapping[str, object], values: Mapping[str, object]
    ) -> dict[str, object]:
        """The record with values, given by the command's names, under theirs."""
        return {**record, **{self._names[name]: x for name, x in values.items()}}
