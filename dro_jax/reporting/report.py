"""A report of several runs: one page, and its numbers and pictures as files beside."""

import csv
import io
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from dro_jax.errors import ConfigError, DataError
from dro_jax.reporting import (
    calibration,
    cost,
    curves,
    fingerprints,
    frontier,
    left_out,
    samples,
    settings,
    spread,
    summary,
    win_matrix,
)
from dro_jax.reporting.drawing import png
from dro_jax.reporting.page import page
from dro_jax.reporting.places import without_places
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import styles
from dro_jax.whole_files import write_whole

PAGE, NUMBERS = "report.html", "report.json"
# Of all parts; what is around them takes the rest of three megabytes.
_MOST_BYTES = 2_850_000
_BESIDE = re.compile(r"(tables/[\w.-]+\.csv|figures/[\w.-]+\.png)")


def write_report(
    runs: Sequence[ReportedRun],
    folder: pathlib.Path,
    *,
    title: str | None = None,
    max_samples: int = samples.DEFAULT_SAMPLES,
) -> pathlib.Path:
    """Writes `report.html`, `report.json`, `tables/*.csv` and `figures/*.png`.

    The page holds everything that it shows. Files of an earlier report in the folder
    that this one has not are deleted. No file names a folder of this machine.

    Args:
      runs: in the order in which they are shown.
      folder: made if need be.
      title: of the page; default, from the task.
      max_samples: prompts of which responses are shown; 0 leaves out all texts, in every
        file.

    Returns:
      The page's path.

    Raises:
      ConfigError: there are no runs, two have one label, or `max_samples` is negative.
      DataError: runs answered different prompts.
    """
    _check(runs, max_samples)
    runs = without_places(runs)
    title = title or _title(runs)
    looks = styles(runs)
    sections = sections_of(runs, max_samples)
    files = {
        **{
            f"tables/{name}.csv": _csv(table)
            for section in sections
            for name, table in section.tables.items()
        },
        **{
            f"figures/{name}.png": png(drawn)
            for section in sections
            for name, drawn in section.figures.items()
        },
    }
    html = page(title, _told(runs), sections, looks)
    numbers = {
        "title": title,
        "runs": [run.label for run in runs],
        **{section.name: section.data for section in sections if section.data},
        **{key: x for section in sections for key, x in section.others.items()},
        "files": sorted(files),
    }
    _write(folder, files, html, numbers)
    return folder / PAGE


def sections_of(runs: Sequence[ReportedRun], max_samples: int) -> list[Section]:
    """The parts of a page that have something to tell, in their order."""
    looks = styles(runs)
    before = [
        summary.section(runs, looks),
        win_matrix.section(runs, looks),
        frontier.section(runs, looks),
        curves.section(runs, looks),
        spread.section(runs, looks),
        calibration.section(runs, looks),
        left_out.section(runs, looks, messages=max_samples > 0),
    ]
    after = [
        settings.section(runs, looks),
        fingerprints.section(runs, looks),
        cost.section(runs, looks),
    ]
    others = [*before, *after]
    size = sum(
        len(section.body.encode("utf-8", "replace")) for section in others if section
    )
    shown = samples.section(
        runs, looks, limit=max_samples, most_bytes=max(0, _MOST_BYTES - size)
    )
    found = [*before, shown, *after]
    return [section for section in found if section is not None]


def _check(runs: Sequence[ReportedRun], max_samples: int) -> None:
    if not runs:
        raise ConfigError("a report needs at least one run")
    if max_samples < 0:
        raise ConfigError(f"--samples must be 0 or more, got {max_samples}")
    labels = [run.label for run in runs]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ConfigError(f"two runs are called {twice!r}: give them different names")
    asked = [{x.prompt_id for x in run.evaluated.responses} for run in runs]
    for label, own in zip(labels, asked, strict=True):
        if own != asked[0]:
            raise DataError(
                f"{labels[0]} and {label} answered different prompts ({len(asked[0])} and "
                f"{len(own)}, {len(own & asked[0])} of them the same): evaluate them "
                "together, by `dro-jax evaluate`"
            )


def _title(runs: Sequence[ReportedRun]) -> str:
    given = runs[0].evaluated.settings
    task = given.get("task")
    return f"Policies compared on {task}" if task else "Policies compared"


def _told(runs: Sequence[ReportedRun]) -> str:
    given = runs[0].evaluated.settings
    prompts = len({x.prompt_id for x in runs[0].evaluated.responses})
    split = f" of its {given['split']} split" if given.get("split") else ""
    decoding = given.get("decoding") or {}
    temperature = decoding.get("temperature")
    how = ""
    if temperature == 0:
        how = ", decoded greedily"
    elif temperature is not None:
        how = f", sampled at temperature {temperature:g}"
    per = decoding.get("num_samples") or 1
    several = f", {per} responses each" if per > 1 else ""
    return f"{prompts:,} prompts{split}{several}{how}."


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
