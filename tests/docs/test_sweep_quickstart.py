"""docs/sweep_quickstart.md quotes what the reports wrote, which lies in docs/reports."""

import csv
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from dro_jax.sweeps.folders import run_folder

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "sweep_quickstart.md").read_text("utf-8")
FOLDERS = sorted((DOCS / "reports").glob("quickstart_*/"))
NUMBER = re.compile(r"−?\d+\.\d+")
RUN = re.compile(r"\d+_(.*)_(DRO-V|DRO-P|KTO)_(TAU|BETA)_([\d.]+)_seed_0")


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cells(text):
    """The cells of each line of a page that is a table's."""
    lines = [x for x in text.splitlines() if x.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def told(row, name, form):
    """A figure and its interval, as the page has them."""
    value, low, high = (
        format(float(row[key]), form).replace("-", "−")
        for key in (name, f"{name}_low", f"{name}_high")
    )
    return f"{value} [{low} to {high}]"


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
        figures = [told(own, "reward", ".3f"), told(own, "kl", ".2f")]
        line = [own["compared"], own["log"], name, own["seeds"], *figures]
        assert shown.count(line) == 1, line


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda x: x.name)
def test_each_difference_has_its_row(folder):
    shown = cells(PAGE)
    pairs = rows(folder / "differences.csv")
    assert len(pairs) > 10
    for own in pairs:
        figures = {"d": own["difference"], "d_low": own["low"], "d_high": own["high"]}
        p = float(own["p_holm"])
        said = "< 0.001" if p < 0.001 else f"{p:.3f}"
        names = [own["log"], own["first"], own["second"]]
        assert [*names, told(figures, "d", "+.3f"), said] in shown, own


@pytest.mark.parametrize(
    ("part", "found"),
    [("where-prompts-differ", "is found"), ("noise", "the settings do")],
)
def test_what_is_said_has_its_numbers(part, found):
    """Each number of the conclusions is a cell's, of the tables above them."""
    parts = re.split(r"(?m)^## ", PAGE)
    (own,) = (x for x in parts if x.lower().replace(" ", "-").startswith(part))
    tables, _, conclusions = own.partition(f"### What {found}\n")
    known = {
        number.replace("-", "−")
        for line in cells(tables)
        for cell in line
        for number in re.findall(r"[-−]?\d+\.\d+", cell)
    }
    settings = {"0.1", "0.3"}
    said = NUMBER.findall(re.sub(r"\]\([^)]*\)", "", conclusions))
    assert len(said) > 10
    assert [x for x in said if x not in known | settings] == []


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


def test_the_first_seeds_are_found_by_what_the_page_says():
    """Whatever stands before or behind the seed in a trial's label."""
    (glob,) = re.findall(r"dro-jax report /tmp/values/(policies/\S+)", PAGE)
    for label in ("seed {} · prompts alike · TAU 0.3", "prompts alike · seed {}"):
        first, second = (run_folder("policies", 7, label.format(n)) for n in (0, 1))
        assert fnmatch(first, glob) and not fnmatch(second, glob)
