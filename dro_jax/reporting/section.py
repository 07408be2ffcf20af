"""What a part of a report is: a piece of the page, and the files beside it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dro_jax.reporting.html import Html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as a file: names of columns, and rows of plain values."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      name: its id on the page, and its key in `report.json`.
      title: its heading.
      body: what follows the heading.
      tables: by file name without `.csv`.
      figures: by file name without `.png`, as they are drawn in the page.
      data: its values in `report.json`.
      others: further values there, by keys of their own.
    """

    name: str
    title: str
    body: Html
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    figures: Mapping[str, "Figure"] = dataclasses.field(default_factory=dict)
    data: Any = None
    others: Mapping[str, Any] = dataclasses.field(default_factory=dict)
