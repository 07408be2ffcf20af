"""Sheets on which people say which response is better: a table, and a page."""

import csv
import io
import json
import pathlib
import re
from collections.abc import Iterable

from dro_jax.foreign_texts import harmless_cell, source_hash
from dro_jax.judges.blinding import BlindedPair, Key

COLUMNS = ("pair", "prompt", "response_1", "response_2", "answer")
LONGEST_CELL = 32_767  # characters that Excel and LibreOffice keep of a cell
_PAGE = pathlib.Path(__file__).with_name("sheet_page")
_PLACE = re.compile(r"\{\{([A-Z_]+)\}\}")


def table(key: Key) -> str:
    """The sheet as CSV for spreadsheets; its column `answer` is left to the rater."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for own in key.shown:
        writer.writerow((own.id, *map(harmless_cell, own.as_shown), ""))
    return text.getvalue()


def as_read(text: str) -> str:
    """What of a text every spreadsheet leaves as it is: its words.

    They make other line ends and spaces, and show or drop the apostrophe of
    :func:`harmless_cell`.
    """
    return " ".join(harmless_cell(text).split()).lstrip("'")


def too_long(key: Key) -> list[BlindedPair]:
    """Pairs with a text that spreadsheets would cut."""
    return [
        own
        for own in key.shown
        if any(len(harmless_cell(text)) > LONGEST_CELL for text in own.as_shown)
    ]


def page(key: Key) -> str:
    """The sheet as one page of HTML that loads nothing and saves a file."""
    style, script = (
        (_PAGE / name).read_text("utf-8") for name in ("page.css", "page.js")
    )
    parts = {
        "STYLE": style,
        "SCRIPT": script,
        "STYLE_HASH": source_hash(style),
        "SCRIPT_HASH": source_hash(script),
        "DATA": _in_script(_content(key.sheet, key.shown)),
    }
    # In one pass: what a response says in braces stays what it says.
    text = (_PAGE / "page.html").read_text("utf-8")
    return _PLACE.sub(lambda place: parts[place[1]], text)


def _content(sheet: str, shown: Iterable[BlindedPair]) -> dict:
    pairs = []
    for own in shown:
        prompt, first, second = own.as_shown
        pairs.append({"id": own.id, "prompt": prompt, "first": first, "second": second})
    return {"id": sheet, "pairs": pairs}


def _in_script(value: dict) -> str:
    """JSON that no reader of HTML takes for a tag or a comment."""
    text = json.dumps(value)  # in ASCII: U+2028 ends lines in scripts
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
