"""docs/sweep_quickstart.md quotes what the reports wrote, which lies in docs/reports."""

import csv
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "sweep_quickstart.md").read_text("utf-8")
FOLDERS = sorted((DOCS / "reports").glob("quickstart_*/"))
RUN = re.compile(r"\d+_(.*)_(DRO-V|DRO-P|KTO)_(TAU|BETA)_([\d.]+)_seed_0")


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cells(text):
    """The cells of each line of a page that is a table's."""
    lines = [x for x in text.splitlines() if x.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda x: x.name)
def test_tables_are_as_they_were_written(folder):
    found = sorted(folder.glob("*.md"))
    assert [path.stem for path in found] == ["comparison", "equal_kl"]
    for path in found:
        assert path.read_text("utf-8") in PAGE


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda x: x.name)
def test_each_setting_has_its_row(folder):
    shown = cells(PAGE)
    settings = rows(folder / "sensitivity.csv")
    assert len(settings) > 10
    for own in settings:
        name = f"{own['axis']} {own['value']}"
        figures = [f"{float(own['reward']):.3f}", f"{float(own['kl']):.2f}"]
        line = [own["compared"], own["log"], name, own["seeds"], *figures]
        assert shown.count(line) == 1, line


def test_what_the_logs_said_has_its_rows():
    folder = DOCS / "reports" / "quickstart_values"
    figures = {(x["run"], x["metric"]): x["value"] for x in rows(folder / "logs.csv")}
    cut = {x["run"]: f"{float(x['value']):.0%}" for x in rows(folder / "cut.csv")}
    shown = cells(PAGE)
    (names,) = (line for line in shown if line[0] == "run")
    metrics = [name.strip("`") for name in names[1:-1]]
    runs = {run for run, _ in figures}
    assert len(runs) == 18
    for run in runs:
        log, *setting = RUN.fullmatch(run).groups()
        label = f"{log.replace('_', ' ')} · {setting[0]} · {' '.join(setting[1:])}"
        values = [figures.get((run, metric)) for metric in metrics]
        line = ["–" if x is None else f"{float(x):.2f}" for x in values]
        assert [label, *line, cut[run]] in shown


def test_pictures_are_there():
    pictures = re.findall(r"\]\((reports/[\w/]+\.png)\)", PAGE)
    assert pictures
    assert [x for x in pictures if not (DOCS / x).is_file()] == []
