"""The README's tables of results are those of the pages that they are from, rounded."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
NUMBER = re.compile(r"−?\d+(?:\.\d+)?")
NAMES = {
    "A-LoL, reference-free": "A-LoL ref-free",
    "A-LoL, by token": "A-LoL seq",
    "A-LoL, with a KL penalty": "A-LoL KL",
    "DRO-P, the same without V(x)": "DRO-P",
}


def table(text, start):
    """The cells of the first table behind some words, by the first of each line."""
    lines = iter(text[text.index(start) :].splitlines())
    found = []
    for line in lines:
        if line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
        elif found:
            break
    return found


def numbers(cell):
    return [float(x.replace("−", "-")) for x in NUMBER.findall(cell)]


def rounded(shown, whole):
    """Whether each number is one of a table, at the digits that are shown."""
    pairs = zip(NUMBER.findall(shown), numbers(whole), strict=True)
    for text, value in pairs:
        digits = len(text.partition(".")[2])
        half = 0.5 * 10**-digits
        assert abs(numbers(text)[0] - value) <= half + 1e-9, (shown, whole)


def test_hha():
    page = (ROOT / "docs/compare_hha.md").read_text("utf-8")
    whole = {row[0]: row for row in table(page, "| objective | setting | seeds")[2:]}
    shown = table(README, "| HHA, three seeds")[2:]
    assert {NAMES.get(row[0], row[0]) for row in shown} == set(whole)
    for name, reward, wins, kl in shown:
        row = whole[NAMES.get(name, name)]
        rounded(reward, row[3])
        if wins:
            rounded(wins, row[4])
        assert numbers(kl)[0] == pytest.approx(numbers(row[5])[0], abs=0.0501)


def test_logs_made_to_order():
    page = (ROOT / "docs/sweep_quickstart.md").read_text("utf-8")
    rows = table(page, "### Worth: best settings")[2:]
    whole = {(row[0], row[1]): row for row in rows}
    logs = list(dict.fromkeys(row[1] for row in rows))
    shown = table(README, "| true reward of the best setting")[2:]
    assert len(shown) * len(logs) == len(whole)
    for name, *cells in shown:
        for log, cell in zip(logs, cells, strict=True):
            row = whole[NAMES.get(name, name), log]
            reward, kl = NUMBER.findall(cell)
            rounded(reward, NUMBER.findall(row[4])[0])
            rounded(kl, NUMBER.findall(row[6])[0])
