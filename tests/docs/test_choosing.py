"""docs/choosing.md: every statement has a row, and its numbers stand in that row's table."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"\]\((?P<page>[\w/]*\.md)#(?P<heading>[\w-]+)\)")
NUMBER = re.compile(r"(?<![\w.])(?:\d+\.\d+|\d+(?=%))")


def slug(heading):
    """What a heading is called in a link, on GitHub and in the site."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.strip().replace(" ", "-")


def sections(page):
    """By the name in links, the text under each heading of a page, up to the next."""
    text = (DOCS / page).read_text("utf-8")
    parts = re.split(r"(?m)^#+ (.*)$", text)[1:]
    return {slug(x): y for x, y in zip(parts[::2], parts[1::2], strict=True)}


def statements():
    """The items of the page's lists, each on one line."""
    text = (DOCS / "choosing.md").read_text("utf-8")
    items = re.findall(r"(?ms)^- (.*?)(?=^- |^#|^\n|\Z)", text)
    return [" ".join(item.split()) for item in items]


def test_there_are_many():
    assert len(statements()) > 15


@pytest.mark.parametrize("statement", statements(), ids=lambda x: x[:40])
def test_every_statement_has_a_row(statement):
    links = LINK.findall(statement)
    assert links, statement
    shown = ""
    for page, heading in links:
        found = sections(page)
        assert heading in found, (page, heading)
        assert "| " in found[heading], "a section without a table"
        shown += found[heading]
    cells = set(re.findall(r"\d+(?:\.\d+)?", shown))
    said = LINK.sub("", re.sub(r"`[^`]*`", "", statement))
    assert [x for x in NUMBER.findall(said) if x not in cells] == [], statement
