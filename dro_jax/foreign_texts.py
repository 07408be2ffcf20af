"""Texts that models and people wrote, in files that other programs open and run."""

import base64
import hashlib

# What spreadsheets take for a formula, or for a cell's end.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless_cell(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula."""
    written = text.encode("utf-8", "replace").decode().replace("\0", "")
    return f"'{written}" if written.startswith(_FORMULA) else written


def source_hash(source: str) -> str:
    """How a page's Content-Security-Policy names a script or style that may run in it.

    Whatever else a text brings into the page is then not run.
    """
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
