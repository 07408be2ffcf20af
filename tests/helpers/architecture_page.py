"""docs/architecture.md and its parts that tests read."""

import re

from import_graph import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def block(mark: str) -> str:
    """What follows a comment of that mark: a fenced block's content, or a list."""
    after = TEXT.partition(f"<!-- {mark} -->\n")[2]
    assert after, f"docs/architecture.md has no <!-- {mark} -->"
    if fenced := re.match(r"```\n(.*?)```", after, re.DOTALL):
        return fenced[1]
    return after.partition("\n\n")[0]


def rows(mark: str) -> tuple[tuple[str, ...], ...]:
    """The words of each line of a fenced block."""
    return tuple(tuple(line.split()) for line in block(mark).splitlines())
