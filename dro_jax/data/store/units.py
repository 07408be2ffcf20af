"""The parts of a split that are read by themselves."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Unit:
    """A part of a split: the whole, a file, or lines of a file.

    Attributes:
      number: its place among the split's units, from 0.
      path: the file, with which the identities of its records begin; empty, the whole
        split, whatever it is made of.
      start, end: where the lines begin and end in the file, in bytes; None, all of it.
      first_line: the number of the first, from 1.
      status: (size, time of writing) of the file whose contents are known; it may not
        change until it has been read.
    """

    number: int = 0
    path: str = ""
    start: int | None = None
    end: int | None = None
    first_line: int = 1
    status: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """What its files are called in a store."""
        return f"unit-{self.number:06d}"
