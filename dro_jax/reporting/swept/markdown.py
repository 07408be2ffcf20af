"""Tables as Markdown, for documents that quote a report."""

from collections.abc import Sequence


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table: its first column words, the others numbers to the right.

    Args:
      columns: headers.
      rows: of as many cells.
    """
    lines = [columns, [":--", *["--:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
