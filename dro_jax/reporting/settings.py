"""The resolved gin of each run, and what of it differs."""

from collections.abc import Sequence

from dro_jax.plurals import counted
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table

_MOST_CHARACTERS = 60_000
_SAME = "The runs' settings differ in nothing that changes what is learnt."


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no run has settings.

    Args:
      runs, looks: as for the summary.
    """
    with_settings = [
        (run, look) for run, look in zip(runs, looks, strict=True) if run.config
    ]
    if not with_settings:
        return None
    names = sorted({name for run, _ in with_settings for name in run.distinct or ()})
    parts = [
        element(
            "p",
            "Settings that change no step, such as folders, checkpoints kept and the mesh, "
            "are not compared. Folders are named from that which holds the runs; of others "
            "the last two names are given.",
        )
    ]
    if names:
        rows = [
            [element("code", name), *(_value(run, name) for run, _ in with_settings)]
            for name in names
        ]
        columns = [Column("setting")]
        columns += [Column(look.name(), is_text=True) for _, look in with_settings]
        parts.append(table("Only what differs", columns, rows, class_="settings"))
    elif len(with_settings) > 1 and all(
        r.distinct is not None for r, _ in with_settings
    ):
        parts.append(element("p", _SAME))
    parts += [_whole(run, look) for run, look in with_settings]
    rows = [
        (run.label, name, value)
        for run, _ in with_settings
        for name, value in sorted((run.distinct or {}).items())
    ]
    tables = {"settings_that_differ": Table(("run", "setting", "value"), rows)}
    data = {
        run.label: {"differs": dict(run.distinct or {}), "config": run.config}
        for run, _ in with_settings
    }
    return Section("settings", "Settings", lines(*parts), tables, {}, data)


def _value(run: ReportedRun, name: str) -> Html:
    if name not in (run.distinct or {}):
        return element("td", "not set", class_="text none")
    return element("td", element("code", run.distinct[name]), class_="text")


def _whole(run: ReportedRun, look: RunStyle) -> Html:
    text = run.config[:_MOST_CHARACTERS]
    left = len(run.config) - len(text)
    inside = [element("code", text)]
    if left > 0:
        inside.append(f"\n… {left:,} more characters are in report.json")
    block = element(
        "pre",
        inside,
        tabindex="0",
        role="group",
        aria_label=f"config.gin of {run.label}",
    )
    count = counted(run.config.count("\n"), "line")
    summary = element("summary", look.name(), ": all settings ", f"({count})")
    return element("details", summary, block)
