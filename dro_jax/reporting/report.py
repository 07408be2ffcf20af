"""A report of several runs: one page, and its numbers and pictures as files beside."""

import pathlib
from collections.abc import Sequence

from dro_jax.errors import ConfigError, DataError
from dro_jax.reporting import (
    advantages,
    calibration,
    cost,
    curves,
    fingerprints,
    frontier,
    left_out,
    paths,
    samples,
    settings,
    spread,
    summary,
    win_matrix,
)
from dro_jax.reporting.files import MOST_BYTES, write_page
from dro_jax.reporting.places import without_places
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section
from dro_jax.reporting.style import styles


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
    numbers = {"runs": [run.label for run in runs]}
    return write_page(folder, title, _told(runs), sections, looks, numbers)


def sections_of(runs: Sequence[ReportedRun], max_samples: int) -> list[Section]:
    """The parts of a page that have something to tell, in their order."""
    looks = styles(runs)
    before = [
        summary.section(runs, looks),
        win_matrix.section(runs, looks),
        frontier.section(runs, looks),
        paths.section(runs, looks),
        curves.section(runs, looks),
        spread.section(runs, looks),
        calibration.section(runs, looks),
        advantages.section(runs, looks, texts=max_samples > 0),
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
        runs, looks, limit=max_samples, most_bytes=max(0, MOST_BYTES - size)
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
