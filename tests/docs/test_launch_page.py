"""docs/launch.md: its tables are those of the code."""

import pathlib
import re

from dro_jax.cli import launch_parser
from dro_jax.cli.launched_command import COMMANDS
from dro_jax.exit_codes import EXIT_CODES

PAGE = pathlib.Path("docs/launch.md").read_text("utf-8")


def rows(first):
    """The cells of the table whose heading begins with a cell, code marks taken off."""
    (table,) = re.findall(
        rf"^\| {re.escape(first)} \|.*\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE
    )
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
    ]


def test_every_exit_code_is_told_and_whether_it_is_retried():
    assert rows("status") == [
        [str(code.number), code.name, code.meaning, "yes" if code.retried else "no"]
        for code in EXIT_CODES.values()
    ]


def test_every_target_has_a_page():
    found = {cells[0].strip("`"): cells[-1] for cells in rows("`TARGET`")}
    assert sorted(found) == launch_parser.targets()
    for link in found.values():
        name = re.search(r"\]\(([\w.]*)(#\w+)?\)", link)[1] or "launch.md"
        assert pathlib.Path("docs", name).is_file()


def test_every_command_is_told():
    told = ", ".join(cells[0] for cells in rows("`COMMAND`"))
    assert re.findall("`([^`]+)`", told) == list(COMMANDS)
