"""A report's page, and its numbers and pictures as files beside."""

import csv
import io
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.reporting.drawing import png
from dro_jax.reporting.page import page
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.whole_files import write_whole

PAGE, NUMBERS = "report.html", "report.json"
# Of all parts; what is around them takes the rest of three megabytes.
MOST_BYTES = 2_850_000
_BESIDE = re.compile(r"(tables/[\w.-]+\.(csv|md)|figures/[\w.-]+\.png)")


def write_page(
    folder: pathlib.Path,
    title: str,
    told: str,
    sections: Sequence[Section],
    looks: Sequence[RunStyle],
    numbers: Mapping[str, Any],
    texts: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Writes `report.html`, `report.json`, `tables/` and `figures/`.

    Files of an earlier report in the folder that this one has not are deleted.

    Args:
      folder: made if need be.
      title, told: of the page.
      sections: its parts, with their tables and figures.
      looks: of what its legend names.
      numbers: further values of `report.json`, before those of the parts.
      texts: tables as Markdown, by file name without `.md`.

    Returns:
      The page's path.
    """
    files = {
        **{
            f"tables/{name}.csv": _csv(table)
            for section in sections
            for name, table in section.tables.items()
        },
        **{f"tables/{name}.md": text.encode() for name, text in (texts or {}).items()},
        **{
            f"figures/{name}.png": png(drawn)
            for section in sections
            for name, drawn in section.figures.items()
        },
    }
    html = page(title, told, sections, looks)
    values = {
        "title": title,
        **numbers,
        **{section.name: section.data for section in sections if section.data},
        **{key: x for section in sections for key, x in section.others.items()},
        "files": sorted(files),
    }
    _write(folder, files, html, values)
    return folder / PAGE


def _csv(table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue().encode("utf-8", "replace")


def _write(
    folder: pathlib.Path, files: dict[str, bytes], html: str, numbers: Any
) -> None:
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in _earlier(folder) - set(files):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        write_whole(folder / name, lambda f, c=content: f.write(c), durable=False)
    content = html.encode("utf-8", "xmlcharrefreplace")
    write_whole(folder / PAGE, lambda f: f.write(content))
    text = json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False)
    data = text.encode("utf-8", "replace")  # half of a surrogate pair is no text
    write_whole(folder / NUMBERS, lambda f: f.write(data + b"\n"))


def _earlier(folder: pathlib.Path) -> set[str]:
    """Files that an earlier report in a folder says are its own."""
    try:
        found = json.loads((folder / NUMBERS).read_text("utf-8"))["files"]
        return {name for name in found if _BESIDE.fullmatch(name)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
