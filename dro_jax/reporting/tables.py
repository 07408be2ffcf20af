"""Tables of a page: headers that screen readers name, and room to scroll within."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from dro_jax.evaluation.figures import Figure
from dro_jax.reporting.html import Html, element


def value_text(row: Figure, value: float, sign: str = "") -> str:
    """A value as tables write it, its minus sign as wide as a digit.

    Args:
      row: of which figure.
      value: of it.
      sign: "+" for a difference, which has a sign always.
    """
    return format(value, sign + row.format).replace("-", "\N{MINUS SIGN}")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
      title: its header.
      hint: more about it, below the title.
      is_text: whether it holds words, and no numbers.
    """

    title: Any
    hint: str = ""
    is_text: bool = False


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], **more: Any
) -> Html:
    """A table whose first column says what a row is.

    Args:
      caption: what it shows.
      columns: the headers.
      rows: cells, as :func:`dro_jax.reporting.html.text` takes them; one
        that is a ``td`` already is taken as it is.
      **more: attributes of the table.
    """
    head = element("tr", [_header(column) for column in columns])
    body = [element("tr", _cells(columns, row)) for row in rows]
    return scrolled(
        element(
            "table",
            element("caption", caption),
            element("thead", head),
            element("tbody", body),
            **more,
        ),
        caption,
    )


def scrolled(content: Html, label: str) -> Html:
    """Something that scrolls sideways within itself, by the keyboard too."""
    return element(
        "div", content, class_="scroll", tabindex="0", role="group", aria_label=label
    )


def _header(column: Column) -> Html:
    hint = element("span", column.hint, class_="hint") if column.hint else None
    return element(
        "th", column.title, hint, scope="col", class_="text" if column.is_text else None
    )


def _cells(columns: Sequence[Column], row: Sequence[Any]) -> list[Html]:
    first, *others = row
    found = [element("th", first, scope="row")]
    for column, cell in zip(columns[1:], others, strict=True):
        if isinstance(cell, Html) and cell.startswith("<td"):
            found.append(cell)
        else:
            found.append(element("td", cell, class_="text" if column.is_text else None))
    return found
